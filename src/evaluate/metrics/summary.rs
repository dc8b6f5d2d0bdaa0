//! Turns the scores of texts and queries into the scores of a row.

use serde_json::{Map, Value};

use super::kinds::{Basis, Interval};
use super::leak::{leak, over_floor};
use super::table::find;
use super::{Columns, Metric, Scores, TextPair};
use crate::Error;
use crate::evaluate::retrieval::{Hits, Judgements};
use crate::evaluate::statistics::Score;

/// Scores each pair by the metrics of texts. If there are no outputs, only by those that need none.
pub(in crate::evaluate) fn measure_texts(
    metrics: &[Metric],
    pairs: &[TextPair<'_>],
    has_outputs: bool,
) -> Columns {
    let of_texts = of_texts(metrics, has_outputs);
    let column = |metric: &Metric| pairs.iter().map(|pair| metric.of_pair(pair)).collect::<Vec<_>>();
    of_texts.map(|metric| (metric.name.as_str(), column(metric))).collect()
}

/// Scores pairs of outputs and texts other than their own: what chance gives.
pub(in crate::evaluate) fn measure_unrelated(
    metrics: &[Metric],
    pairs: &[TextPair<'_>],
    has_outputs: bool,
) -> Columns {
    let of_texts = of_texts(metrics, has_outputs);
    let column = |metric: &Metric| match metric.chance {
        Some(chance) => pairs.iter().map(|pair| metric.of_pair(pair).map(|_| chance)).collect(),
        None => pairs.iter().map(|pair| metric.of_pair(pair)).collect(),
    };
    of_texts.map(|metric| (metric.name.as_str(), column(metric))).collect()
}

fn of_texts(metrics: &[Metric], has_outputs: bool) -> impl Iterator<Item = &Metric> {
    metrics.iter().filter(move |metric| metric.is_of_texts() && (has_outputs || metric.needs_no_output))
}

/// Scores each query by the metrics of retrieval. A query that none of them gives a score is left out.
pub(in crate::evaluate) fn measure_queries(
    metrics: &[Metric],
    judgements: &Judgements,
    rankings: &[Hits],
) -> Columns {
    let of_queries: Vec<&Metric> = metrics.iter().filter(|metric| metric.is_retrieval()).collect();
    let queries: Vec<Vec<Option<f64>>> = judgements.scores(rankings, |found| {
        let scores: Vec<_> = of_queries.iter().map(|metric| metric.of_query(found)).collect();
        scores.iter().any(Option::is_some).then_some(scores)
    });
    let column = |at: usize| queries.iter().map(|query| query[at]).collect::<Vec<_>>();
    of_queries.iter().enumerate().map(|(at, metric)| (metric.name.as_str(), column(at))).collect()
}

/// The number of documents that the metrics need for each query.
pub(in crate::evaluate) fn search_depth(metrics: &[Metric]) -> usize {
    let depth = |metric: &Metric| match metric.basis {
        Basis::Retrieval { depth } => depth,
        _ => 0,
    };
    metrics.iter().map(depth).max().unwrap_or(0)
}

/// The names of the metrics that a leak or a floor is computed from.
pub(in crate::evaluate) fn bases(metrics: &[Metric]) -> Vec<&str> {
    fn base(metric: &Metric) -> Option<&str> {
        match &metric.basis {
            Basis::FloorOf(base) | Basis::LeakOf(base) => Some(base),
            _ => None,
        }
    }
    metrics.iter().filter_map(base).collect()
}

/// The names of the metrics with the interval of Clopper and Pearson.
pub(in crate::evaluate) fn shares(metrics: &[Metric]) -> Vec<&str> {
    let shares = metrics.iter().filter(|metric| metric.interval() == Interval::ClopperPearson);
    shares.map(|metric| metric.name.as_str()).collect()
}

/// The rules of the metrics, by their names.
pub(in crate::evaluate) fn signatures(metrics: &[Metric]) -> Map<String, Value> {
    let rules =
        metrics.iter().filter_map(|metric| Some((metric.name.as_str(), metric.signature.as_deref()?)));
    rules.map(|(name, rules)| (name.to_owned(), rules.into())).collect()
}

/// Returns, query by query, how much of a metric of retrieval is lost.
pub(in crate::evaluate) fn losses(metric: &Metric, before: &Columns, after: &Columns) -> Vec<Option<f64>> {
    let pairs = before.column(&metric.name).iter().zip(after.column(&metric.name));
    pairs.map(|(before, after)| Some((*before)? - (*after)?)).collect()
}

/// Everything that the scores of a row are computed from.
pub(in crate::evaluate) struct Measured<'a> {
    /// The scores of each text.
    pub(in crate::evaluate) texts: &'a Columns,
    /// The scores of the same outputs, compared with other texts.
    pub(in crate::evaluate) unrelated: &'a Columns,
    /// The scores of each text without a defense.
    pub(in crate::evaluate) ceiling: &'a Columns,
    /// The leaks that can be read. Of others, the ceiling is too close to chance to divide by the distance.
    pub(in crate::evaluate) conclusive: &'a [String],
    /// The scores of retrieval, query by query.
    pub(in crate::evaluate) queries: &'a Columns,
    /// What the evaluation measured as a whole.
    pub(in crate::evaluate) given: &'a [(&'a str, Option<Score>)],
    pub(in crate::evaluate) seed: u64,
}

