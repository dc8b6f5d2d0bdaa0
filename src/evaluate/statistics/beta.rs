//! The beta distribution, and the gamma function that it needs.

/// The `p`-quantile of the beta distribution: halves `[0, 1]` until no number lies between the ends.
pub(super) fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
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

/// The regularized incomplete beta function `I_x(a, b)` for `0 < x < 1`. The continued fraction converges fast below
/// the mean; above it, `I_x(a, b) = 1 − I_{1−x}(b, a)` is used (DLMF 8.17.4).
pub(super) fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
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

/// `ln Γ(x)` for `x > 0`: Stirling's series (DLMF 5.11.1), after the recurrence has raised `x` to where the series is
/// exact.
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
