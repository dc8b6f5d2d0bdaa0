//! What the undefended attack must reach, so that its failure under a defense says something.

use super::super::conclusion::{AttackStrength, Shortfall, strengths};
use super::super::metrics::{Metric, by_limit, find};
use super::super::report::Report;
use super::claims::of_texts;
use super::{Budget, Finding, FindingKind, Outcome};
use crate::Error;

/// The canaries of a report, and the limits that they keep from passing.
pub(super) struct Canaries {
    pub(super) findings: Vec<Finding>,
    /// Why limits are doubted.
    pub(super) reason: Option<String>,
    /// The names of the metrics whose limits are doubted. `None` if all limits on attacks are.
    pub(super) doubted: Option<Vec<String>>,
}

impl Canaries {
    /// Returns no canaries, for a report in which nothing was attacked, or no limit depends on the attack.
    pub(super) fn none() -> Self {
        Self { findings: Vec::new(), reason: None, doubted: Some(Vec::new()) }
    }

    /// Returns the canaries of the budget or, by default, that each limited leak can be read. A comparison with a
    /// baseline requires any leak of the attack's outputs.
    pub(super) fn of(
        report: &Report,
        budget: &Budget,
        (limited, is_compared): (&[&Metric], bool),
        seed: u64,
    ) -> Result<Self, Error> {
        if budget.canary.is_empty() {
            Ok(Self::of_leaks(report, limited, is_compared, seed))
        } else {
            let stated = Self::stated(report, budget, seed)?;
            let reads =
                |name: &str| by_limit(&report.metrics, name).map(|metric| reads_outputs(report, metric));
            let names = budget.canary.iter().map(|(name, _)| reads(name));
            let reads_any = names.collect::<Result<Vec<_>, Error>>()?.contains(&true);
            Ok(if reads_any { stated } else { stated.and_of_outputs(report, (limited, is_compared), seed) })
        }
    }

    /// Stated canaries that read nothing of what the attack writes do not vouch for limits that do: these are doubted as
    /// by default.
    fn and_of_outputs(
        mut self,
        report: &Report,
        (limited, is_compared): (&[&Metric], bool),
        seed: u64,
    ) -> Self {
        let limited: Vec<&Metric> =
            limited.iter().copied().filter(|metric| reads_outputs(report, metric)).collect();
        let Self { findings, reason, doubted } = Self::of_leaks(report, &limited, is_compared, seed);
        self.findings.extend(findings);
        self.reason = self.reason.or(reason);
        self.doubted = self.doubted.and(doubted);
        self
    }

    /// Whether a limit on this metric is kept from passing.
    pub(super) fn doubts(&self, metric: &str) -> bool {
        self.doubted.as_ref().is_none_or(|doubted| doubted.iter().any(|name| name == metric))
    }

    /// Checks that the undefended attack reaches what the budget states. It passes if that is proved.
    fn stated(report: &Report, budget: &Budget, seed: u64) -> Result<Self, Error> {
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
                value: evidence.value,
                lower,
                upper,
                n: evidence.n,
                outcome: if reached { Outcome::Pass } else { Outcome::Inconclusive },
                needed: if promising { evidence.needed(limit, wrong) } else { None },
                ..Finding::canary(metric, limit)
            })
        };
        let findings = budget.canary.iter().map(finding).collect::<Result<Vec<_>, Error>>()?;
        let is_dead = findings.iter().any(|canary| canary.outcome != Outcome::Pass);
        let stated = "the undefended attack is not proved to reach its stated strength, so its failing under a defense says \
                      nothing: it is damaged, does not fit the embedder or the corpus, or there are too few texts";
        let in_vain = report.strengths.iter().filter(|&strength| is_in_vain(strength));
        let in_vain: Vec<&AttackStrength> = in_vain.collect();
        let reason = match (is_dead, &report.reason) {
            (true, _) => Some(stated.to_owned()),
            (false, Some(reason)) => Some(reason.clone()),
            (false, None) => sentence(&in_vain),
        };
        let whole = is_dead || report.reason.is_some() || !in_vain.is_empty();
        Ok(Self { findings, reason, doubted: (!whole).then(Vec::new) })
    }

    /// By default, each limited leak must be one that can be read. A limit on a metric that a leak is computed from
    /// requires that leak, and one on any other metric requires a leak of the attack's outputs.
    fn of_leaks(report: &Report, limited: &[&Metric], is_compared: bool, seed: u64) -> Self {
        let strengths = match report.strengths.as_slice() {
            [] => measured(report, seed),
            known => known.to_vec(),
        };
        let asks_for = |metric: &Metric| own(metric, &strengths).or_else(|| written(&strengths));
        let limits = limited.iter().filter_map(|metric| Some((*metric, asks_for(metric)?)));
        let is_doubted = |(_, strength): &(&Metric, &AttackStrength)| !strength.is_conclusive();
        let doubted = limits.clone().filter(is_doubted).map(|(metric, _)| metric.limit_name().to_owned());
        let compared = if is_compared { written(&strengths) } else { None };
        let mut asked: Vec<&AttackStrength> = Vec::new();
        for strength in limits.clone().map(|(_, strength)| strength).chain(compared) {
            if !asked.contains(&strength) {
                asked.push(strength);
            }
        }
        let findings = asked.iter().filter_map(|strength| finding(report, strength)).collect();
        let doubted = Some(doubted.collect());
        asked.retain(|strength| !strength.is_conclusive());
        Self { findings, reason: sentence(&asked), doubted }
    }
}

