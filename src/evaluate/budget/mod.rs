//! Limits on what may leak and what retrieval may lose, and whether a report keeps them.

mod check;
mod evidence;
mod verdict;

use super::baseline::Baseline;
use super::metrics::{self, Metric, STRENGTH, built_in};
use super::report::Report;
use crate::Error;

pub use verdict::{Finding, FindingKind, Outcome, Verdict};

/// How sure a decision is where nothing else is said.
pub const CONFIDENCE: f64 = 0.95;

/// The BLEU that the undefended attack must reach where nothing else is said: half of the scale. An attack
/// that brings back less than that of texts that nobody protects fails by itself, and whatever a defense
/// seems to stop, it may have missed anyway. The shipped attack reaches 98 on records; state what yours does.
pub const CANARY_BLEU: f64 = 50.0;

/// By how much a score may be worse than the baseline's where nothing else is said.
pub const TOLERANCES: [(&str, f64); 3] = [("bleu", 1.0), ("leak", 0.01), ("ndcg_drop", 0.01)];

/// What may leak at most, and what retrieval may lose.
///
/// A limit names a metric, as in `exact_match`, or the loss of a metric of retrieval, as in `ndcg_drop`:
/// [`Metric::limited_as`]. Limits hold for every stack and its worst adversary. They are decided on one-sided bounds, not on what
/// the sample happens to show: a limit is kept when the upper bound lies below it, broken when the lower
/// bound lies above it, and else the sample is too small to say. See [`Report::check`].
///
/// ```
/// use embosk::evaluate::{Budget, Corpus, Evaluation, Outcome};
/// # use embosk::Embedder;
/// # let letters = |texts: &[&str]| -> Result<ndarray::Array2<f32>, embosk::BoxError> {
/// #     let count = |text: &str, letter| text.bytes().filter(|&byte| byte == letter).count() as f32;
/// #     Ok(ndarray::Array2::from_shape_fn((texts.len(), 26), |(row, at)| count(texts[row], b'a' + at as u8)))
/// # };
/// let report = Evaluation::new(letters)
///     .corpus(Corpus::records(500, 0))
///     .defense("gaussian(sigma=5)".parse()?)
///     .run()?;
/// assert_eq!(report.check(&Budget::new().ndcg_drop(0.02))?.outcome, Outcome::Fail);
/// # Ok::<(), embosk::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Budget {
    limits: Vec<(String, f64)>,
    of_stacks: Vec<(String, String, f64)>,
    /// Where it is empty, the default.
    canary: Vec<(String, f64)>,
    tolerances: Vec<(String, f64)>,
    confidence: f64,
    baseline: Option<Baseline>,
}

impl Budget {
    /// No limits yet.
    pub fn new() -> Self {
        Self {
            limits: Vec::new(),
            of_stacks: Vec::new(),
            canary: Vec::new(),
            tolerances: TOLERANCES.map(|(metric, tolerance)| (metric.to_owned(), tolerance)).to_vec(),
            confidence: CONFIDENCE,
            baseline: None,
        }
    }

    /// At most this share of texts comes back whole, 0 to 1.
    pub fn exact_match(self, limit: f64) -> Self {
        self.limit("exact_match", limit)
    }

    /// At most this BLEU, 0 to 100.
    pub fn bleu(self, limit: f64) -> Self {
        self.limit("bleu", limit)
    }

    /// At most this F1 over word sets, 0 to 1.
    pub fn token_f1(self, limit: f64) -> Self {
        self.limit("token_f1", limit)
    }

    /// At most this ROUGE-L, 0 to 1.
    pub fn rouge_l(self, limit: f64) -> Self {
        self.limit("rouge_l", limit)
    }

    /// At most this share of labelled names, dates, amounts … comes back, 0 to 1.
    pub fn entity_recall(self, limit: f64) -> Self {
        self.limit("entity_recall", limit)
    }

    /// At most this leak, where 1 is as much as without a defense.
    pub fn leak(self, limit: f64) -> Self {
        self.limit("leak", limit)
    }

    /// nDCG@10 falls by at most this much below that of the undefended vectors.
    pub fn ndcg_drop(self, limit: f64) -> Self {
        self.limit("ndcg_drop", limit)
    }

    /// Recall@10 falls by at most this much below that of the undefended vectors.
    pub fn recall_drop(self, limit: f64) -> Self {
        self.limit("recall_drop", limit)
    }

    /// Limits any metric, for every stack. A later limit on the same metric replaces it.
    pub fn limit(mut self, metric: &str, limit: f64) -> Self {
        set(&mut self.limits, metric, limit);
        self
    }

    /// A limit for one stack, named as the report's rows name it, instead of the one for every stack.
    pub fn limit_of(mut self, stack: &str, metric: &str, limit: f64) -> Self {
        self.of_stacks.retain(|(name, other, _)| (name.as_str(), other.as_str()) != (stack, metric));
        self.of_stacks.push((stack.to_owned(), metric.to_owned(), limit));
        self
    }

    /// The canary: what the attack must reach on undefended vectors. Where it does not, the attack is
    /// damaged or does not fit, its failing under a defense says nothing, and nothing passes. Default: a
    /// BLEU of [`CANARY_BLEU`]. Given several times, all count; the first replaces the default.
    ///
    /// Only metrics that are computed text by text can be canaries: `leak` is 1 without a defense, whatever the
    /// attack.
    pub fn canary(mut self, metric: &str, at_least: f64) -> Self {
        set(&mut self.canary, metric, at_least);
        self
    }

