//! Limits on what the worst adversary may reach, such as `guess<=0.1`.

use std::fmt;

use crate::evaluate::metrics::Direction;
use crate::evaluate::statistics::Score;
use crate::evaluate::{Metric, Row};

/// A limit on what the worst adversary may reach, such as `leak<=0.1`.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    metric: Metric,
    pub(crate) most: f64,
}

/// The metrics of attacks that may be limited, with the leaks first.
fn limitable(metrics: &[Metric]) -> Vec<&Metric> {
    let leaks = |metric: &&Metric| metric.direction() == Direction::MoreLeaks && metric.limited_as.is_some();
    let mut metrics: Vec<&Metric> = metrics.iter().filter(leaks).collect();
    metrics.sort_by_key(|metric| metric.leaking().is_none());
    metrics
}

impl Limit {
    pub(crate) fn metric(&self) -> &Metric {
        &self.metric
    }

    /// Whether the worst of these rows, one per adversary, stays within it.
    pub(crate) fn is_kept(&self, rows: &[&Row]) -> bool {
        self.worst(rows).is_some_and(|(_, score)| score.value <= self.most)
    }

    /// Whether its metric, or the metric that it is the leak of, needs the output of an attack.
    pub(crate) fn needs_attack(&self, metrics: &[Metric]) -> bool {
        let base = self.metric.leaking().unwrap_or(&self.metric.name);
        metrics.iter().find(|metric| metric.name == base).is_none_or(Metric::reads_outputs)
    }

    pub(crate) fn is_of(&self, metric: &Metric) -> bool {
        self.metric.name == metric.name
    }

    /// The highest score of these rows, one per adversary. `None` if one is missing.
    pub(crate) fn worst<'a>(&self, rows: &[&'a Row]) -> Option<(&'a Row, Score)> {
        let scores: Option<Vec<_>> =
            rows.iter().map(|row| row.score(&self.metric.name).map(|score| (*row, score))).collect();
        scores?.into_iter().max_by(|(_, a), (_, b)| a.value.total_cmp(&b.value))
    }
}

impl Limit {
    /// Reads `leak<=0.1`, on one of `metrics`.
    pub(crate) fn parse(text: &str, metrics: &[Metric]) -> Result<Self, String> {
        let metrics = limitable(metrics);
        let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
        let form = format!("a limit is METRIC<=NUMBER, such as leak<=0.1; metrics are {}", names.join(", "));
        let (name, most) = text.split_once("<=").ok_or_else(|| form.clone())?;
        let known = metrics.into_iter().find(|metric| metric.name == name.trim());
        let most = most.trim().parse().ok().filter(|most: &f64| most.is_finite());
        match (known, most) {
            (Some(metric), Some(most)) => {
                metric.check_limit(&metric.name, most, "limit").map_err(|error| error.to_string())?;
                Ok(Self { metric: metric.clone(), most })
            }
            _ => Err(form),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}<={}", self.metric, self.most)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;
    use crate::evaluate::metrics::built_in;

    #[test]
    fn limits_are_read_or_refused() {
        let limit = Limit::parse(" leak <= 0.1", built_in()).unwrap();
        let leak = built_in().iter().find(|metric| metric.name == "leak").unwrap();
        assert_eq!((limit.to_string(), limit.most, limit.is_of(leak)), ("leak<=0.1".into(), 0.1, true));
        for text in ["", "leak", "leak<0.1", "leak<=", "leak<=x", "leak<=nan", "privacy<=1", "ndcg_at_10<=1"]
        {
            assert!(Limit::parse(text, built_in()).unwrap_err().contains("METRIC<=NUMBER"), "{text}");
        }
        for (text, part) in [
            ("leak<=10", "`leak` lies between 0 and 1; 10 cannot be its limit"),
            ("bleu<=-1", "between 0 and 100"),
        ] {
            assert!(Limit::parse(text, built_in()).unwrap_err().contains(part), "{text}");
        }
    }
}
