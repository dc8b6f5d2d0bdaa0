//! Row-wise operations on plain values, in loops that use wide registers.

use pulp::Arch;

/// Running sums that fill the widest registers.
const LANES: usize = 16;

/// Runs `work`, compiled for the widest registers that the processor has.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
pub fn widest<T>(work: impl FnOnce() -> T) -> T {
    Arch::new().dispatch(work)
}

/// Sums `of` over pairs of values; the shorter slice counts.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
pub fn sum_of_pairs(a: &[f32], b: &[f32], of: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let (whole_a, whole_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = whole_a.remainder().iter().zip(whole_b.remainder()).map(|(a, b)| of(*a, *b)).sum();
    for (a, b) in whole_a.zip(whole_b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += of(*a, *b);
        }
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
    }
    sums[0] + rest
}

/// Sums `of` over values.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
pub fn sum_of(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    sum_of_pairs(values, values, |value, _| of(value))
}

/// Returns the largest value; negative infinity if there is none.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
pub fn largest(values: &[f32]) -> f32 {
    let mut largest = [f32::NEG_INFINITY; LANES];
    let whole = values.chunks_exact(LANES);
    let rest = whole.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for values in whole {
        for (largest, value) in largest.iter_mut().zip(values) {
            *largest = if *value > *largest { *value } else { *largest };
        }
    }
    largest.into_iter().fold(rest, f32::max)
}

