//! The (ε, δ) of the Gaussian mechanism: exact, not by a tail bound (Balle & Wang, ICML 2018, arXiv
//! 1805.06530).
//!
//! Two neighbours are at most `SENSITIVITY` apart, so the mechanism tells them apart as well as two
//! normal distributions whose means are `μ = SENSITIVITY / σ` standard deviations apart. With
//! `a = μ/2 − ε/μ` and `b = μ/2 + ε/μ`, theorem 8 says
//!
//! ```text
//! δ = Φ(a) − e^ε Φ(−b)
//! ```
//!
//! If noise leaves retrieval intact, ε runs into the thousands and `e^ε` overflows. As `b² − a² = 2ε`, the second
//! term is `φ(a) R(b)` with Mills' ratio `R(x) = Φ(−x) / φ(x)`, which stays small everywhere. If `a` is negative, the
//! first term is `φ(a) R(−a)`.

use std::f64::consts::{PI, SQRT_2, TAU};

/// How far two rows of norm at most 1 can be apart.
const SENSITIVITY: f64 = 2.0;

/// The least ε that holds with `delta` under noise of standard deviation `sigma`.
///
/// The search is over `a`, which suits all sizes of ε: δ grows with it, from nothing at −40 to its value at ε = 0.
pub(crate) fn epsilon(sigma: f64, delta: f64) -> f64 {
    let mu = SENSITIVITY / sigma;
    if delta_at(mu / 2.0, mu) <= delta {
        return 0.0;
    }
    let a = bisect(-40.0, mu / 2.0, |a| delta_at(a, mu) <= delta);
    mu * (mu / 2.0 - a)
}

/// The least δ that holds with `epsilon` under noise of standard deviation `sigma`.
pub(crate) fn delta(sigma: f64, epsilon: f64) -> f64 {
    let mu = SENSITIVITY / sigma;
    match mu {
        0.0 => 0.0,
        f64::INFINITY => 1.0,
        mu => delta_at(mu / 2.0 - epsilon / mu, mu).clamp(0.0, 1.0),
    }
}

/// The least standard deviation with which `epsilon` and `delta` hold.
pub(crate) fn sigma(epsilon: f64, delta: f64) -> f64 {
    let holds = |ln_mu: f64| {
        let mu = libm::exp(ln_mu);
        delta_at(mu / 2.0 - epsilon / mu, mu) <= delta
    };
    SENSITIVITY / libm::exp(bisect(-700.0, 700.0, holds))
}

/// δ by `a`; `b = μ − a`.
fn delta_at(a: f64, mu: f64) -> f64 {
    let density = libm::exp(-a * a / 2.0) / libm::sqrt(TAU);
    if a < 0.0 {
        density * (mills(-a) - mills(mu - a))
    } else {
        libm::erfc(-a / SQRT_2) / 2.0 - density * mills(mu - a)
    }
}

/// `Φ(−x) / φ(x)` for `x` from 0 on.
fn mills(x: f64) -> f64 {
    if x < 6.0 {
        return libm::sqrt(PI / 2.0) * libm::exp(x * x / 2.0) * libm::erfc(x / SQRT_2);
    }
    // Laplace's continued fraction 1/(x + 1/(x + 2/(x + …))), whose 60th term is far below rounding.
    1.0 / (1..=60).rev().fold(x, |tail, k| x + f64::from(k) / tail)
}

/// Returns the last point from `low` on at which `holds` is true. It turns false once before `high`.
fn bisect(mut low: f64, mut high: f64, holds: impl Fn(f64) -> bool) -> f64 {
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return low;
        }
        if holds(middle) { low = middle } else { high = middle }
    }
}
