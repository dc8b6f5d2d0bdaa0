//! Tests of distributions, for several test files.

/// The largest distance between the samples' distribution and `cdf`, times √n. For samples of the
/// distribution it exceeds 1.95 once in a thousand times (Kolmogorov and Smirnov).
pub(crate) fn kolmogorov_smirnov(mut samples: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let n = samples.len() as f64;
    let distance = samples.iter().enumerate().fold(0.0, |largest: f64, (rank, &x)| {
        let rank = rank as f64;
        largest.max((rank + 1.0) / n - cdf(x)).max(cdf(x) - rank / n)
    });
    distance * n.sqrt()
}

pub(crate) fn normal_cdf(x: f64) -> f64 {
    libm::erfc(-x / std::f64::consts::SQRT_2) / 2.0
}