/// Returns `e^x`, with an error in the last bits, for `x` from -87 to 88; smaller values count as -87.
///
/// The powers of two are split off, and the rest is a polynomial with the coefficients of the Cephes library's `expf`
/// (Moshier 1992).
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
#[allow(clippy::excessive_precision, reason = "as published")]
pub fn exp(x: f32) -> f32 {
    // adding it rounds to a whole number, which then stands in the lowest bits
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * 0.693_359_375 + whole * 2.121_944_4e-4;
    let mut sum = 1.987_569_15e-4;
    for coefficient in [1.398_199_95e-3, 8.333_451_9e-3, 4.166_579_6e-2, 1.666_666_55e-1, 5.000_000_1e-1] {
        sum = sum * rest + coefficient;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    (sum * rest * rest + rest + 1.0) * power
}

/// Applies the Gaussian error linear unit, approximated by tanh as in T5 1.1 (Hendrycks & Gimpel, arXiv 1606.08415).
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
pub fn gelu(x: f32) -> f32 {
    // 0.5 · (1 + tanh u) = 1 / (1 + e^(−2u))
    let u = 0.797_884_6 * (x + 0.044_715 * x * x * x);
    x / (1.0 + exp(-2.0 * u))
}

/// Returns [`gelu`] and its slope at `x`.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
pub fn gelu_and_slope(x: f32) -> (f32, f32) {
    const SCALE: f32 = 0.797_884_6;
    const CUBIC: f32 = 0.044_715;
    let u = SCALE * (x + CUBIC * x * x * x);
    let share = 1.0 / (1.0 + exp(-2.0 * u));
    let slope_of_u = SCALE * (1.0 + 3.0 * CUBIC * x * x);
    (x * share, share + 2.0 * x * share * (1.0 - share) * slope_of_u)
}

/// Returns the Gaussian error linear unit `x · Φ(x)` and its slope at `x`, with an error of less than 3 · 10⁻⁷ times
/// the larger of 1 and |x|.
///
/// The error function is Abramowitz and Stegun's 7.1.26 (1964), whose exponential the slope needs too.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
#[allow(clippy::excessive_precision, reason = "as published")]
pub fn gelu_erf_and_slope(x: f32) -> (f32, f32) {
    const DENSITY_AT_0: f32 = 0.398_942_28;
    let distance = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let bell = exp(-distance * distance);
    let t = 1.0 / (1.0 + 0.327_591_1 * distance);
    let mut sum = 1.061_405_429;
    for coefficient in [-1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592] {
        sum = sum * t + coefficient;
    }
    let tail = 0.5 * sum * t * bell;
    let share = if x < 0.0 { tail } else { 1.0 - tail };
    (x * share, share + x * DENSITY_AT_0 * bell)
}

/// Returns the sigmoid linear unit `x / (1 + e⁻ˣ)` and its slope at `x` (Elfwing et al., arXiv 1702.03118).
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
pub fn silu_and_slope(x: f32) -> (f32, f32) {
    let share = 1.0 / (1.0 + exp(-x));
    (x * share, share + x * share * (1.0 - share))
}

/// Replaces a row by its softmax.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
pub fn softmax(row: &mut [f32]) {
    let largest = largest(row);
    for value in row.iter_mut() {
        *value = exp(*value - largest);
    }
    let scale = sum_of(row, |value| value).recip();
    for value in row {
        *value *= scale;
    }
}

/// Returns the largest value of a row, and the logarithm of the sum of `e^(value - largest)`.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
pub fn log_sum_exp(row: &[f32]) -> (f32, f32) {
    let largest = largest(row);
    (largest, sum_of(row, |value| exp(value - largest)).ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_right_to_the_last_bits() {
        for step in -870..880 {
            let x = step as f32 * 0.1;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / expected - 1.0).abs() < 4e-7, "{x}: {found} {expected}");
        }
        assert!(exp(-1e9) < 2e-38 && exp(f32::NAN).is_nan());
        assert!((exp(0.0) - 1.0).abs() < f32::EPSILON);
    }

    /// Compares with finite differences of the function itself, with Φ from the sum of its series.
    #[test]
    fn activations_have_their_slopes() {
        let share = |x: f64| {
            let (mut term, mut sum) = (x, x);
            for place in 1..120 {
                term *= -x * x / 2.0 / f64::from(place);
                sum += term / f64::from(2 * place + 1);
            }
            0.5 + sum / (2.0 * std::f64::consts::PI).sqrt()
        };
        for step in -500..=500 {
            let x = f64::from(step) * 0.01;
            let exact = |x: f64| x * share(x);
            let tanh = |x: f64| x * 0.5 * (1.0 + (0.797_884_560_8 * (x + 0.044_715 * x * x * x)).tanh());
            let slope = |of: &dyn Fn(f64) -> f64| (of(x + 1e-5) - of(x - 1e-5)) / 2e-5;
            let near = |found: f32, expected: f64| (f64::from(found) - expected).abs() < 2e-6;
            let (out, slope_of_out) = gelu_erf_and_slope(x as f32);
            assert!(near(out, exact(x)) && near(slope_of_out, slope(&exact)), "{x}");
            let (out, slope_of_out) = gelu_and_slope(x as f32);
            assert!(near(out, tanh(x)) && near(slope_of_out, slope(&tanh)), "{x}, by tanh");
            assert!((out - gelu(x as f32)).abs() < 1e-6);
            let silu = |x: f64| x / (1.0 + (-x).exp());
            let (out, slope_of_out) = silu_and_slope(x as f32);
            assert!(near(out, silu(x)) && near(slope_of_out, slope(&silu)), "{x}, silu");
        }
        for (x, expected) in [(40.0, (40.0, 1.0)), (-40.0, (0.0, 0.0))] {
            for (found, slope) in [gelu_erf_and_slope(x), gelu_and_slope(x)] {
                assert!((found - expected.0).abs() < 1e-6 && (slope - expected.1).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn rows_of_any_length_are_summed_and_compared() {
        for length in [0, 1, 15, 16, 17, 40] {
            let row: Vec<f32> = (0..length).map(|place| ((place * 7) % 11) as f32 - 5.0).collect();
            let plain: f32 = row.iter().map(|value| value * value).sum();
            assert!((widest(|| sum_of(&row, |value| value * value)) - plain).abs() < 1e-4);
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(largest(&row).to_bits(), most.to_bits());
            let mut soft = row.clone();
            softmax(&mut soft);
            let (largest, sum) = log_sum_exp(&row);
            for (soft, value) in soft.iter().zip(&row) {
                assert!((soft.ln() - (value - largest - sum)).abs() < 1e-5);
            }
        }
    }
}
