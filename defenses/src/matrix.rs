//! A matrix that many vectors are multiplied by, laid out once for that.
//!
//! Each number of a product is one sum over the input's coordinates, in their order. So a row gives the same result,
//! bit for bit, alone or in a batch of any size. Its last bits may differ between processors: one with `mul_add`
//! rounds once where another rounds twice.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use zeroize::Zeroizing;

use crate::parallel::for_pieces;
use crate::rows::with_scratch;
use crate::wide::{Work, widest};

/// Columns of the product that are computed together: two registers of eight.
const WIDTH: usize = 16;

/// Panels of `WIDTH` columns that a single row is multiplied by at once.
const PANELS: usize = 4;

/// Rows that share a pass over the matrix, which may not be in a cache.
const ROWS: usize = 96;

/// Coordinates of the input that are processed together: their part of a panel, 24 KiB, stays in the nearest cache.
const DEPTH: usize = 384;

/// Numbers of one row of a panel.
type Lane = [f32; WIDTH];

/// A matrix `[rows, dim]`. Its rows are stored in panels of [`WIDTH`], the last one padded with zeros, and within a
/// panel coordinate by coordinate.
pub(crate) struct Matrix {
    rows: usize,
    dim: usize,
    panels: Zeroizing<Vec<Lane>>,
}

impl Matrix {
    /// A matrix `[rows, dim]` of zeros, to be filled by [`set`](Self::set).
    pub(crate) fn zeros(rows: usize, dim: usize) -> Self {
        let panels = rows.div_ceil(WIDTH).next_multiple_of(PANELS);
        Self { rows, dim, panels: Zeroizing::new(vec![[0.0; WIDTH]; panels * dim]) }
    }

    /// Returns how many numbers a product has.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn set(&mut self, row: usize, column: usize, value: f32) {
        self.panels[row / WIDTH * self.dim + column][row % WIDTH] = value;
    }

    pub(crate) fn at(&self, row: usize, column: usize) -> f32 {
        self.panels[row / WIDTH * self.dim + column][row % WIDTH]
    }

    pub(crate) fn transposed(&self) -> Self {
        let mut other = Self::zeros(self.dim, self.rows);
        for first in (0..self.rows).step_by(WIDTH) {
            for column in 0..self.dim {
                for row in first..self.rows.min(first + WIDTH) {
                    other.set(column, row, self.at(row, column));
                }
            }
        }
        other
    }

    /// Replaces each row `x` of `vectors`, `[batch, dim]`, by the product of this square matrix and `x`.
    pub(crate) fn multiply(&self, vectors: ArrayViewMut2<'_, f32>) {
        for_pieces(vectors, self.dim, ROWS, |_, mut vectors| {
            self.with_scratch(vectors.nrows(), |scratch| {
                for mut rows in vectors.axis_chunks_iter_mut(Axis(0), ROWS) {
                    let (packed, sums) = self.halves(scratch, rows.nrows());
                    pack(rows.view(), packed, self.dim);
                    self.multiply_packed(packed, sums, &mut rows);
                }
            });
        });
    }

    /// Writes into each row of `to`, `[batch, rows]`, the product of this matrix and that row of `from`,
    /// `[batch, dim]`.
    pub(crate) fn multiply_into(&self, from: ArrayView2<'_, f32>, to: ArrayViewMut2<'_, f32>) {
        for_pieces((to, from), self.dim, ROWS, |_, (mut to, from)| {
            self.with_scratch(to.nrows(), |scratch| {
                let chunks = to.axis_chunks_iter_mut(Axis(0), ROWS);
                for (mut to, from) in chunks.zip(from.axis_chunks_iter(Axis(0), ROWS)) {
                    let (packed, sums) = self.halves(scratch, to.nrows());
                    pack(from, packed, self.dim);
                    self.multiply_packed(packed, sums, &mut to);
                }
            });
        });
    }

    /// Calls `work` with room for a packed batch of this many rows and for its sums.
    fn with_scratch(&self, rows: usize, work: impl FnOnce(&mut [f32])) {
        with_scratch(rows.min(ROWS) * (self.dim + self.count() * WIDTH), work);
    }

    fn halves<'s>(&self, scratch: &'s mut [f32], rows: usize) -> (&'s mut [f32], &'s mut [Lane]) {
        let (packed, rest) = scratch.split_at_mut(rows * self.dim);
        (packed, &mut rest.as_chunks_mut().0[..self.count() * rows])
    }

    fn multiply_packed(&self, packed: &[f32], sums: &mut [Lane], to: &mut ArrayViewMut2<'_, f32>) {
        sums.fill([0.0; WIDTH]);
        widest(Product { matrix: self, packed, sums });
        let count = to.nrows();
        for (place, mut row) in to.rows_mut().into_iter().enumerate() {
            let sums = sums[place..].iter().step_by(count);
            for (mut piece, sums) in row.axis_chunks_iter_mut(Axis(0), WIDTH).zip(sums) {
                piece.iter_mut().zip(sums).for_each(|(to, from)| *to = *from);
            }
        }
    }

    /// How many panels there are.
    fn count(&self) -> usize {
        self.panels.len() / self.dim
    }

    #[inline(always)]
    fn panel(&self, number: usize, depth: &Range<usize>) -> &[Lane] {
        &self.panels[number * self.dim..][depth.clone()]
    }
}

