//! One-sided bounds, and the p-values that belong to them.
//!
//! A *bound* at confidence 0.95 is on the wrong side of the truth at most 5 times in 100. The lower and the upper
//! bound are each one-sided: together they hold only with confidence 0.90. A p-value below `1 − confidence` says the
//! same as a bound on the right side of the limit.

use super::beta::{beta_quantile, incomplete_beta};
use super::bootstrap::resampled_means;

/// How many resamples a bound or a p-value of a mean takes: more than in a report, because it depends on their tails.
const RESAMPLES: usize = 10_000;

/// How well the data fit the opposite of two claims about a limit: a small value supports the claim.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PValues {
    /// The p-value of the claim that the truth lies below the limit.
    pub below: f64,
    /// The p-value of the claim that the truth lies above the limit.
    pub above: f64,
}

/// Returns the one-sided bounds, lower and upper, of a share of successes in `n` trials by Clopper and Pearson
/// (1934), which are exact for every `n`.
///
/// `confidence` is in `0..1`; at 1 or more the bounds are 0 and 1. Successes beyond `n` count as `n`.
///
/// ```
/// # use embosk::evaluate::statistics::proportion_bounds;
/// let (lower, upper) = proportion_bounds(0, 300, 0.95);
/// assert_eq!(lower, 0.0);
/// assert!((upper - 3.0 / 300.0).abs() < 1e-4); // the rule of three
/// ```
pub fn proportion_bounds(successes: usize, n: usize, confidence: f64) -> (f64, f64) {
    let successes = successes.min(n);
    let failures = n - successes;
    let Some(tail) = tail(confidence) else { return (0.0, 1.0) };
    let lower = match successes {
        0 => 0.0,
        _ => beta_quantile(tail, successes as f64, (failures + 1) as f64),
    };
    let upper = match failures {
        0 => 1.0,
        _ => beta_quantile(1.0 - tail, (successes + 1) as f64, failures as f64),
    };
    (lower, upper)
}

/// Returns the exact binomial test of `successes` in `n` trials against a share of `limit`. If the truth is the
/// limit, `below` is the probability of this many successes or fewer, and `above` that of this many or more.
///
/// Successes beyond `n` count as `n`.
///
/// ```
/// # use embosk::evaluate::statistics::proportion_p_values;
/// let p = proportion_p_values(0, 10, 0.5);
/// assert!((p.below - 0.5_f64.powi(10)).abs() < 1e-15);
/// assert_eq!(p.above, 1.0);
/// ```
pub fn proportion_p_values(successes: usize, n: usize, limit: f64) -> PValues {
    let (s, n) = (successes.min(n) as f64, n as f64);
    let reached = |limit: f64, a: f64, b: f64| match limit {
        _ if a <= 0.0 => 1.0,
        limit if limit > 0.0 && limit < 1.0 => incomplete_beta(a, b, limit),
        limit if limit >= 1.0 => 1.0,
        limit if limit <= 0.0 => 0.0,
        _ => 1.0, // a limit that is not a number: nothing is claimed
    };
    PValues { below: reached(1.0 - limit, n - s, s + 1.0), above: reached(limit, s, n - s + 1.0) }
}

/// Returns the one-sided bounds, lower and upper, of a mean by the bias-corrected and accelerated bootstrap (`BCa`:
/// Efron, Journal of the American Statistical Association 82, 1987), over 10,000 resamples; `None` for an empty
/// sample.
///
/// The bounds are in the unit of `values`, which must be finite. `confidence` is in `0..1`; at 1 or more, they are
/// infinite. It is an approximation that needs about thirty values or more, and knows nothing beyond them: if all are
/// equal, both bounds are that value. For a score of known range, [`bounded_mean_bounds`] holds for any sample.
///
/// ```
/// # use embosk::evaluate::statistics::mean_bounds;
/// let (lower, upper) = mean_bounds(&[1.0, 2.0, 3.0, 6.0], 0.95, 7).unwrap();
/// assert!(1.0 <= lower && lower < 3.0 && 3.0 < upper && upper <= 6.0);
/// assert_eq!(mean_bounds(&[], 0.95, 7), None);
/// ```
pub fn mean_bounds(values: &[f64], confidence: f64, seed: u64) -> Option<(f64, f64)> {
    let sample = Bca::new(values, seed)?;
    Some(match tail(confidence) {
        Some(tail) => (sample.quantile(tail), sample.quantile(1.0 - tail)),
        None => (f64::NEG_INFINITY, f64::INFINITY),
    })
}

