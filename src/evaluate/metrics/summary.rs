//! From texts and queries to the scores of a row.

use serde_json::{Map, Value};

use super::kinds::{Basis, Interval};
use super::leak::{leak, over_floor};
use super::table::find;
use super::{Columns, Metric, Scores, TextPair};
use crate::Error;
use crate::evaluate::retrieval::{Hits, Judgements};
use crate::evaluate::statistics::Score;

/// The scores of each pair, by the metrics of texts.
pub(in crate::evaluate) fn measure_texts(metrics: &[Metric], pairs: &[TextPair<'_>]) -> Columns {
    let of_texts = metrics.iter().filter(|metric| metric.is_of_texts());
    let column = |metric: &Metric| pairs.iter().map(|pair| metric.of_pair(pair)).collect::<Vec<_>>();
    of_texts.map(|metric| (metric.name.as_str(), column(metric))).collect()
}

/// The scores of each query that any metric of retrieval has one for.
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

/// How many documents of a ranking the metrics need.
pub(in crate::evaluate) fn search_depth(metrics: &[Metric]) -> usize {
    let depth = |metric: &Metric| match metric.basis {
        Basis::Retrieval { depth } => depth,
        _ => 0,
    };
    metrics.iter().map(depth).max().unwrap_or(0)
}

/// The metrics whose floor is needed: those that a leak or a floor is made of.
pub(in crate::evaluate) fn bases(metrics: &[Metric]) -> Vec<&str> {
    fn base(metric: &Metric) -> Option<&str> {
        match &metric.basis {
            Basis::FloorOf(base) | Basis::LeakOf(base) => Some(base),
            _ => None,
        }
    }
    metrics.iter().filter_map(base).collect()
}

/// The metrics that have the interval of a share.
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

/// Query by query, how much of a metric of retrieval is lost; the reverse of a gain.
pub(in crate::evaluate) fn losses(metric: &Metric, before: &Columns, after: &Columns) -> Vec<Option<f64>> {
    let pairs = before.column(&metric.name).iter().zip(after.column(&metric.name));
    pairs.map(|(before, after)| Some((*before)? - (*after)?)).collect()
}

/// What a row is made of.
pub(in crate::evaluate) struct Measured<'a> {
    /// What came back of each text.
    pub(in crate::evaluate) texts: &'a Columns,
    /// The same outputs, held against other texts.
    pub(in crate::evaluate) unrelated: &'a Columns,
    /// What came back of each text without a defense; nothing where that is too little to divide by.
    pub(in crate::evaluate) ceiling: &'a Columns,
    /// Retrieval, query by query.
    pub(in crate::evaluate) queries: &'a Columns,
    /// What was measured as a whole.
    pub(in crate::evaluate) given: &'a [(&'a str, Option<Score>)],
    pub(in crate::evaluate) seed: u64,
}

static NOTHING: Columns = Columns::new();

impl Measured<'_> {
    /// Nothing was measured.
    pub(in crate::evaluate) fn nothing(seed: u64) -> Self {
        Self { texts: &NOTHING, unrelated: &NOTHING, ceiling: &NOTHING, queries: &NOTHING, given: &[], seed }
    }

    /// The score of each metric.
    ///
    /// # Errors
    /// When a metric left its range.
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
            Basis::LeakOf(base) => {
                leak(over_floor(base, self.texts, self.unrelated, self.ceiling), self.seed)
            }
            Basis::Given(_) => {
                self.given.iter().find(|(given, _)| *given == name).and_then(|(_, score)| *score)
            }
        }
    }
}

/// The scores of the undefended attack, or of its outputs held against other texts.
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
                "the metric `{metric}` scored {score}, and its range is {least} to {most}; declare its range, or \
                 keep its scores within"
            )));
        }
    }
    Ok(())
}
