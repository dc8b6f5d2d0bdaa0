//! Limits on what may leak and what retrieval may lose, and whether a report keeps them.

mod advice;
mod canary;
mod check;
mod claims;
mod decide;
mod evidence;
mod regressions;
mod verdict;

use super::baseline::Baseline;
use super::metrics::{self, Metric, built_in};
use super::report::Report;
use crate::Error;

pub use verdict::{Finding, FindingKind, Outcome, Verdict};

/// The default confidence of a decision.
pub const CONFIDENCE: f64 = 0.95;

/// By how much a score may be worse than the baseline's, by default.
pub const TOLERANCES: [(&str, f64); 3] = [("bleu", 1.0), ("leak", 0.01), ("ndcg_drop", 0.01)];

/// Limits on what may leak and on what retrieval may lose.
///
/// A limit names a metric, as in `exact_match`, or the loss of a metric of retrieval, as in `ndcg_drop`:
/// [`Metric::limited_as`]. Limits hold for every stack and its worst adversary. They are decided on one-sided
/// bounds, not on what the sample happens to show: a limit is kept if the upper bound lies below it, broken if the
/// lower bound lies above it, and otherwise the sample is too small to say. See [`Report::check`].
///
/// A limit on an attack is kept only if two things hold. If one does not, the verdict is inconclusive, and
/// [`Verdict::reason`] says why:
///
/// - *The attack works undefended.* By default, the limited leak must be one that can be read
///   ([`AttackStrength`](super::AttackStrength)); how strong the attack must be depends on its outputs and on the
///   corpus. A limit on the metric of a leak, such as `bleu`, requires that leak. A limit on any other metric, such
///   as `exact_match`, requires a leak of the attack's outputs. [`Budget::canary`] states a strength instead.
/// - *An adversary attacks the key.* If a stack has a key that turns the space, one of its adversaries must try to
///   undo it: `leaked`, `unpaired`, `averaging` if it sees the key, or `retrained` after one of the first two. It must
///   have at least as many leaked pairs as the stored vectors have dimensions, or restore vectors that come nine tenths
///   of the way from chance to the clean ones. [`Budget::accept_unmeasured_key`] waives this.
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
    /// The stated canaries; if empty, the default.
    canary: Vec<(String, f64)>,
    tolerances: Vec<(String, f64)>,
    confidence: f64,
    accept_unmeasured_key: bool,
    baseline: Option<Baseline>,
}

impl Budget {
    /// Creates a budget without limits.
    pub fn new() -> Self {
        Self {
            limits: Vec::new(),
            of_stacks: Vec::new(),
            canary: Vec::new(),
            tolerances: TOLERANCES.map(|(metric, tolerance)| (metric.to_owned(), tolerance)).to_vec(),
            confidence: CONFIDENCE,
            accept_unmeasured_key: false,
            baseline: None,
        }
    }

    /// Limits the share of texts that are recovered whole, 0 to 1.
    pub fn exact_match(self, limit: f64) -> Self {
        self.limit("exact_match", limit)
    }

    /// Limits BLEU, 0 to 100.
    pub fn bleu(self, limit: f64) -> Self {
        self.limit("bleu", limit)
    }

    /// Limits F1 over word sets, 0 to 1.
    pub fn token_f1(self, limit: f64) -> Self {
        self.limit("token_f1", limit)
    }

    /// Limits ROUGE-L, 0 to 1.
    pub fn rouge_l(self, limit: f64) -> Self {
        self.limit("rouge_l", limit)
    }

    /// Limits the share of labelled names, dates, amounts … that are recovered, 0 to 1.
    pub fn entity_recall(self, limit: f64) -> Self {
        self.limit("entity_recall", limit)
    }

    /// Limits the leak, where 1 is as much as without a defense.
    pub fn leak(self, limit: f64) -> Self {
        self.limit("leak", limit)
    }

    /// Limits the leak of content words, where 1 is as much as without a defense.
    pub fn word_leak(self, limit: f64) -> Self {
        self.limit("word_leak", limit)
    }

    /// Limits the share of a text's content words that are recovered, 0 to 1.
    pub fn word_recall(self, limit: f64) -> Self {
        self.limit("word_recall", limit)
    }

    /// Limits the share of facts that are guessed, 0 to 1.
    pub fn guess(self, limit: f64) -> Self {
        self.limit("guess", limit)
    }

    /// Limits the leak of guessed facts, where 1 is as much as without a defense.
    pub fn guess_leak(self, limit: f64) -> Self {
        self.limit("guess_leak", limit)
    }

    /// Limits how far nDCG@10 falls below that of the undefended vectors.
    pub fn ndcg_drop(self, limit: f64) -> Self {
        self.limit("ndcg_drop", limit)
    }

