//! Decides all limits together.

use super::super::statistics::PValues;
use super::claims::Claim;
use super::{Finding, FindingKind, Outcome};

/// Decides all limits at once. A limit is kept if every adversary is proved to stay below it, which needs no
/// correction for their number. It is broken if one is proved to be above, which does.
pub(super) fn decide(claims: &[Claim<'_>], confidence: f64) -> Vec<Finding> {
    let wrong = 1.0 - confidence;
    let tests: Vec<Vec<_>> = claims
        .iter()
        .map(|claim| claim.evidence.iter().map(|(_, evidence)| evidence.p_values(claim.limit)).collect())
        .collect();
    let highest = |of: &Vec<PValues>| of.iter().map(|p| p.below).fold(0.0, f64::max);
    let lowest = |of: &Vec<PValues>| of.iter().map(|p| p.above).fold(1.0, f64::min) * of.len() as f64;
    let below: Vec<f64> = tests.iter().map(highest).collect();
    let above: Vec<f64> = tests.iter().map(lowest).collect();
    let (kept, broken) = (levels(&below, wrong), levels(&above, wrong));
    let finding = |(at, claim): (usize, &Claim<'_>)| {
        let outcome = match (below[at] <= kept[at], above[at] <= broken[at]) {
            (true, _) => Outcome::Pass,
            (false, true) => Outcome::Fail,
            (false, false) => Outcome::Inconclusive,
        };
        let worst = worst(claim, &tests[at]);
        let (adversary, evidence) = &claim.evidence[worst];
        let least = broken[at] / claim.evidence.len() as f64;
        let (lower, upper) = evidence.bounds(least, kept[at]);
        let open = outcome == Outcome::Inconclusive;
        let needed = if open { evidence.needed(claim.limit, least.min(kept[at])) } else { None };
        Finding {
            kind: FindingKind::Limit,
            defense: claim.defense.to_owned(),
            adversary: adversary.map(str::to_owned),
            metric: claim.metric.limit_name().to_owned(),
            unit: claim.metric.unit(),
            digits: claim.metric.fine_digits(),
            limit: claim.limit,
            value: evidence.value,
            lower,
            upper,
            n: evidence.n,
            outcome,
            needed,
        }
    };
    claims.iter().enumerate().map(finding).collect()
}

/// The adversary with the strongest evidence against the limit; among equals, the one with the highest score.
fn worst(claim: &Claim<'_>, tests: &[PValues]) -> usize {
    let against = |at: usize| tests[at].below - tests[at].above;
    let order = |&a: &usize, &b: &usize| {
        let by_value = || claim.evidence[a].1.value.total_cmp(&claim.evidence[b].1.value);
        against(a).total_cmp(&against(b)).then_with(by_value).then(b.cmp(&a))
    };
    (0..tests.len()).max_by(order).unwrap_or(0)
}

/// The level at which Holm's method (1979) tests each p-value. A p-value of at most its level is rejected, and with
/// probability 1 − `wrong` no rejection is an error. So each bound can be drawn at its own level.
pub(super) fn levels(p_values: &[f64], wrong: f64) -> Vec<f64> {
    let n = p_values.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let level = |rank: usize| wrong / (n - rank) as f64;
    let stop = (0..n).find(|&rank| p_values[order[rank]] > level(rank)).unwrap_or(n);
    let mut levels = vec![wrong; n];
    for (rank, &at) in order.iter().enumerate() {
        levels[at] = level(rank.min(stop));
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::super::super::statistics::holm;
    use super::levels;

    #[test]
    fn the_levels_are_those_of_holm() {
        for p_values in [
            vec![0.01, 0.04, 0.03, 0.005],
            vec![0.012, 0.02, 0.024, 0.9],
            vec![0.06],
            vec![0.025, 0.025],
            vec![0.0, 1.0, 0.05],
            vec![],
        ] {
            let rejected: Vec<bool> = holm(&p_values).iter().map(|p| *p <= 0.05).collect();
            let levels = levels(&p_values, 0.05);
            let here: Vec<bool> = p_values.iter().zip(&levels).map(|(p, level)| p <= level).collect();
            assert_eq!(here, rejected, "{p_values:?} {levels:?}");
        }
    }
}