/// Returns which of `rows` are taken six at a time, three at a time and singly.
fn groups(rows: usize) -> [Range<usize>; 3] {
    let (six, three) = (rows / 6 * 6, rows / 3 * 3);
    [0..six, six..three, three..rows]
}

/// Copies `rows` into `packed`: group by group, and within a group coordinate by coordinate.
fn pack(rows: ArrayView2<'_, f32>, packed: &mut [f32], dim: usize) {
    for (range, size) in groups(rows.nrows()).into_iter().zip([6, 3, 1]) {
        for first in range.step_by(size) {
            let group = &mut packed[first * dim..(first + size) * dim];
            for place in 0..size {
                let row = rows.row(first + place);
                group[place..].iter_mut().step_by(size).zip(row).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

/// Adds the product of the matrix and a packed batch to `sums`, `[panels, rows]`. Numbers that are computed together
/// are stored together, whatever the dimension.
struct Product<'a> {
    matrix: &'a Matrix,
    packed: &'a [f32],
    sums: &'a mut [Lane],
}

impl Work for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const WIDE: bool>(mut self) {
        let dim = self.matrix.dim;
        let [six, three, one] = groups(self.packed.len() / dim);
        for start in (0..dim).step_by(DEPTH) {
            let depth = start..dim.min(start + DEPTH);
            self.pass::<WIDE, 6, 1>(&six, &depth);
            self.pass::<WIDE, 3, 2>(&three, &depth);
            self.pass::<WIDE, 1, PANELS>(&one, &depth);
        }
    }
}

impl Product<'_> {
    /// Multiplies groups of `R` rows by `P` panels at a time.
    #[inline(always)]
    fn pass<const WIDE: bool, const R: usize, const P: usize>(
        &mut self,
        rows: &Range<usize>,
        depth: &Range<usize>,
    ) {
        if rows.is_empty() {
            return;
        }
        let dim = self.matrix.dim;
        let count = self.packed.len() / dim;
        for (number, sums) in self.sums.chunks_exact_mut(P * count).enumerate() {
            let panels: [&[Lane]; P] = std::array::from_fn(|p| self.matrix.panel(number * P + p, depth));
            for first in rows.clone().step_by(R) {
                let group = self.packed[first * dim..(first + R) * dim].as_chunks::<R>().0;
                tile::<WIDE, R, P>(&group[depth.clone()], panels, sums, first);
            }
        }
    }
}

/// Adds to the sums, `[P, rows]`, of `R` rows from `first` on.
#[inline(always)]
fn tile<const WIDE: bool, const R: usize, const P: usize>(
    group: &[[f32; R]],
    panels: [&[Lane]; P],
    all: &mut [Lane],
    first: usize,
) {
    let rows = all.len() / P;
    let mut sums = [[[0.0; WIDTH]; P]; R];
    // Loops of known length, so that the sums are kept in registers.
    for r in 0..R {
        for p in 0..P {
            sums[r][p] = all[p * rows + first + r];
        }
    }
    let panels = panels.map(|panel| &panel[..group.len()]);
    for (k, x) in group.iter().enumerate() {
        for r in 0..R {
            for p in 0..P {
                for c in 0..WIDTH {
                    sums[r][p][c] = multiply_add::<WIDE>(x[r], panels[p][k][c], sums[r][p][c]);
                }
            }
        }
    }
    for r in 0..R {
        for p in 0..P {
            all[p * rows + first + r] = sums[r][p];
        }
    }
}

/// Multiplies and adds, with `mul_add` only if the processor has an instruction for it: otherwise it is slow.
#[inline(always)]
fn multiply_add<const WIDE: bool>(a: f32, b: f32, sum: f32) -> f32 {
    if WIDE || cfg!(target_arch = "aarch64") { a.mul_add(b, sum) } else { a * b + sum }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use zeroize::{Zeroize, ZeroizeOnDrop};

    use super::*;

    /// Numbers that `f32` sums without rounding, so that every order of operations gives the same.
    fn whole(row: usize, column: usize) -> f32 {
        ((row * 7 + column * 3) % 11) as f32 - 5.0
    }

    #[test]
    fn the_product_is_that_of_the_matrix_for_any_number_of_rows() {
        let dims: &[usize] = if cfg!(miri) { &[1, 17] } else { &[1, 2, 15, 16, 17, 64, 65, 400] };
        for &dim in dims {
            let mut matrix = Matrix::zeros(dim, dim);
            let plain = Array2::from_shape_fn((dim, dim), |(row, column)| whole(row, column));
            plain.indexed_iter().for_each(|((row, column), value)| matrix.set(row, column, *value));
            let counts: &[usize] = if cfg!(miri) { &[10] } else { &[0, 1, 2, 3, 4, 5, 6, 9, 10, 97, 200] };
            for &rows in counts {
                let vectors = Array2::from_shape_fn((rows, dim), |(row, place)| whole(place, row));
                for (matrix, plain) in [(&matrix, plain.t()), (&matrix.transposed(), plain.view())] {
                    let mut product = vectors.clone();
                    matrix.multiply(product.view_mut());
                    assert_eq!(product, vectors.dot(&plain), "{rows} rows of {dim}");
                }
            }
        }
    }

    #[test]
    fn a_matrix_need_not_be_square() {
        let shapes: &[_] = if cfg!(miri) { &[(17, 3)] } else { &[(1, 5), (16, 384), (65, 400), (7, 3)] };
        for &(outputs, dim) in shapes {
            let mut matrix = Matrix::zeros(outputs, dim);
            let plain = Array2::from_shape_fn((outputs, dim), |(row, column)| whole(row, column));
            plain.indexed_iter().for_each(|((row, column), value)| matrix.set(row, column, *value));
            for rows in [0, 1, 5, 97] {
                let vectors = Array2::from_shape_fn((rows, dim), |(row, place)| whole(place, row));
                let mut product = Array2::zeros((rows, outputs));
                matrix.multiply_into(vectors.view(), product.view_mut());
                assert_eq!(product, vectors.dot(&plain.t()), "{rows} rows, {outputs} of {dim}");
                let mut back = Array2::zeros((rows, dim));
                matrix.transposed().multiply_into(product.view(), back.view_mut());
                assert_eq!(back, product.dot(&plain), "{rows} rows, {dim} of {outputs}");
            }
        }
    }

    #[test]
    fn every_coefficient_is_wiped() {
        fn wipes_itself(_: &impl ZeroizeOnDrop) {}
        for dim in [1, 5, 64] {
            let mut matrix = Matrix::zeros(dim, dim);
            matrix.panels.as_flattened_mut().fill(1.0);
            wipes_itself(&matrix.panels);
            matrix.panels.iter_mut().for_each(Zeroize::zeroize); // what dropping it does
            assert!(matrix.panels.as_flattened().iter().all(|x| *x == 0.0));
        }
    }
}