    /// How sure a decision must be, above 0.5 and below 1. Default: [`CONFIDENCE`].
    pub fn confidence(self, confidence: f64) -> Self {
        Self { confidence, ..self }
    }

    /// A former report. Scores that are worse than it by more than the tolerance, for certain, fail.
    pub fn baseline(self, baseline: Baseline) -> Self {
        Self { baseline: Some(baseline), ..self }
    }

    /// By how much a score may be worse than the baseline's, in the metric's own unit. Default:
    /// [`TOLERANCES`]; metrics that are not there are compared once they have a tolerance.
    pub fn tolerance(mut self, metric: &str, tolerance: f64) -> Self {
        set(&mut self.tolerances, metric, tolerance);
        self
    }

    /// Checks the limits before there is a report. It knows the built-in metrics only; [`Report::check`] refuses
    /// names that are not in the report.
    ///
    /// # Errors
    /// Where nothing is limited, or a number is outside its metric's range.
    pub fn validate(&self) -> Result<(), Error> {
        self.validate_for(built_in())
    }

    /// Does the same for a report that has these metrics.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn validate_for(&self, metrics: &[Metric]) -> Result<(), Error> {
        if self.limits.is_empty() && self.of_stacks.is_empty() && self.baseline.is_none() {
            return Err(Error::Setting("the budget limits nothing: give it limits, or a baseline".into()));
        }
        if self.confidence.is_nan() || self.confidence <= 0.5 || self.confidence >= 1.0 {
            return Err(Error::Setting("a confidence lies above 0.5 and below 1; 0.95 is usual".into()));
        }
        if let Some((metric, _)) =
            self.tolerances.iter().find(|(_, tolerance)| !(0.0..=100.0).contains(tolerance))
        {
            return Err(Error::Setting(format!("the tolerance of `{metric}` must be 0 or more")));
        }
        self.check_limits(metrics)
    }

    /// Refuses limits outside the range of their metric, and metrics that cannot be canaries. Skips unknown names.
    fn check_limits(&self, metrics: &[Metric]) -> Result<(), Error> {
        let known = |name: &str| metrics::by_limit(metrics, name).ok();
        let of_stacks = self.of_stacks.iter().map(|(_, name, limit)| (name, limit));
        let limits = self.limits.iter().chain(&self.canary).map(|(name, limit)| (name, limit));
        for (name, limit) in limits.chain(of_stacks) {
            if let Some((least, most)) = known(name).map(Metric::limits)
                && !(least..=most).contains(limit)
            {
                return Err(Error::Setting(format!(
                    "`{name}` lies between {least} and {most}; {limit} cannot be its limit"
                )));
            }
        }
        match self.canary.iter().find(|(name, _)| known(name).is_some_and(|metric| !metric.is_of_texts())) {
            Some((name, _)) => Err(Error::Setting(format!(
                "`{name}` is no canary: it says nothing of the undefended attack; bleu or exact_match does"
            ))),
            None => Ok(()),
        }
    }

    /// The names that have a limit for any stack, as budget files write them.
    pub fn limited(&self) -> impl Iterator<Item = &str> {
        let of_stacks = self.of_stacks.iter().map(|(_, name, _)| name.as_str());
        self.limits.iter().map(|(name, _)| name.as_str()).chain(of_stacks)
    }

    fn canaries(&self) -> Vec<(String, f64)> {
        if self.canary.is_empty() { vec![(STRENGTH.to_owned(), CANARY_BLEU)] } else { self.canary.clone() }
    }

    /// The limits that a stack has: its own before those for every stack.
    fn limits_of(&self, stack: &str) -> Vec<(String, f64)> {
        let mut limits = self.limits.clone();
        for (_, metric, limit) in self.of_stacks.iter().filter(|(name, ..)| name == stack) {
            set(&mut limits, metric, *limit);
        }
        limits
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

fn set(list: &mut Vec<(String, f64)>, metric: &str, value: f64) {
    match list.iter_mut().find(|(other, _)| other == metric) {
        Some(entry) => entry.1 = value,
        None => list.push((metric.to_owned(), value)),
    }
}

impl Report {
    /// Whether the budget is kept.
    ///
    /// Each limit is held against the stack's worst adversary. Scores of attacks have bounds that reckon with
    /// what was not seen: Clopper and Pearson's for exact match, which are exact, and Learned-Miller and
    /// Thomas' (2019, arXiv 1905.06208) for means of bounded scores, conjectured to hold for any
    /// distribution and number of texts. What retrieval loses, and what
    /// became worse than the baseline, is decided by the paired bootstrap over queries or texts, 30 at least. Over the
    /// limits together the errors are held at the confidence by Holm's method (1979), once for what is
    /// kept and once for what is broken.
    ///
    /// Equal reports and budgets have equal verdicts.
    ///
    /// # Errors
    /// Where nothing is limited, a number is out of range, a limit is on what was not measured or on a
    /// stack that is not there, the report has no scores text by text, or the baseline was made with other settings.
    pub fn check(&self, budget: &Budget) -> Result<Verdict, Error> {
        check::check(self, budget)
    }
}