/// Returns the p-values of a mean against `limit`, by the bootstrap of [`mean_bounds`] with the same seed. They are
/// never less than one in 10,001, because rarer events are not seen. `None` for an empty sample.
///
/// ```
/// # use embosk::evaluate::statistics::mean_p_values;
/// let p = mean_p_values(&[1.0, 2.0, 3.0, 6.0], 5.5, 7).unwrap();
/// assert!(p.below < 0.05 && p.above > 0.95);
/// ```
pub fn mean_p_values(values: &[f64], limit: f64, seed: u64) -> Option<PValues> {
    let sample = Bca::new(values, seed)?;
    let counted = |share: f64| share.max(1.0 / (RESAMPLES as f64 + 1.0));
    let level = sample.level(limit);
    // where the limit is the only value that was seen, nothing is claimed of either side
    let (below, above) = level.map_or((1.0, 1.0), |level| (1.0 - level, level));
    Some(PValues { below: counted(below), above: counted(above) })
}

/// Returns the bounds of [`mean_bounds`] for the mean of `a − b` over pairs, which are drawn together. `None` if
/// there are no pairs, or the two sides differ in length.
///
/// ```
/// # use embosk::evaluate::statistics::paired_difference_bounds;
/// let (lower, _) = paired_difference_bounds(&[0.9, 0.6, 0.7], &[0.8, 0.4, 0.6], 0.95, 7).unwrap();
/// assert!(lower >= 0.1 - 1e-12);
/// ```
pub fn paired_difference_bounds(a: &[f64], b: &[f64], confidence: f64, seed: u64) -> Option<(f64, f64)> {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    if a.len() == b.len() { mean_bounds(&differences, confidence, seed) } else { None }
}

