//! Checks a report against a budget.

use super::super::baseline;
use super::super::metrics::{Basis, Columns, Metric, by_limit, find, losses, over_floor};
use super::super::report::{Report, Row};
use super::super::statistics::PValues;
use super::evidence::{LEAST_PAIRS, Measurement};
use super::{Budget, Finding, FindingKind, Outcome, Verdict};
use crate::Error;

pub(super) fn check(report: &Report, budget: &Budget) -> Result<Verdict, Error> {
    budget.validate()?;
    budget.check_limits(&report.metrics)?;
    let seed = seed(report);
    let claims = claims(report, budget, seed)?;
    // an attack that stopped working is no progress over the baseline either
    let compared = budget.baseline.is_some() && report.ceiling.is_some();
    let attacked = compared || claims.iter().any(|claim| !claim.metric.is_retrieval());
    let canary = if attacked { canaries(report, budget, seed)? } else { Vec::new() };
    let reason = unfit(report, &canary).filter(|_| attacked);
    let mut findings = canary;
    findings.extend(decide(&claims, budget.confidence));
    if reason.is_some() {
        findings.iter_mut().for_each(doubt);
    }
    if let Some(baseline) = &budget.baseline {
        findings.extend(regressions(report, budget, baseline, seed)?);
    }
    let outcome = overall(&findings, reason.is_some());
    Ok(Verdict { outcome, confidence: budget.confidence, reason, findings })
}

/// What is drawn for a decision is drawn from the evaluation's seed.
fn seed(report: &Report) -> u64 {
    report.signature.get("seed").and_then(serde_json::Value::as_u64).unwrap_or(0)
}

/// A limit on a stack, and what each adversary's attack says about it.
struct Claim<'a> {
    defense: &'a str,
    metric: &'a Metric,
    limit: f64,
    /// With the adversary's name; one without for retrieval.
    evidence: Vec<(Option<&'a str>, Measurement)>,
}

fn claims<'a>(report: &'a Report, budget: &Budget, seed: u64) -> Result<Vec<Claim<'a>>, Error> {
    if let Some((stack, ..)) =
        budget.of_stacks.iter().find(|(stack, ..)| report.rows.iter().all(|row| row.defense != *stack))
    {
        return Err(Error::Setting(format!("the budget has a limit of `{stack}`, which was not measured")));
    }
    let mut claims: Vec<Claim<'_>> = Vec::new();
    for row in &report.rows {
        if claims.iter().any(|claim| claim.defense == row.defense) {
            continue;
        }
        for (name, limit) in budget.limits_of(&row.defense) {
            let metric = by_limit(&report.metrics, &name)?;
            let rows = report.rows.iter().filter(|other| other.defense == row.defense);
            let evidence = rows.map(|row| Ok((adversary(row, metric), measured(report, row, metric, seed)?)));
            let mut evidence = evidence.collect::<Result<Vec<_>, Error>>()?;
            if metric.is_retrieval() {
                evidence.truncate(1);
            }
            claims.push(Claim { defense: &row.defense, metric, limit, evidence });
        }
    }
    Ok(claims)
}

fn adversary<'a>(row: &'a Row, metric: &Metric) -> Option<&'a str> {
    (!metric.is_retrieval()).then_some(row.adversary.as_str())
}

/// What one row says of a metric.
fn measured(report: &Report, row: &Row, metric: &Metric, seed: u64) -> Result<Measurement, Error> {
    let undefended = &report.undefended;
    let evidence = match &metric.basis {
        Basis::Retrieval { .. } => {
            let lost = losses(metric, &undefended.queries, &row.queries);
            Measurement::paired(lost.into_iter().flatten().collect(), seed)
        }
        Basis::LeakOf(base) => {
            let (least, most) = find(&report.metrics, base).map_or(metric.range, |base| base.range);
            let terms = over_floor(base, &row.texts, &row.unrelated, &undefended.texts);
            let terms = terms.into_iter().flatten().collect();
            Measurement::ratio(terms, ((least - most, 0.0), (most - least, 0.0)), seed)
        }
        _ => of_texts(&row.texts, metric, seed),
    };
    if evidence.n > 0 {
        return Ok(evidence);
    }
    let name = metric.limit_name();
    Err(Error::Setting(if row.score(&metric.name).is_some() {
        format!(
            "`{name}` cannot be checked: the report has no scores text by text; write it with `to_json_full`"
        )
    } else {
        format!(
            "the budget limits `{name}`, which was not measured: {}",
            match &metric.needs {
                Some(what) => format!("the corpus has no {what}, or nothing was attacked"),
                None if metric.is_retrieval() => "the corpus has no judged queries".into(),
                None => "nothing was attacked".into(),
            }
        )
    }))
}

