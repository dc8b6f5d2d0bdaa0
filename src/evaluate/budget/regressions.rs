//! What has become worse since a baseline.

use super::super::baseline::{Baseline, Change};
use super::super::report::Report;
use super::claims::adversary;
use super::decide::levels;
use super::evidence::{LEAST_PAIRS, Measurement};
use super::{Budget, Finding, FindingKind, Outcome};
use crate::Error;

/// Finds what has become worse since the baseline, on the same texts and queries.
pub(super) fn regressions(
    report: &Report,
    budget: &Budget,
    baseline: &Baseline,
    seed: u64,
) -> Result<Vec<Finding>, Error> {
    let changes = baseline.changes(report, &budget.tolerances)?;
    let evidence: Vec<Measurement> =
        changes.iter().map(|change| Measurement::paired(change.worse.clone(), seed)).collect();
    let tests = changes.iter().zip(&evidence);
    let above: Vec<f64> = tests.map(|(change, evidence)| evidence.p_values(change.tolerance).above).collect();
    let levels = levels(&above, 1.0 - budget.confidence);
    let finding = |(at, change): (usize, &Change<'_>)| {
        let (lower, upper) = evidence[at].bounds(levels[at], levels[at]);
        let few = evidence[at].is_too_few();
        Finding {
            kind: FindingKind::Regression,
            defense: change.row.defense.clone(),
            adversary: adversary(change.row, change.metric).map(str::to_owned),
            metric: change.metric.limit_name().to_owned(),
            unit: change.metric.unit(),
            digits: change.metric.fine_digits(),
            limit: change.tolerance,
            value: evidence[at].value,
            lower,
            upper,
            n: evidence[at].n,
            outcome: match above[at] <= levels[at] {
                _ if few => Outcome::Inconclusive,
                true => Outcome::Fail,
                false => Outcome::Pass,
            },
            needed: few.then_some(LEAST_PAIRS),
        }
    };
    Ok(changes.iter().enumerate().map(finding).collect())
}
