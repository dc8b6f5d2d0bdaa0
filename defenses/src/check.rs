//! The checks that a defense makes before it changes anything.

use ndarray::{ArrayRef2, ArrayView1};

use crate::Error;
use crate::parallel::by_pieces;
use crate::wide::{Work, widest};

/// Half of `f32::MAX`: room for the rounding of a product.
const MAX_NORM: f64 = f32::MAX as f64 / 2.0;

/// Refuses ids unless there is one for each row of `vectors`, `[batch, dim]`.
///
/// # Errors
/// [`Error::RowIds`] with both numbers.
pub fn check_ids(ids: &[&[u8]], vectors: &ArrayRef2<f32>) -> Result<(), Error> {
    match (ids.len(), vectors.nrows()) {
        (ids, rows) if ids == rows => Ok(()),
        (ids, rows) => Err(Error::RowIds { rows, ids }),
    }
}

/// Refuses a batch, `[batch, dim]`, with a row that no defense can process.
///
/// # Errors
/// [`Error::NotFinite`] with the first row, counted from 0, that holds NaN or an infinity, or whose
/// norm is too large for `f32`.
pub fn check_finite(vectors: &ArrayRef2<f32>) -> Result<(), Error> {
    by_pieces(vectors.view(), vectors.ncols(), 1, |first, rows| {
        match rows.rows().into_iter().position(|row| !is_usable(&row)) {
            Some(row) => Err(Error::NotFinite { row: first + row }),
            None => Ok(()),
        }
    })
}

fn is_usable(row: &ArrayView1<'_, f32>) -> bool {
    match row.as_slice() {
        Some(values) => largest_magnitude(values).is_some(),
        None => has_room(row.iter()),
    }
}

/// Returns the largest `|x|`, or nothing if the row is to be refused.
pub(crate) fn largest_magnitude(row: &[f32]) -> Option<f32> {
    let largest = widest(Largest(row));
    let norm_is_below = f64::from(largest) * (row.len() as f64).sqrt();
    (norm_is_below <= MAX_NORM || has_room(row.iter())).then_some(largest)
}

struct Largest<'a>(&'a [f32]);

impl Work for Largest<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<const WIDE: bool>(self) -> f32 {
        // Without its sign, a float's bits are in the order of the numbers, then infinity, then NaN. As
        // signed integers their maximum vectorizes on every processor.
        let bits = self.0.iter().fold(0, |largest: i32, x| largest.max(x.abs().to_bits().cast_signed()));
        f32::from_bits(bits.cast_unsigned())
    }
}

fn has_room<'a>(row: impl Iterator<Item = &'a f32>) -> bool {
    // The squares of f32 values do not overflow in f64; their sum is NaN or infinite where a value is.
    row.map(|&x| f64::from(x).powi(2)).sum::<f64>() <= MAX_NORM * MAX_NORM
}