fn of_texts(texts: &Columns, metric: &Metric, seed: u64) -> Measurement {
    let scores = texts.values(&metric.name);
    match metric.basis {
        Basis::Share => Measurement::share(&scores.iter().map(|score| *score > 0.5).collect::<Vec<_>>()),
        _ => Measurement::bounded(&scores, metric.range, seed),
    }
}

/// All limits at once. A limit is kept where every adversary is proved to stay below it, which takes no
/// correction for their number; it is broken where one is proved to be above, which does.
fn decide(claims: &[Claim<'_>], confidence: f64) -> Vec<Finding> {
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
            metric: claim.metric.clone(),
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

/// The adversary that speaks most against the limit; among equals the one with the highest score.
fn worst(claim: &Claim<'_>, tests: &[PValues]) -> usize {
    let against = |at: usize| tests[at].below - tests[at].above;
    let order = |&a: &usize, &b: &usize| {
        let by_value = || claim.evidence[a].1.value.total_cmp(&claim.evidence[b].1.value);
        against(a).total_cmp(&against(b)).then_with(by_value).then(b.cmp(&a))
    };
    (0..tests.len()).max_by(order).unwrap_or(0)
}

/// The level at which Holm's method (1979) tests each p-value: what is at most its level is rejected, and
/// with probability 1 − `wrong` nothing is that should not be. So each bound can be drawn at its own.
fn levels(p_values: &[f64], wrong: f64) -> Vec<f64> {
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

/// The undefended attack against what it must reach: passed where that is proved.
fn canaries(report: &Report, budget: &Budget, seed: u64) -> Result<Vec<Finding>, Error> {
    let wrong = 1.0 - budget.confidence;
    let texts = &report.undefended.texts;
    let finding = |(name, limit): &(String, f64)| {
        let (metric, limit) = (by_limit(&report.metrics, name)?, *limit);
        let evidence = of_texts(texts, metric, seed);
        if evidence.n == 0 {
            return Err(Error::Setting(format!("the canary is of `{name}`, which was not measured")));
        }
        let (lower, upper) = evidence.bounds(wrong, wrong);
        let reached = evidence.p_values(limit).above <= wrong;
        let promising = !reached && evidence.value > limit;
        Ok(Finding {
            kind: FindingKind::Canary,
            defense: "none".into(),
            adversary: None,
            metric: metric.clone(),
            limit,
            value: evidence.value,
            lower,
            upper,
            n: evidence.n,
            outcome: if reached { Outcome::Pass } else { Outcome::Inconclusive },
            needed: if promising { evidence.needed(limit, wrong) } else { None },
        })
    };
    budget.canaries().iter().map(finding).collect()
}

/// Why an attack that fails under a defense may have failed by itself.
fn unfit(report: &Report, canaries: &[Finding]) -> Option<String> {
    if canaries.iter().any(|canary| canary.outcome != Outcome::Pass) {
        return Some(
            "the undefended attack is not proved to reach its stated strength, so its failing under a defense says \
             nothing: it is damaged, does not fit the embedder or the corpus, or there are too few texts"
                .into(),
        );
    }
    report.reason.clone()
}

/// What an attack that does not work leaves alone is not kept.
fn doubt(finding: &mut Finding) {
    if finding.kind == FindingKind::Limit
        && !finding.metric.is_retrieval()
        && finding.outcome == Outcome::Pass
    {
        finding.outcome = Outcome::Inconclusive;
    }
}

fn overall(findings: &[Finding], doubted: bool) -> Outcome {
    let any = |outcome| findings.iter().any(|finding| finding.outcome == outcome);
    match () {
        // what even a weak attack is proved to bring back is broken
        () if any(Outcome::Fail) => Outcome::Fail,
        () if doubted => Outcome::Inconclusive,
        () if any(Outcome::Inconclusive) => Outcome::Inconclusive,
        () => Outcome::Pass,
    }
}

/// What became worse since the baseline, on the same texts and queries.
fn regressions(
    report: &Report,
    budget: &Budget,
    baseline: &baseline::Baseline,
    seed: u64,
) -> Result<Vec<Finding>, Error> {
    let changes = baseline.changes(report, &budget.tolerances)?;
    let evidence: Vec<Measurement> =
        changes.iter().map(|change| Measurement::paired(change.worse.clone(), seed)).collect();
    let tests = changes.iter().zip(&evidence);
    let above: Vec<f64> = tests.map(|(change, evidence)| evidence.p_values(change.tolerance).above).collect();
    let levels = levels(&above, 1.0 - budget.confidence);
    let finding = |(at, change): (usize, &baseline::Change<'_>)| {
        let (lower, upper) = evidence[at].bounds(levels[at], levels[at]);
        let few = evidence[at].is_too_few();
        Finding {
            kind: FindingKind::Regression,
            defense: change.row.defense.clone(),
            adversary: adversary(change.row, change.metric).map(str::to_owned),
            metric: change.metric.clone(),
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
