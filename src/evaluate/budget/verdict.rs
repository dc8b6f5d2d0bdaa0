use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::conclusion::Advice;
use super::super::metrics::Unit;

/// Whether something holds, as far as the sample can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is proved to hold.
    Pass,
    /// It is proved not to hold.
    Fail,
    /// Neither is proved.
    Inconclusive,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FindingKind {
    /// The strength of the undefended attack: the score must not be below `limit`, which a budget states, or which is the
    /// least gap of a limited leak above chance.
    Canary,
    /// A limit of the budget: the score must not be above `limit`.
    Limit,
    /// The difference to the baseline: the score must not have become worse by more than `limit`. This fails or
    /// passes: what is not proved to be worse passes.
    Regression,
}

/// One limit, checked on one stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// The stack, as the report's rows name it; `none` for the canary.
    pub defense: String,
    /// The adversary that did best, the worst for the defense. `None` for retrieval.
    pub adversary: Option<String>,
    /// The metric that is limited, by the name that budget files use: for retrieval it is the loss, as in `ndcg_drop`.
    pub metric: String,
    /// What the score is counted over.
    pub unit: Unit,
    /// How many decimals are shown.
    pub digits: usize,
    /// The limit.
    pub limit: f64,
    /// The score of the sample; for a regression, the difference, where more is worse.
    pub value: f64,
    /// The lower bound: if it is above the limit, the limit is broken.
    pub lower: f64,
    /// The upper bound: if it is below the limit, the limit is kept. Each bound has the confidence that this limit
    /// needs among the others (Holm).
    pub upper: f64,
    /// How many texts or queries the score is taken over.
    pub n: usize,
    /// Whether it is kept.
    pub outcome: Outcome,
    /// If it is inconclusive: about how many texts or queries would decide, if more of them were like these. `None`
    /// if no number would.
    pub needed: Option<usize>,
}

/// Whether a report keeps a budget, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// `Fail` if one finding fails; otherwise `Inconclusive` if a finding or a canary is; otherwise `Pass`.
    pub outcome: Outcome,
    /// How sure the findings of each kind are, all together.
    pub confidence: f64,
    /// Why the attacks do not show that limits are kept: the undefended attack is too weak, or no adversary attacked
    /// a key. `None` if they do.
    pub reason: Option<String>,
    /// The parts of `reason`, each with the stack that it is about, if it is about one. Empty if the verdict was read.
    #[serde(skip)]
    pub(super) reasons: Vec<(Option<String>, String)>,
    /// What makes a kept limit weak evidence.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What to do if it is inconclusive, the best first.
    #[serde(default)]
    pub advice: Vec<Advice>,
    /// The findings: those of canaries first, then the limits, stack by stack, then what changed since the baseline.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Returns whether everything is proved to hold.
    pub fn passed(&self) -> bool {
        self.outcome == Outcome::Pass
    }

    /// Returns the reason without what is about other stacks than the finding's. `None` if nothing is left.
    pub fn reason_for(&self, finding: &Finding) -> Option<String> {
        if self.reasons.is_empty() {
            return self.reason.clone();
        }
        let is_about =
            |defense: &Option<String>| defense.as_ref().is_none_or(|name| *name == finding.defense);
        let about = self.reasons.iter().filter(|(defense, _)| is_about(defense));
        join(about.map(|(_, reason)| reason.as_str()))
    }

    /// Iterates over the findings that do not pass.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.outcome != Outcome::Pass)
    }
}

/// Joins reasons. `None` if there are none.
pub(super) fn join<'a>(reasons: impl Iterator<Item = &'a str>) -> Option<String> {
    let reasons: Vec<&str> = reasons.collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// Prints the outcome, and below it a line for each warning and for each finding that does not pass.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.outcome)?;
        if let Some(reason) = &self.reason {
            write!(f, "\n{reason}")?;
        }
        self.warnings.iter().try_for_each(|warning| write!(f, "\nweak evidence: {warning}"))?;
        self.open().try_for_each(|finding| write!(f, "\n{finding}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
        })
    }
}

/// Prints the finding in words, with numbers and settings but no text.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { defense, metric, unit, digits: decimals, limit, lower, upper, n, .. } = self;
        match self.kind {
            FindingKind::Canary => write!(f, "the undefended attack: {metric}"),
            FindingKind::Limit => write!(f, "{defense}{}: {metric}", self.by()),
            FindingKind::Regression => {
                write!(f, "{defense}{}: {metric} worse than the baseline by", self.by())
            }
        }?;
        let value = self.value;
        let decimals = *decimals;
        write!(f, " {value:.decimals$} [{lower:.decimals$}, {upper:.decimals$}] over {n} {unit}, ")?;
        match (self.kind, self.outcome) {
            (FindingKind::Canary, Outcome::Pass) => write!(f, "not below {limit} as it must be"),
            (FindingKind::Canary, _) => write!(f, "not proved to reach {limit}"),
            (_, Outcome::Pass) => write!(f, "within {limit}"),
            (_, Outcome::Fail) => write!(f, "over the limit of {limit}"),
            (_, Outcome::Inconclusive) => write!(f, "neither proved within {limit} nor over it"),
        }?;
        match (self.outcome, self.needed) {
            (Outcome::Inconclusive, Some(needed)) => write!(f, "; about {needed} {unit} would decide"),
            _ => Ok(()),
        }
    }
}

impl Finding {
    fn by(&self) -> String {
        self.adversary.as_ref().map(|adversary| format!(", {adversary}")).unwrap_or_default()
    }
}
