//! Scores with their 95 % confidence intervals.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

/// Resamples behind every bootstrap interval. Its ends are the 26th smallest and the 26th largest mean.
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

/// The share of successes in `n` trials, with the interval of Clopper and Pearson (1934): exact, so it covers
/// the truth at least 95 times in 100, and not of zero width where all trials or none succeed.
///
/// Successes beyond `n` count as `n`. No trials tell nothing: 0, with the interval `0..=1`.
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

/// The mean of a sample, with the interval of the percentile bootstrap over [`RESAMPLES`] resamples (Efron
/// and Tibshirani, *An Introduction to the Bootstrap*, 1993); `None` for an empty sample.
///
/// One seed gives one interval, on any number of threads. `values` are finite. A sample of equal values has
/// an interval of zero width: take [`proportion`] where a score is a yes or a no.
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
    let mut means: Vec<f64> = (0..RESAMPLES as u64)
        .into_par_iter()
        .map(|resample| resampled_mean(values, seed, resample))
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    let tail = (RESAMPLES as f64 * ALPHA / 2.0) as usize;
    let value = values.iter().sum::<f64>() / values.len() as f64;
    Some(Score { value, low: means[tail], high: means[RESAMPLES - 1 - tail] })
}

/// The mean of `a − b` over pairs, with the interval of the paired bootstrap: pairs are drawn together, so
/// what is common to both sides does not widen it. An interval without 0 is a difference at the 5 % level.
///
/// `None` where there are no pairs, or the two sides differ in length.
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

/// Each resample draws from its own stream of the cipher, so that threads share nothing.
fn resampled_mean(values: &[f64], seed: u64, resample: u64) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(resample);
    let n = values.len();
    (0..n).map(|_| values[index_below(n, &mut rng)]).sum::<f64>() / n as f64
}

/// The high half of a product: uneven by no more than n / 2⁶⁴.
fn index_below(n: usize, rng: &mut ChaCha8Rng) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

/// Halves `[0, 1]` until no number lies between the ends.
fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return middle;
        }
        if incomplete_beta(a, b, middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
}

/// The regularised incomplete beta function `I_x(a, b)` for `0 < x < 1`: the continued fraction converges
/// fast below the mean, and `I_x(a, b) = 1 − I_{1−x}(b, a)` leads there (DLMF 8.17.4).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= (a + 1.0) / (a + b + 2.0) { beta_below(a, b, x) } else { 1.0 - beta_below(b, a, 1.0 - x) }
}

/// DLMF 8.17.22, <https://dlmf.nist.gov/8.17#v>.
fn beta_below(a: f64, b: f64, x: f64) -> f64 {
    let log_beta = ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
    let log_front = a * x.ln() + b * (-x).ln_1p() - log_beta;
    log_front.exp() / a / continued_fraction(|step| beta_coefficient(a, b, x, step))
}

/// The partial numerator `d_step` of DLMF 8.17.23, from step 1.
fn beta_coefficient(a: f64, b: f64, x: f64, step: u32) -> f64 {
    let m = f64::from(step / 2);
    if step.is_multiple_of(2) {
        m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
    } else {
        -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
    }
}

/// `1 + d₁/(1 + d₂/(1 + …))` by the modified Lentz algorithm (Thompson and Barnett, 1986). The number of
/// steps grows with the square root of the parameters; the limit is for a billion trials.
fn continued_fraction(coefficient: impl Fn(u32) -> f64) -> f64 {
    const STEPS: u32 = 200_000;
    let away_from_zero = |x: f64| if x.abs() < 1e-300 { 1e-300 } else { x };
    let (mut value, mut numerator, mut denominator) = (1.0, 1.0, 0.0);
    for step in 1..=STEPS {
        let d = coefficient(step);
        denominator = 1.0 / away_from_zero(1.0 + d * denominator);
        numerator = away_from_zero(1.0 + d / numerator);
        let change = numerator * denominator;
        value *= change;
        if (change - 1.0).abs() <= f64::EPSILON {
            break;
        }
    }
    value
}

/// `ln Γ(x)` for `x > 0`: Stirling's series (DLMF 5.11.1), after the recurrence has led to where it is exact.
fn ln_gamma(x: f64) -> f64 {
    const SERIES: [f64; 6] =
        [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360_360.0];
    let (mut x, mut product) = (x, 1.0);
    while x < 16.0 {
        product *= x;
        x += 1.0;
    }
    let correction = SERIES.iter().rev().fold(0.0, |sum, term| sum / (x * x) + term) / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + correction - f64::ln(product)
}