/// Whether a metric, or what it is the leak of, reads what the attack wrote.
fn reads_outputs(report: &Report, metric: &Metric) -> bool {
    let base = metric.leaking().and_then(|base| find(&report.metrics, base));
    base.unwrap_or(metric).reads_outputs()
}

/// The strengths of a report that does not state them.
fn measured(report: &Report, seed: u64) -> Vec<AttackStrength> {
    let undefended = &report.undefended;
    strengths(&report.metrics, &undefended.texts, &undefended.unrelated, seed)
}

/// The leak of this metric: itself, or the one that is computed from it.
fn own<'a>(metric: &Metric, strengths: &'a [AttackStrength]) -> Option<&'a AttackStrength> {
    strengths.iter().find(|strength| strength.leak == metric.name || strength.metric == metric.name)
}

/// A leak of the attack's outputs: the first that can be read, or otherwise the first.
fn written(strengths: &[AttackStrength]) -> Option<&AttackStrength> {
    let mut written = strengths.iter().filter(|strength| strength.reads_outputs);
    written.clone().find(|strength| strength.is_conclusive()).or_else(|| written.next())
}

fn is_in_vain(strength: &AttackStrength) -> bool {
    matches!(strength.shortfall, Some(Shortfall::RetrainedTooWeak { .. }))
}

/// What these leaks lack. `None` if there are none.
fn sentence(strengths: &[&AttackStrength]) -> Option<String> {
    let each: Vec<String> =
        strengths.iter().map(|strength| format!("{}: {strength}", strength.leak.replace('_', " "))).collect();
    (!each.is_empty()).then(|| {
        format!("the undefended attack does not do well enough for what is limited, so its failing under a defense says \
                 nothing; {}", each.join("; "))
    })
}

/// The attack's score, which must be above chance by the least gap.
fn finding(report: &Report, strength: &AttackStrength) -> Option<Finding> {
    let metric = find(&report.metrics, &strength.metric)?;
    let chance = strength.ceiling - strength.gap.value;
    let needed = match strength.shortfall {
        Some(Shortfall::TooFewTexts { needed }) => Some(needed),
        _ => None,
    };
    Some(Finding {
        value: strength.ceiling,
        lower: chance + strength.gap.low,
        upper: chance + strength.gap.high,
        n: strength.n,
        outcome: if strength.is_conclusive() { Outcome::Pass } else { Outcome::Inconclusive },
        needed,
        ..Finding::canary(metric, rounded(chance + strength.least_gap, metric.fine_digits()))
    })
}

/// Rounds to the decimals that are shown.
fn rounded(number: f64, digits: usize) -> f64 {
    let unit = 10_f64.powi(i32::try_from(digits).unwrap_or(i32::MAX));
    (number * unit).round() / unit
}

impl Finding {
    fn canary(metric: &Metric, limit: f64) -> Self {
        Self {
            kind: FindingKind::Canary,
            defense: "none".into(),
            adversary: None,
            metric: metric.limit_name().to_owned(),
            unit: metric.unit(),
            digits: metric.fine_digits(),
            limit,
            value: 0.0,
            lower: 0.0,
            upper: 0.0,
            n: 0,
            outcome: Outcome::Inconclusive,
            needed: None,
        }
    }
}
