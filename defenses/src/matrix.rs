//! A square matrix that many vectors are multiplied by, laid out for that once.
//!
//! Each number of a product is one sum, over the input's coordinates in their order. So a row becomes the
//! same, bit for bit, alone and in a batch of any size. On processors with another kind of arithmetic its
//! last bits may differ: one that has `mul_add` rounds once where another rounds twice.

use std::ops::Range;

use ndarray::{ArrayViewMut2, Axis};
use zeroize::Zeroizing;

use crate::parallel::for_pieces;
use crate::rows::with_scratch;
use crate::wide::{Work, widest};

/// Columns of the product that are computed together: two registers of eight.
const WIDTH: usize = 16;

/// Panels, of so many columns each, that a single row is multiplied by at once.
const PANELS: usize = 4;

/// Rows that share a pass over the matrix, which may come from far away.
const ROWS: usize = 96;

/// Coordinates of the input that are worked on together: their part of a panel, 24 KiB, stays in the
/// nearest cache.
const DEPTH: usize = 384;

/// Numbers of one row of a panel.
type Lane = [f32; WIDTH];

/// A matrix `[dim, dim]`. Its rows stand in panels of [`WIDTH`], the last ones filled up with zeros, and in
/// a panel coordinate by coordinate.
pub(crate) struct Matrix {
    dim: usize,
    panels: Zeroizing<Vec<Lane>>,
}

impl Matrix {
    /// A matrix of zeros, to be filled by [`set`](Self::set).
    pub(crate) fn zeros(dim: usize) -> Self {
        let panels = dim.div_ceil(WIDTH).next_multiple_of(PANELS);
        Self { dim, panels: Zeroizing::new(vec![[0.0; WIDTH]; panels * dim]) }
    }

    pub(crate) fn set(&mut self, row: usize, column: usize, value: f32) {
        self.panels[row / WIDTH * self.dim + column][row % WIDTH] = value;
    }

    pub(crate) fn at(&self, row: usize, column: usize) -> f32 {
        self.panels[row / WIDTH * self.dim + column][row % WIDTH]
    }

    pub(crate) fn transposed(&self) -> Self {
        let mut other = Self::zeros(self.dim);
        for first in (0..self.dim).step_by(WIDTH) {
            for column in 0..self.dim {
                for row in first..self.dim.min(first + WIDTH) {
                    other.set(column, row, self.at(row, column));
                }
            }
        }
        other
    }

    /// Puts in the place of each row `x` of `vectors`, `[batch, dim]`, the product of this matrix and `x`.
    pub(crate) fn multiply(&self, vectors: ArrayViewMut2<'_, f32>) {
        for_pieces(vectors, self.dim, ROWS, |_, mut vectors| {
            let rows = vectors.nrows().min(ROWS);
            with_scratch(rows * (self.dim + self.count() * WIDTH), |scratch| {
                for mut rows in vectors.axis_chunks_iter_mut(Axis(0), ROWS) {
                    let (packed, rest) = scratch.split_at_mut(rows.nrows() * self.dim);
                    let sums = &mut rest.as_chunks_mut().0[..self.count() * rows.nrows()];
                    self.multiply_together(&mut rows, packed, sums);
                }
            });
        });
    }

    fn multiply_together(&self, rows: &mut ArrayViewMut2<'_, f32>, packed: &mut [f32], sums: &mut [Lane]) {
        pack(rows, packed, self.dim);
        sums.fill([0.0; WIDTH]);
        widest(Product { matrix: self, packed, sums });
        let count = rows.nrows();
        for (place, mut row) in rows.rows_mut().into_iter().enumerate() {
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

/// How many of `rows` are taken six at a time, three at a time and singly.
fn groups(rows: usize) -> [Range<usize>; 3] {
    let (six, three) = (rows / 6 * 6, rows / 3 * 3);
    [0..six, six..three, three..rows]
}

/// Copies `rows` into `packed`: group by group, and in a group coordinate by coordinate.
fn pack(rows: &ArrayViewMut2<'_, f32>, packed: &mut [f32], dim: usize) {
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

/// Adds to `sums`, `[panels, rows]`, the product of the matrix and a batch that is packed. So what is
/// computed together lies together, whatever the dimension.
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

/// Where there is no instruction for it, `mul_add` is slow.
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
            let mut matrix = Matrix::zeros(dim);
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
    fn every_coefficient_is_wiped() {
        fn wipes_itself(_: &impl ZeroizeOnDrop) {}
        for dim in [1, 5, 64] {
            let mut matrix = Matrix::zeros(dim);
            matrix.panels.as_flattened_mut().fill(1.0);
            wipes_itself(&matrix.panels);
            matrix.panels.iter_mut().for_each(Zeroize::zeroize); // what dropping it does
            assert!(matrix.panels.as_flattened().iter().all(|x| *x == 0.0));
        }
    }
}