/// Returns the one-sided bounds, lower and upper, of the mean of scores that cannot leave `range`, whatever their
/// distribution and however few they are (Hoeffding, Journal of the American Statistical Association 58, 1963,
/// theorem 1); `None` for an empty sample.
///
/// Nothing is drawn at random. It is wider than [`mean_bounds`], because it assumes the worst distribution with that
/// mean: only the two ends of the range. Scores beyond the range count as its end.
///
/// ```
/// # use embosk::evaluate::statistics::bounded_mean_bounds;
/// let (lower, upper) = bounded_mean_bounds(&[0.0; 300], 0.0..=1.0, 0.95).unwrap();
/// assert_eq!(lower, 0.0);
/// assert!((upper - 3.0 / 300.0).abs() < 1e-4);
/// ```
pub fn bounded_mean_bounds(
    values: &[f64],
    range: std::ops::RangeInclusive<f64>,
    confidence: f64,
) -> Option<(f64, f64)> {
    let (from, width) = (*range.start(), range.end() - range.start());
    if values.is_empty() || width.is_nan() || width <= 0.0 {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().map(|value| ((value - from) / width).clamp(0.0, 1.0)).sum::<f64>() / n;
    let Some(tail) = tail(confidence) else { return Some((*range.start(), *range.end())) };
    let unlikely = |truth: f64| n * divergence(mean, truth) > -tail.ln();
    let upper = halved(mean, 1.0, |truth| !unlikely(truth));
    let lower = 1.0 - halved(1.0 - mean, 1.0, |truth| !unlikely(1.0 - truth));
    Some((from + width * lower, from + width * upper))
}

/// How often a bound may be wrong; `None` if never. A confidence of NaN is the strictest.
fn tail(confidence: f64) -> Option<f64> {
    (confidence < 1.0).then(|| 1.0 - confidence.max(0.0))
}

/// The relative entropy of two coins, in nats.
fn divergence(p: f64, q: f64) -> f64 {
    let part = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
    part(p, q) + part(1.0 - p, 1.0 - q)
}

/// The end of the stretch from `from` on in which `holds` is true, or `to`.
fn halved(from: f64, to: f64, holds: impl Fn(f64) -> bool) -> f64 {
    let (mut inside, mut outside) = (from, to);
    loop {
        let middle = f64::midpoint(inside, outside);
        if middle <= inside || middle >= outside {
            return outside;
        }
        if holds(middle) {
            inside = middle;
        } else {
            outside = middle;
        }
    }
}

/// A sample's resampled means, with the corrections of the percentiles.
struct Bca {
    means: Vec<f64>,
    /// How far the mean lies from the resamples' median, in standard deviations.
    bias: f64,
    /// How fast the standard deviation changes with the mean: a sixth of the skewness of the mean.
    acceleration: f64,
}

impl Bca {
    fn new(values: &[f64], seed: u64) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let means = resampled_means(values, RESAMPLES, seed);
        let bias = normal_quantile(inner(share_below(&means, mean)));
        let moment = |power: i32| values.iter().map(|value| (value - mean).powi(power)).sum::<f64>();
        let spread = moment(2).powf(1.5);
        let acceleration = if spread > 0.0 { moment(3) / spread / 6.0 } else { 0.0 };
        Some(Self { means, bias, acceleration })
    }

    /// The bound that would have this confidence as an upper bound.
    fn quantile(&self, confidence: f64) -> f64 {
        let shifted = self.bias + normal_quantile(confidence);
        let stretch = 1.0 - self.acceleration * shifted;
        let share = match stretch > 0.0 {
            true => normal(self.bias + shifted / stretch),
            false if shifted > 0.0 => 1.0,
            false => 0.0,
        };
        let last = self.means.len() - 1;
        // the same number of means is left out at either end
        let place = if share < 0.5 {
            (RESAMPLES as f64 * share) as usize
        } else {
            last - ((RESAMPLES as f64 * (1.0 - share)) as usize).min(last)
        };
        self.means[place.min(last)]
    }

    /// The confidence with which a limit is an upper bound: the inverse of [`Self::quantile`]. `None` if it is the
    /// one value that all resamples have.
    fn level(&self, limit: f64) -> Option<f64> {
        let one_value = self.means.first() == self.means.last();
        if limit.is_nan() || (one_value && self.means.first() == Some(&limit)) {
            return None;
        }
        let from_bias = normal_quantile(inner(share_below(&self.means, limit))) - self.bias;
        let stretch = 1.0 + self.acceleration * from_bias;
        Some(match stretch > 0.0 {
            true => normal(from_bias / stretch - self.bias),
            false if from_bias > 0.0 => 1.0,
            false => 0.0,
        })
    }
}

/// The share of ascending numbers that lie below a value; those equal to it count half.
fn share_below(sorted: &[f64], value: f64) -> f64 {
    let below = sorted.partition_point(|&x| x < value);
    let up_to = sorted.partition_point(|&x| x <= value);
    (below + up_to) as f64 / (2 * sorted.len()) as f64
}

/// Moves a share to one that this many resamples can tell from 0 and 1.
fn inner(share: f64) -> f64 {
    let least = 0.5 / (RESAMPLES as f64 + 1.0);
    share.clamp(least, 1.0 - least)
}

fn normal(x: f64) -> f64 {
    libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2) / 2.0
}

/// The `p`-quantile of the standard normal distribution. Nothing here needs more than 38 standard deviations, where
/// the normal distribution ends in `f64`.
pub(in crate::evaluate) fn normal_quantile(p: f64) -> f64 {
    halved(-38.0, 38.0, |x| normal(x) < p)
}
