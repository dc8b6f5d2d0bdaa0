//! Checks a report against a budget.

use super::super::conclusion::AttackStrength;
use super::super::keys::{self, UnattackedKey};
use super::super::metrics::{Metric, Unit};
use super::super::report::Report;
use super::canary::Canaries;
use super::claims::{Claim, claims};
use super::decide::decide;
use super::regressions::regressions;
use super::{Budget, Finding, Outcome, Verdict, advice, verdict};
use crate::Error;

pub(super) fn check(report: &Report, budget: &Budget) -> Result<Verdict, Error> {
    budget.validate()?;
    budget.check_limits(&report.metrics)?;
    let seed = seed(report);
    let claims = claims(report, budget, seed)?;
    let of_attacks = || claims.iter().filter(|claim| !claim.metric.is_retrieval());
    let limited: Vec<&Metric> = of_attacks().map(|claim| claim.metric).collect();
    // an attack that stopped working is no progress over the baseline either
    let is_compared = budget.baseline.is_some() && report.ceiling.is_some();
    let canaries = if is_compared || !limited.is_empty() {
        Canaries::of(report, budget, (&limited, is_compared), seed)?
    } else {
        Canaries::none()
    };
    let keys: Vec<UnattackedKey<'_>> = if budget.accept_unmeasured_key {
        Vec::new()
    } else {
        keys::unattacked(&report.rows).filter(|key| has_claim(of_attacks(), key)).collect()
    };
    let is_doubted = |finding: &Finding| {
        let has_open_key = keys.iter().any(|key| key.defense == finding.defense);
        finding.unit == Unit::Texts && (canaries.doubts(&finding.metric) || has_open_key)
    };
    let mut limits = decide(&claims, budget.confidence);
    limits.iter_mut().filter(|limit| is_doubted(limit)).for_each(doubt);
    let warnings = warnings(report, &claims, &limits);
    let mut findings = canaries.findings.clone();
    findings.extend(limits);
    if let Some(baseline) = &budget.baseline {
        findings.extend(regressions(report, budget, baseline, seed)?);
    }
    let of_keys = keys.iter().map(|key| (Some(key.defense.to_owned()), key.to_string()));
    let reasons: Vec<_> =
        canaries.reason.iter().map(|reason| (None, reason.clone())).chain(of_keys).collect();
    let reason = verdict::join(reasons.iter().map(|(_, reason)| reason.as_str()));
    let outcome = overall(&findings, reason.is_some());
    let advice = advice::advice(report, &findings, !keys.is_empty(), is_doubted);
    Ok(Verdict { outcome, confidence: budget.confidence, reason, reasons, warnings, advice, findings })
}

fn has_claim<'a>(mut claims: impl Iterator<Item = &'a Claim<'a>>, key: &UnattackedKey<'_>) -> bool {
    claims.any(|claim| claim.defense == key.defense)
}

/// Why a kept limit may be weak evidence: the attack is weak, or stays within the limit even undefended.
fn warnings(report: &Report, claims: &[Claim<'_>], limits: &[Finding]) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    let mut add = |warning: String| {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    };
    let kept = claims
        .iter()
        .zip(limits)
        .filter(|(claim, limit)| limit.outcome == Outcome::Pass && !claim.metric.is_retrieval());
    for (claim, limit) in kept {
        let of_limited =
            |strength: &&AttackStrength| [&strength.leak, &strength.metric].contains(&&claim.metric.name);
        report.strengths.iter().filter(of_limited).filter_map(AttackStrength::warning).for_each(&mut add);
        let undefended = report.ceiling.as_ref().and_then(|ceiling| ceiling.score(&claim.metric.name));
        if undefended.is_some_and(|score| score.value <= claim.limit) {
            let (name, most) = (claim.metric.limit_name(), limit.limit);
            add(format!(
                "the undefended attack stays within {name} {most} too, so keeping it is no merit of a defense"
            ));
        }
    }
    warnings
}

/// The seed of everything that is drawn for a decision: the evaluation's.
fn seed(report: &Report) -> u64 {
    report.signature.get("seed").and_then(serde_json::Value::as_u64).unwrap_or(0)
}

/// Makes a pass inconclusive: an attack that does not work cannot show that a limit is kept.
fn doubt(finding: &mut Finding) {
    if finding.outcome == Outcome::Pass {
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
