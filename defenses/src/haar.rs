//! Random orthogonal matrices, the same on every machine.

use ndarray::linalg::general_mat_vec_mul;
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis};
use zeroize::{Zeroize, Zeroizing};

use crate::Rng;
use crate::rng::StandardNormals;
use crate::rows::for_each_row;

/// Columns that are worked on at a time, so that they stay in the processor's cache.
const PANEL: usize = 32;

/// Rows that are rotated at a time, to bound the memory for the product.
const ROWS: usize = 1024;

/// So few rows are multiplied one by one: a product of matrices would first copy all of the larger one.
const FEW: usize = 4;

/// A rotation by a matrix, `[dim, dim]`, wiped when dropped: it is as good as the key.
pub(crate) struct Haar(Array2<f32>);

impl Haar {
    pub(crate) fn draw(dim: usize, rng: &mut Rng) -> Self {
        Self(haar(dim, rng))
    }

    /// Multiplies every row by the matrix.
    pub(crate) fn apply(&self, vectors: ArrayViewMut2<'_, f32>) {
        if vectors.nrows() <= FEW {
            self.apply_to_few(vectors);
        } else {
            // The rows are the vectors: x ↦ Q x is a product with Qᵀ from the right.
            multiply(vectors, &self.0.t());
        }
    }

    fn apply_to_few(&self, vectors: ArrayViewMut2<'_, f32>) {
        for_each_row(vectors, self.0.nrows(), |row, product| {
            let mut product = ArrayViewMut1::from(product);
            general_mat_vec_mul(1.0, &self.0, &ArrayView1::from(&*row), 0.0, &mut product);
            ArrayViewMut1::from(row).assign(&product);
        });
    }

    /// Multiplies every row by the transposed matrix, which undoes the matrix.
    pub(crate) fn undo(&self, vectors: ArrayViewMut2<'_, f32>) {
        multiply(vectors, &self.0.view());
    }
}

fn multiply(mut vectors: ArrayViewMut2<'_, f32>, matrix: &ArrayView2<'_, f32>) {
    for mut rows in vectors.axis_chunks_iter_mut(Axis(0), ROWS) {
        let product = rows.dot(matrix);
        rows.assign(&product);
    }
}

impl Zeroize for Haar {
    fn zeroize(&mut self) {
        if let Some(coefficients) = self.0.as_slice_memory_order_mut() {
            coefficients.zeroize();
        }
    }
}

impl Drop for Haar {
    fn drop(&mut self) {
        self.zeroize();
    }
}

/// An orthogonal matrix, `[dim, dim]`, drawn from the Haar measure: all are equally likely.
///
/// It is what the QR decomposition of a matrix of standard normals gives once the signs are corrected
/// (Mezzadri, arXiv math-ph/0609050), without the decomposition: what Householder's method finds
/// below the diagonal at each step is again a vector of fresh standard normals, so those are drawn
/// directly (Stewart, SIAM J. Numer. Anal. 17, 1980). `Q = H₀ H₁ … H₍dim₋₁₎ D`, where `Hₖ` is the
/// reflection for the k-th vector, of `dim − k` coordinates, and `D` the signs.
///
/// This is a storage format: plain `f64` operations in a fixed order, rounded to `f32` at the end.
/// Each column is computed by itself, so the panels change nothing but the speed.
fn haar(dim: usize, rng: &mut Rng) -> Array2<f32> {
    let mut normals = rng.standard_normals();
    let reflections: Vec<_> = (0..dim).map(|k| Reflection::draw(dim - k, &mut normals)).collect();
    let mut matrix = Array2::zeros((dim, dim));
    for (index, mut columns) in matrix.axis_chunks_iter_mut(Axis(1), PANEL).enumerate() {
        let panel = panel(&reflections, index * PANEL);
        for (mut row, values) in columns.rows_mut().into_iter().zip(panel.iter()) {
            row.iter_mut().zip(values).for_each(|(to, from)| *to = *from as f32);
        }
    }
    matrix
}

/// The columns of `H₀ H₁ … D` from `first` on.
fn panel(reflections: &[Reflection], first: usize) -> Zeroizing<Vec<[f64; PANEL]>> {
    let dim = reflections.len();
    let mut rows = Zeroizing::new(vec![[0.0; PANEL]; dim]);
    let end = dim.min(first + PANEL);
    for k in first..end {
        rows[k][k - first] = reflections[k].sign;
    }
    // Later reflections leave these columns alone: there they are zero.
    for k in (0..end).rev() {
        reflections[k].apply(&mut rows[k..]);
    }
    rows
}

/// `I − v vᵀ` with `v` of length √2, and the sign that makes the diagonal of R positive.
struct Reflection {
    v: Zeroizing<Vec<f64>>,
    sign: f64,
}

impl Reflection {
    /// The reflection that takes a vector of `len` standard normals onto the first axis.
    fn draw(len: usize, normals: &mut StandardNormals<'_>) -> Self {
        let mut v = Zeroizing::new(Vec::with_capacity(len));
        v.extend(normals.take(len));
        let norm = libm::sqrt(v.iter().fold(0.0, |sum, x| sum + x * x));
        let sign = if v[0] < 0.0 { 1.0 } else { -1.0 };
        v[0] -= sign * norm;
        // |v|² = 2 · norm · |v₀|, and v₀ is 0 only where the whole vector is.
        let scale = libm::sqrt(norm * v[0].abs());
        if scale > 0.0 {
            v.iter_mut().for_each(|x| *x /= scale);
        }
        Self { v, sign }
    }

    fn apply(&self, rows: &mut [[f64; PANEL]]) {
        let mut sums = Zeroizing::new([0.0; PANEL]);
        for (v, row) in self.v.iter().zip(rows.iter()) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += v * x);
        }
        for (v, row) in self.v.iter().zip(rows) {
            row.iter_mut().zip(sums.iter()).for_each(|(x, sum)| *x -= v * sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_coefficient_is_wiped() {
        for dim in [1, 5, 64] {
            let mut matrix = Haar::draw(dim, &mut Rng::seeded(1));
            assert!(matrix.0.iter().all(|x| *x != 0.0));
            matrix.zeroize(); // all that dropping it does
            assert!(matrix.0.iter().all(|x| *x == 0.0));
        }
    }
}
