//! Vectors as the rows of a matrix: their norms, and how their coordinates are distributed.

use ndarray::{Array2, ArrayView2};

/// Scales all rows to norm 1, except those of norm 0, and returns the sum of their norms.
pub(crate) fn normalize(rows: &mut Array2<f32>) -> f32 {
    let mut sum = 0.0;
    for mut row in rows.rows_mut() {
        let norm = row.dot(&row).sqrt();
        if norm > 0.0 {
            row.mapv_inplace(|value| value / norm);
        }
        sum += norm;
    }
    sum
}

/// Returns the rows at norm 1; rows of norm 0 stay.
pub(crate) fn normalized(rows: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut rows = rows.to_owned();
    normalize(&mut rows);
    rows
}

/// Returns `count` quantiles of each column, `[count, columns]`.
pub(crate) fn quantiles(rows: ArrayView2<'_, f32>, count: usize) -> Array2<f32> {
    let mut quantiles = Array2::zeros((count, rows.ncols()));
    for (column, mut to) in rows.columns().into_iter().zip(quantiles.columns_mut()) {
        let mut values = column.to_vec();
        values.sort_unstable_by(f32::total_cmp);
        for (step, to) in to.iter_mut().enumerate() {
            *to = values[(2 * step + 1) * values.len() / (2 * count)];
        }
    }
    quantiles
}