    /// Limits how far Recall@10 falls below that of the undefended vectors.
    pub fn recall_drop(self, limit: f64) -> Self {
        self.limit("recall_drop", limit)
    }

    /// Limits any metric, for every stack. A later limit on the same metric replaces it.
    pub fn limit(mut self, metric: &str, limit: f64) -> Self {
        set(&mut self.limits, metric, limit);
        self
    }

    /// Sets a limit for one stack, named as in the report's rows, instead of the one for every stack.
    pub fn limit_of(mut self, stack: &str, metric: &str, limit: f64) -> Self {
        self.of_stacks.retain(|(name, other, _)| (name.as_str(), other.as_str()) != (stack, metric));
        self.of_stacks.push((stack.to_owned(), metric.to_owned(), limit));
        self
    }

    /// Adds a canary: a score that the attack must reach on undefended vectors. If it does not, the attack is damaged
    /// or does not fit, its failure under a defense says nothing, and nothing passes. Default: each limited leak must
    /// be one that can be read. The first canary replaces the default, and all that are added count.
    ///
    /// Only metrics that are computed text by text can be canaries: `leak` is 1 without a defense, whatever the
    /// attack.
    pub fn canary(mut self, metric: &str, at_least: f64) -> Self {
        set(&mut self.canary, metric, at_least);
        self
    }

    /// Sets how sure a decision must be, above 0.5 and below 1. Default: [`CONFIDENCE`].
    pub fn confidence(self, confidence: f64) -> Self {
        Self { confidence, ..self }
    }

    /// Sets whether to accept that no adversary attacks the key of a stack whose key turns the space, or none with
    /// enough means. A low score then says nothing about attackers who have more pairs of text and vector, or texts of
    /// the same kind. Default: no; the verdict on such a stack is inconclusive.
    pub fn accept_unmeasured_key(self, accept: bool) -> Self {
        Self { accept_unmeasured_key: accept, ..self }
    }

    /// Sets an earlier report to compare with. Scores that are proved to be worse by more than the tolerance fail.
    pub fn baseline(self, baseline: Baseline) -> Self {
        Self { baseline: Some(baseline), ..self }
    }

    /// Sets by how much a score may be worse than the baseline's, in the metric's own unit. Default: [`TOLERANCES`];
    /// other metrics are only compared if they get a tolerance.
    pub fn tolerance(mut self, metric: &str, tolerance: f64) -> Self {
        set(&mut self.tolerances, metric, tolerance);
        self
    }

    /// Checks the limits before there is a report. It knows the built-in metrics only; [`Report::check`] refuses
    /// names that are not in the report.
    ///
    /// # Errors
    /// If nothing is limited, or a number is outside its metric's range.
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
        let limits = self.limits.iter().map(|(name, limit)| (name, limit));
        for (name, limit) in limits.chain(of_stacks) {
            known(name).map_or(Ok(()), |metric| metric.check_limit(name, *limit, "limit"))?;
        }
        match self.canary.iter().find(|(name, _)| known(name).is_some_and(|metric| !metric.is_of_texts())) {
            Some((name, _)) => Err(Error::Setting(format!(
                "`{name}` is no canary: it says nothing of the undefended attack; bleu or exact_match does"
            ))),
            None => self.canary.iter().try_for_each(|(name, least)| {
                known(name).map_or(Ok(()), |metric| metric.check_limit(name, *least, "canary"))
            }),
        }
    }

    /// Returns the names that have a limit for any stack, as budget files write them.
    pub fn limited(&self) -> impl Iterator<Item = &str> {
        let of_stacks = self.of_stacks.iter().map(|(_, name, _)| name.as_str());
        self.limits.iter().map(|(name, _)| name.as_str()).chain(of_stacks)
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
    /// Each limit is checked on the stack's worst adversary. Bounds allow for what was not seen. Shares such as exact
    /// match have those of Clopper and Pearson, which are exact. Means of bounded scores, and what retrieval loses
    /// query by query, have those of Learned-Miller and Thomas (2019, arXiv 1905.06208), which are conjectured to
    /// hold for any distribution and number of texts. So 30 queries that lose nothing prove a drop below 0.1, and 300
    /// queries one below 0.01. Regressions from the baseline are decided by the paired bootstrap over at least 30
    /// queries or texts. By Holm's method (1979), the confidence is that of all limits together: once that none is
    /// wrongly found to be kept, and once that none is wrongly found to be broken.
    ///
    /// Equal reports and budgets have equal verdicts.
    ///
    /// # Errors
    /// If nothing is limited, a number is out of range, a limit is on something that was not measured or on an
    /// unknown stack, the report has no scores text by text, or the baseline was made with other settings.
    pub fn check(&self, budget: &Budget) -> Result<Verdict, Error> {
        check::check(self, budget)
    }
}
