//! Matrix products in `f32` on all threads, and the nearest rows of a set of vectors.
//!
//! The work is cut into parts of a fixed size, each done on one thread, so that the result is the same, bit for bit,
//! for any number of threads.

use faer::linalg::matmul::matmul;
use faer::prelude::*;
use faer::{Accum, Par};
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;

/// The most rows of a product that are computed at once, and the least number of its parts.
const ROWS: usize = 128;
const PARTS: usize = 8;
/// How many queries are searched for at once, and how many targets they are compared with at once.
const QUERIES: usize = 64;
const TARGETS: usize = 4096;

/// Multiplies `left` by `right`.
pub(crate) fn times(left: MatRef<'_, f32>, right: MatRef<'_, f32>) -> Mat<f32> {
    let mut out = Mat::zeros(left.nrows(), right.ncols());
    times_into(out.as_mut(), left, right);
    out
}

/// Writes the product of `left` and `right` to `out`.
pub(crate) fn times_into(out: MatMut<'_, f32>, left: MatRef<'_, f32>, right: MatRef<'_, f32>) {
    let size = left.nrows().div_ceil(PARTS).next_multiple_of(16).clamp(16, ROWS);
    out.par_row_chunks_mut(size).enumerate().for_each(|(part, rows)| {
        let left = left.subrows(part * size, rows.nrows());
        matmul(rows, Accum::Replace, left, right, 1.0, Par::Seq);
    });
}

/// Multiplies `rows` by `map`, both row by row in memory.
pub(crate) fn mapped(rows: ArrayView2<'_, f32>, map: MatRef<'_, f32>) -> Array2<f32> {
    let mut out = Array2::zeros((rows.nrows(), map.ncols()));
    let parts: Vec<_> = out.axis_chunks_iter_mut(Axis(0), ROWS).collect();
    parts.into_par_iter().enumerate().for_each(|(part, mut to)| {
        let (count, width) = to.dim();
        let from = rows.slice(ndarray::s![part * ROWS..part * ROWS + count, ..]);
        let from = from.as_standard_layout();
        if let (Some(from), Some(to)) = (from.as_slice(), to.as_slice_mut()) {
            let from = MatRef::from_row_major_slice(from, count, rows.ncols());
            let to = MatMut::from_row_major_slice_mut(to, count, width);
            matmul(to, Accum::Replace, from, map, 1.0, Par::Seq);
        }
    });
    out
}

/// Computes `leftᵀ · right`: the sum over rows of their outer products.
pub(crate) fn across(left: ArrayView2<'_, f32>, right: ArrayView2<'_, f32>) -> Mat<f32> {
    times(matrix(left).as_ref().transpose(), matrix(right).as_ref())
}

pub(crate) fn matrix(rows: ArrayView2<'_, f32>) -> Mat<f32> {
    Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| rows[(row, column)])
}

/// Returns, for each row of `queries`, the `count` rows of `targets` with the largest inner products, best first (of
/// equals the first), or all if there are fewer.
pub(crate) fn nearest(
    queries: ArrayView2<'_, f32>,
    targets: ArrayView2<'_, f32>,
    count: usize,
) -> Vec<Vec<(usize, f32)>> {
    let (queries, targets) = (queries.as_standard_layout(), targets.as_standard_layout());
    let parts: Vec<_> = queries.axis_chunks_iter(Axis(0), QUERIES).collect();
    let found = parts.into_par_iter().map(|queries| nearest_of_part(queries, targets.view(), count));
    found.collect::<Vec<_>>().into_iter().flatten().collect()
}

fn nearest_of_part(
    queries: ArrayView2<'_, f32>,
    targets: ArrayView2<'_, f32>,
    count: usize,
) -> Vec<Vec<(usize, f32)>> {
    let mut found = vec![Vec::with_capacity(count + 1); queries.nrows()];
    let mut similarities = Mat::zeros(TARGETS.min(targets.nrows()), queries.nrows());
    for (block, targets) in targets.axis_chunks_iter(Axis(0), TARGETS).enumerate() {
        let (Some(these), Some(those)) = (targets.as_slice(), queries.as_slice()) else { continue };
        let these = MatRef::from_row_major_slice(these, targets.nrows(), targets.ncols());
        let those = MatRef::from_row_major_slice(those, queries.nrows(), queries.ncols());
        let mut similarities = similarities.as_mut().subrows_mut(0, targets.nrows());
        matmul(similarities.as_mut(), Accum::Replace, these, those.transpose(), 1.0, Par::Seq);
        for (found, column) in found.iter_mut().zip(similarities.as_ref().col_iter()) {
            for (place, &similarity) in column.iter().enumerate() {
                keep(found, (block * TARGETS + place, similarity), count);
            }
        }
    }
    found
}

fn keep(found: &mut Vec<(usize, f32)>, candidate: (usize, f32), count: usize) {
    if found.len() == count && found.last().is_none_or(|last| candidate.1 <= last.1) {
        return;
    }
    let place = found.partition_point(|better| better.1 >= candidate.1);
    found.insert(place, candidate);
    found.truncate(count);
}
