//! Scores with their 95 % confidence intervals, and what can be said against a limit.
//!
//! A report shows two-sided intervals: [`proportion`], [`mean`], [`paired_difference`]. A decision takes
//! a one-sided bound ([`proportion_bounds`], [`mean_bounds`], [`bounded_mean_bounds`]) or, for several
//! limits at once, the p-values behind the bounds ([`proportion_p_values`], [`mean_p_values`]), corrected
//! by [`holm`]. What is drawn is drawn from a seed, and does not depend on the number of threads.

mod auc;
mod beta;
mod bootstrap;
mod bounds;
mod holm;
mod spearman;

pub use auc::{area_under_curve, true_positive_rate};
pub(super) use bounds::normal_quantile;
pub use bounds::{
    PValues, bounded_mean_bounds, mean_bounds, mean_p_values, paired_difference_bounds, proportion_bounds,
    proportion_p_values,
};
pub use holm::holm;
pub use spearman::{SIMILARITY_PAIRS, similarity_correlation, spearman};

use beta::beta_quantile;
use bootstrap::{resampled_means, resampled_scores};

/// How many resamples a bootstrap interval takes. Its ends are the 26th smallest and the 26th largest mean.
pub const RESAMPLES: usize = 1_000;

/// Both tails of every interval together.
const ALPHA: f64 = 0.05;

/// A score and the ends of its 95 % confidence interval, all in the score's own unit.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Score {
    /// The score of the sample.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

/// Returns the share of successes in `n` trials, with the interval of Clopper and Pearson (1934). It is exact, so it
/// covers the truth at least 95 times in 100, and its width is not zero if all trials or none succeed.
///
/// Successes beyond `n` count as `n`. Without trials it is 0, with the interval `0..=1`.
///
/// ```
/// # use embosk::evaluate::statistics::proportion;
/// let none_of_ten = proportion(0, 10);
/// assert_eq!((none_of_ten.value, none_of_ten.low), (0.0, 0.0));
/// assert!((none_of_ten.high - 0.308_497_1).abs() < 1e-7);
/// ```
pub fn proportion(successes: usize, n: usize) -> Score {
    let successes = successes.min(n);
    let failures = n - successes;
    let value = if n == 0 { 0.0 } else { successes as f64 / n as f64 };
    let quantile = |p, a: usize, b: usize| beta_quantile(p, a as f64, b as f64);
    let low = if successes == 0 { 0.0 } else { quantile(ALPHA / 2.0, successes, failures + 1) };
    let high = if failures == 0 { 1.0 } else { quantile(1.0 - ALPHA / 2.0, successes + 1, failures) };
    Score { value, low, high }
}

/// Returns the mean of a sample, with the interval of the percentile bootstrap over [`RESAMPLES`] resamples (Efron
/// and Tibshirani, *An Introduction to the Bootstrap*, 1993); `None` for an empty sample.
///
/// One seed gives one interval, on any number of threads. `values` must be finite. A sample of equal values has an
/// interval of zero width: use [`proportion`] if a score is a yes or a no.
///
/// ```
/// # use embosk::evaluate::statistics::mean;
/// let score = mean(&[1.0, 2.0, 3.0, 6.0], 7).unwrap();
/// assert_eq!(score.value, 3.0);
/// assert!(1.0 <= score.low && score.low < 3.0 && 3.0 < score.high && score.high <= 6.0);
/// assert_eq!(mean(&[], 7), None);
/// ```
pub fn mean(values: &[f64], seed: u64) -> Option<Score> {
    if values.is_empty() {
        return None;
    }
    let means = resampled_means(values, RESAMPLES, seed);
    let tail = (RESAMPLES as f64 * ALPHA / 2.0) as usize;
    let value = values.iter().sum::<f64>() / values.len() as f64;
    Some(Score { value, low: means[tail], high: means[RESAMPLES - 1 - tail] })
}

/// Returns any score of a sample of `n` items, such as corpus BLEU, which is not a mean, with the interval of the
/// percentile bootstrap over [`RESAMPLES`] resamples. `score` is given the positions of a resample's items; for the
/// value itself, all positions. `None` for an empty sample.
///
/// ```
/// # use embosk::evaluate::statistics::resampled;
/// let values = [1.0, 2.0, 4.0, 9.0_f64];
/// let largest = resampled(4, 7, |items| items.iter().map(|&item| values[item]).fold(0.0, f64::max)).unwrap();
/// assert_eq!((largest.value, largest.high), (9.0, 9.0));
/// assert!(largest.low < 9.0);
/// ```
pub fn resampled(n: usize, seed: u64, score: impl Fn(&[usize]) -> f64 + Sync) -> Option<Score> {
    if n == 0 {
        return None;
    }
    let all: Vec<usize> = (0..n).collect();
    let scores = resampled_scores(n, RESAMPLES, seed, &score);
    let tail = (RESAMPLES as f64 * ALPHA / 2.0) as usize;
    Some(Score { value: score(&all), low: scores[tail], high: scores[RESAMPLES - 1 - tail] })
}

/// Returns the mean of `a − b` over pairs, with the interval of the paired bootstrap: pairs are drawn together, so
/// what is common to both sides does not widen it. An interval that does not contain 0 is a difference at the 5 %
/// level.
///
/// `None` if there are no pairs, or the two sides differ in length.
///
/// ```
/// # use embosk::evaluate::statistics::paired_difference;
/// let gain = paired_difference(&[0.9, 0.5, 0.7], &[0.8, 0.4, 0.6], 7).unwrap();
/// assert!((gain.low - 0.1).abs() < 1e-12 && (gain.high - 0.1).abs() < 1e-12);
/// assert_eq!(paired_difference(&[0.9], &[], 7), None);
/// ```
pub fn paired_difference(a: &[f64], b: &[f64], seed: u64) -> Option<Score> {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    if a.len() == b.len() { mean(&differences, seed) } else { None }
}
