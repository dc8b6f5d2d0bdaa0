use std::fmt;

use serde::{Serialize, Serializer};

use super::super::metrics::Metric;

/// Whether something holds, as far as the sample can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FindingKind {
    /// The strength of the undefended attack: the score must not be below `limit`.
    Canary,
    /// A limit of the budget: the score must not be above `limit`.
    Limit,
    /// The difference to the baseline: the score must not have become worse by more than `limit`. This
    /// fails or passes; what is not proved to be worse passes.
    Regression,
}

/// One limit, held against one stack.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// The stack, as the report's rows name it; `none` for the canary.
    pub defense: String,
    /// The adversary that did best, the worst for the defense. `None` for retrieval.
    pub adversary: Option<String>,
    /// The metric that is limited; for retrieval, its loss. In JSON it is the name that budget files use, as in
    /// `ndcg_drop`.
    #[serde(serialize_with = "limit_name")]
    pub metric: Metric,
    /// The limit.
    pub limit: f64,
    /// The score of the sample; of a regression the difference, where more is worse.
    pub value: f64,
    /// The lower bound: above the limit, the limit is broken.
    pub lower: f64,
    /// The upper bound: below the limit, the limit is kept. Each bound has the confidence that this limit
    /// takes among the others (Holm).
    pub upper: f64,
    /// How many texts or queries the score is over.
    pub n: usize,
    /// Whether it is kept.
    pub outcome: Outcome,
    /// Where it is inconclusive: about how many texts or queries would decide, if more of them were like
    /// these. `None` where no number would.
    pub needed: Option<usize>,
}

fn limit_name<S: Serializer>(metric: &Metric, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(metric.limit_name())
}

/// Whether a report keeps a budget, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// `Fail` where one finding fails; else `Inconclusive` where one is, or a canary is; else `Pass`.
    pub outcome: Outcome,
    /// How sure the findings of each kind are, all together.
    pub confidence: f64,
    /// Why the attack cannot be trusted. `None` where it can.
    pub reason: Option<String>,
    /// The canary's first, then the limits, stack by stack, then what changed since the baseline.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Whether everything is proved to hold.
    pub fn passed(&self) -> bool {
        self.outcome == Outcome::Pass
    }

    /// The findings that do not pass.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.outcome != Outcome::Pass)
    }
}

/// The outcome, and below it a line for each finding that does not pass.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.outcome)?;
        if let Some(reason) = &self.reason {
            write!(f, "\n{reason}")?;
        }
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

/// In words, with numbers and settings and no text.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { defense, limit, lower, upper, n, .. } = self;
        let (metric, unit, decimals) =
            (self.metric.limit_name(), self.metric.unit(), self.metric.fine_digits());
        match self.kind {
            FindingKind::Canary => write!(f, "the undefended attack: {metric}"),
            FindingKind::Limit => write!(f, "{defense}{}: {metric}", self.by()),
            FindingKind::Regression => {
                write!(f, "{defense}{}: {metric} worse than the baseline by", self.by())
            }
        }?;
        let value = self.value;
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
