//! How vectors compare with the clean ones: in length, and in direction.

use faer::{Mat, MatRef};

/// Chance does not reach this many standard deviations. A scale counts only if it differs from 1 by more than `UNIT`.
pub(super) const CHANCE: f64 = 4.0;
const UNIT: f64 = 1e-3;

/// Returns the factor that gives `restored` the norms of `clean`, unless it is 1 within the error of the estimate.
///
/// It is the inverse of the slope of `restored` on `clean`, which noise in `restored` does not change.
pub(super) fn scale(restored: &Mat<f64>, clean: &Mat<f64>) -> Option<f64> {
    let slopes = restored.row_iter().zip(clean.row_iter()).filter_map(|(restored, clean)| {
        let square = clean.squared_norm_l2();
        (square > 0.0).then(|| restored * clean.transpose() / square)
    });
    factor(&slopes.collect::<Vec<_>>())
}

/// Returns the factor that gives `restored` the mean norm `norm`, unless it is 1 within the error of the estimate.
pub(super) fn longer(restored: &Mat<f64>, norm: f32) -> Option<f64> {
    let norms = restored.row_iter().map(|row| row.norm_l2() / f64::from(norm));
    factor(&norms.collect::<Vec<_>>())
}

/// Returns the factor that brings numbers to a mean of 1, unless it is 1 within the error of the estimate.
fn factor(numbers: &[f64]) -> Option<f64> {
    let count = numbers.len() as f64;
    let mean = mean(numbers);
    let variance = numbers.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / count;
    let deviation = (mean - 1.0).abs();
    let is_clear = deviation > UNIT && deviation > CHANCE * (variance / count).sqrt();
    (is_clear && mean > 0.0 && mean.is_finite()).then(|| 1.0 / mean)
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

pub(super) fn mean_cosine(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> f64 {
    cosines(a, b).sum::<f64>() / a.nrows() as f64
}

pub(super) fn cosines(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> impl Iterator<Item = f64> {
    a.row_iter().zip(b.row_iter()).map(|(a, b)| {
        let norms = a.norm_l2() * b.norm_l2();
        if norms > 0.0 { a * b.transpose() / norms } else { 0.0 }
    })
}
