//! Scales from a sample.

use ndarray::{ArrayView1, ArrayView2};

use super::MAX_SCALE;
use super::pack::Bits;
use crate::{Error, check_finite};

/// A scale for each column of `sample`, `[rows, dim]`.
pub(super) fn scales(bits: Bits, sample: ArrayView2<'_, f32>, quantile: f64) -> Result<Vec<f32>, Error> {
    if !(quantile > 0.0 && quantile <= 1.0) {
        return Err(Error::Setting { name: "quantile", expected: "a number above 0, at most 1" });
    }
    if sample.nrows() == 0 {
        return Err(Error::Setting { name: "sample", expected: "one row at least" });
    }
    check_finite(&sample)?;
    Ok(sample.columns().into_iter().map(|column| scale(bits, column, quantile).min(MAX_SCALE)).collect())
}

fn scale(bits: Bits, column: ArrayView1<'_, f32>, quantile: f64) -> f32 {
    match bits {
        Bits::One => root_mean_square(column.iter()),
        Bits::Four | Bits::Eight => quantile_of_magnitudes(column, quantile),
    }
}

/// The smallest magnitude that at least the part `quantile` of them does not exceed.
fn quantile_of_magnitudes(column: ArrayView1<'_, f32>, quantile: f64) -> f32 {
    let mut magnitudes: Vec<_> = column.iter().map(|x| x.abs()).collect();
    let rank = (quantile * magnitudes.len() as f64).ceil() as usize;
    let place = rank.clamp(1, magnitudes.len()) - 1;
    *magnitudes.select_nth_unstable_by(place, f32::total_cmp).1
}

/// The root mean square: numbers that all have this magnitude have the norm of these.
pub(super) fn root_mean_square<'a>(values: impl ExactSizeIterator<Item = &'a f32>) -> f32 {
    let count = values.len().max(1) as f64;
    let sum: f64 = values.map(|&x| f64::from(x).powi(2)).sum();
    (sum / count).sqrt() as f32
}
