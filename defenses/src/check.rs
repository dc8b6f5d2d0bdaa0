//! The check that every defense makes before it changes anything.

use ndarray::{ArrayRef2, ArrayView1};

use crate::Error;

/// Half of `f32::MAX`: room for the rounding of a product.
const MAX_NORM: f64 = f32::MAX as f64 / 2.0;

/// Refuses a batch, `[batch, dim]`, that a defense could only turn into nonsense.
///
/// # Errors
/// [`Error::NotFinite`] with the first row, counted from 0, that holds NaN or an infinity, or whose
/// norm is too large for `f32`.
pub fn check_finite(vectors: &ArrayRef2<f32>) -> Result<(), Error> {
    match vectors.rows().into_iter().position(|row| !is_usable(&row)) {
        Some(row) => Err(Error::NotFinite { row }),
        None => Ok(()),
    }
}

fn is_usable(row: &ArrayView1<'_, f32>) -> bool {
    if row.as_slice().is_some_and(|row| sum_of_squares(row) < f32::MAX) {
        return true; // the usual case, several times faster
    }
    // The squares of f32 values do not overflow in f64; their sum is NaN or infinite where a value is.
    row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() <= MAX_NORM * MAX_NORM
}

/// The sum of squares by eight partial sums, which the compiler makes vectors of. NaN or infinite where a
/// value is, and infinite where the squares leave `f32`'s range.
fn sum_of_squares(row: &[f32]) -> f32 {
    let mut sums = [0.0; 8];
    let (chunks, rest) = row.as_chunks::<8>();
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += x * x);
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| x * x).sum::<f32>()
}
