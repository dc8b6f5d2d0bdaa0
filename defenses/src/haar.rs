//! Random orthogonal matrices, the same on every machine.

use std::sync::OnceLock;

use ndarray::ArrayViewMut2;
use zeroize::Zeroizing;

use crate::Rng;
use crate::matrix::Matrix;
use crate::parallel::{Rows, for_pieces_apart};
use crate::rng::StandardNormals;
use crate::wide::{Work, widest};

/// Columns processed at a time, so that they stay in the processor's cache.
const PANEL: usize = 32;

/// A rotation by a matrix, `[dim, dim]`, wiped when dropped: it is as good as the key.
pub(crate) struct Haar {
    matrix: Matrix,
    /// The transposed matrix, which undoes it; computed when it is first needed.
    back: OnceLock<Matrix>,
}

impl Haar {
    pub(crate) fn draw(dim: usize, rng: &mut Rng) -> Self {
        Self { matrix: haar(dim, rng), back: OnceLock::new() }
    }

    /// Multiplies every row by the matrix.
    pub(crate) fn apply(&self, vectors: ArrayViewMut2<'_, f32>) {
        self.matrix.multiply(vectors);
    }

    /// Multiplies every row by the transposed matrix, which undoes the matrix.
    pub(crate) fn undo(&self, vectors: ArrayViewMut2<'_, f32>) {
        self.back.get_or_init(|| self.matrix.transposed()).multiply(vectors);
    }
}

/// An orthogonal matrix, `[dim, dim]`, drawn from the Haar measure: all are equally likely.
///
/// The QR decomposition of a matrix of standard normals gives such a matrix once the signs are corrected (Mezzadri,
/// arXiv math-ph/0609050). Here no decomposition is needed: what Householder's method finds below the diagonal at
/// each step is again a vector of fresh standard normals, so these are drawn directly (Stewart, SIAM J. Numer. Anal.
/// 17, 1980). `Q = H₀ H₁ … H₍dim₋₁₎ D`, where `Hₖ` is the reflection for the k-th vector, of `dim − k` coordinates,
/// and `D` the signs.
///
/// This is a storage format: plain `f64` operations in a fixed order, rounded to `f32` at the end.
/// Each column is computed by itself, so panels and threads change nothing but the speed.
fn haar(dim: usize, rng: &mut Rng) -> Matrix {
    let mut matrix = Matrix::zeros(dim, dim);
    for (column, values) in columns(dim, dim, 1.0, rng).chunks_exact(dim).enumerate() {
        values.iter().enumerate().for_each(|(row, value)| matrix.set(row, column, *value));
    }
    matrix
}

/// The first `count` columns of such a matrix, each as a row and times `scale`, `[count, dim]`: orthogonal
/// directions, all equally likely. A smaller `count` gives the first of these.
///
/// This is a storage format too: the product with `scale` is `f64`, rounded to `f32` at the end.
pub(crate) fn directions(dim: usize, count: usize, scale: f64, rng: &mut Rng) -> Matrix {
    let mut matrix = Matrix::zeros(count, dim);
    for (row, values) in columns(dim, count, scale, rng).chunks_exact(dim).enumerate() {
        values.iter().enumerate().for_each(|(column, value)| matrix.set(row, column, *value));
    }
    matrix
}

/// The first `count` columns, one after the other, times `scale`. Later reflections do not change these, so they are not
/// drawn. The reflections are drawn one after the other, and then applied to the columns by all threads.
fn columns(dim: usize, count: usize, scale: f64, rng: &mut Rng) -> Zeroizing<Vec<f32>> {
    let mut normals = rng.standard_normals();
    let reflections: Vec<_> = (0..count).map(|k| Reflection::draw(dim - k, &mut normals)).collect();
    let mut columns = Zeroizing::new(vec![0.0; count * dim]);
    for_pieces_apart(Columns { values: &mut columns, dim }, PANEL, |first, piece| {
        for (row, values) in panel(dim, &reflections, first).iter().enumerate() {
            let places = piece.values.iter_mut().skip(row).step_by(dim);
            places.zip(values).for_each(|(place, value)| *place = (value * scale) as f32);
        }
    });
    columns
}

/// Columns of `dim` numbers each.
struct Columns<'a> {
    values: &'a mut [f32],
    dim: usize,
}

impl Rows for Columns<'_> {
    fn count(&self) -> usize {
        self.values.len() / self.dim
    }

    fn split(self, column: usize) -> (Self, Self) {
        let (before, after) = self.values.split_at_mut(column * self.dim);
        (Columns { values: before, dim: self.dim }, Columns { values: after, dim: self.dim })
    }
}

/// The columns of `H₀ H₁ … D` from `first` on, of `dim` coordinates.
fn panel(dim: usize, reflections: &[Reflection], first: usize) -> Zeroizing<Vec<[f64; PANEL]>> {
    let mut rows = Zeroizing::new(vec![[0.0; PANEL]; dim]);
    let end = reflections.len().min(first + PANEL);
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
        widest(Reflected { v: &self.v, rows });
    }
}

struct Reflected<'a> {
    v: &'a [f64],
    rows: &'a mut [[f64; PANEL]],
}

impl Work for Reflected<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const WIDE: bool>(self) {
        let mut sums = Zeroizing::new([0.0; PANEL]);
        for (v, row) in self.v.iter().zip(&*self.rows) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += v * x);
        }
        for (v, row) in self.v.iter().zip(self.rows) {
            row.iter_mut().zip(sums.iter()).for_each(|(x, sum)| *x -= v * sum);
        }
    }
}