static NOTHING: Columns = Columns::new();

impl Measured<'_> {
    /// Creates a row without any measurement.
    pub(in crate::evaluate) fn nothing(seed: u64) -> Self {
        Self {
            texts: &NOTHING,
            unrelated: &NOTHING,
            ceiling: &NOTHING,
            conclusive: &[],
            queries: &NOTHING,
            given: &[],
            seed,
        }
    }

    /// Computes the score of each metric.
    ///
    /// # Errors
    /// When a score is outside the range of its metric.
    pub(in crate::evaluate) fn scores(&self, metrics: &[Metric]) -> Result<Scores, Error> {
        check_ranges(metrics, self.texts)?;
        check_ranges(metrics, self.unrelated)?;
        check_ranges(metrics, self.queries)?;
        Ok(metrics.iter().map(|metric| (metric.name.as_str(), self.score(metric, metrics))).collect())
    }

    fn score(&self, metric: &Metric, metrics: &[Metric]) -> Option<Score> {
        let name = metric.name.as_str();
        match &metric.basis {
            Basis::Share | Basis::Mean => metric.summary(self.texts.column(name), self.seed),
            Basis::Retrieval { .. } => metric.summary(self.queries.column(name), self.seed),
            Basis::FloorOf(base) => find(metrics, base)?.summary(self.unrelated.column(base), self.seed),
            Basis::LeakOf(_) if !self.conclusive.contains(&metric.name) => None,
            Basis::LeakOf(base) => {
                leak(over_floor(base, self.texts, self.unrelated, self.ceiling), self.seed)
            }
            Basis::Given(_) => {
                self.given.iter().find(|(given, _)| *given == name).and_then(|(_, score)| *score)
            }
        }
    }
}

/// Computes the scores of the undefended attack, or of its outputs compared with other texts.
pub(in crate::evaluate) fn attack_scores(metrics: &[Metric], texts: &Columns, seed: u64) -> Scores {
    let of_texts = metrics.iter().filter(|metric| metric.is_of_texts() && !metric.is_of_rows_only);
    of_texts
        .map(|metric| (metric.name.as_str(), metric.summary(texts.column(metric.name.as_str()), seed)))
        .collect()
}

fn check_ranges(metrics: &[Metric], columns: &Columns) -> Result<(), Error> {
    for metric in metrics {
        let outside = |score: &&f64| !metric.allows(**score);
        if let Some(score) = columns.column(metric.name.as_str()).iter().flatten().find(outside) {
            let (least, most) = metric.range;
            return Err(Error::Setting(format!(
                "the metric `{metric}` scored {score}, and its range is {least} to {most}; declare another range, or \
                 keep its scores inside"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(name: &str) -> Metric {
        Metric::share(name, |pair| Some(pair.output == pair.truth))
    }

    /// If chance is known, the floor is not measured.
    #[test]
    fn a_known_chance_is_the_floor() {
        let metrics = [same("whole"), same("guess").chance(0.25), Metric::leak_of("guess_leak", "guess")];
        let others = [TextPair::new("a", "b"), TextPair::new("b", "a")];
        let unrelated = measure_unrelated(&metrics, &others, true).only(&bases(&metrics));
        assert_eq!(unrelated.column("guess"), [Some(0.25); 2]);
        let ceiling = measure_texts(&metrics, &[TextPair::new("a", "a"), TextPair::new("b", "b")], true);
        let texts = measure_texts(&metrics, &[TextPair::new("a", "a"), TextPair::new("b", "a")], true);
        let leak = |conclusive: &[String]| {
            let (texts, unrelated, ceiling) = (&texts, &unrelated, &ceiling);
            let measured = Measured { texts, unrelated, ceiling, conclusive, ..Measured::nothing(0) };
            measured
                .scores(&metrics)
                .ok()
                .and_then(|scores| scores.score("guess_leak"))
                .map(|leak| leak.value)
        };
        assert_eq!(leak(&["guess_leak".to_owned()]), Some(0.25 / 0.75));
        assert_eq!(leak(&["leak".to_owned()]), None);
    }
}
