//! Tests whether vectors of the same texts, protected under two keys, can be linked.
//!
//! A rotation hides directions and keeps shapes: how long a vector is, and how far it is from all others. By these,
//! two copies of a store under two keys can be linked without any pair or key. A key that does not turn the space,
//! such as one of noise, leaves the directions themselves to compare. Noise hides shapes, but one whole store can
//! then be aligned with the other.

use ndarray::{Array2, ArrayView2, Axis};
use rand_chacha::rand_core::Rng;
use rayon::prelude::*;

use crate::Error;
use crate::alignment::{CloudMap, Procrustes};
use crate::check::{check_dimension, check_finite};
use crate::matmul::{mapped, matrix, nearest};
use crate::rows::normalized;

/// How many nearest neighbours, and how many quantiles over all others, describe a vector.
const NEIGHBOURS: usize = 24;
const QUANTILES: usize = 24;
/// How often a rotation is fitted to the rows that the previous one brought together.
const ROUNDS: usize = 3;
/// Rows that one thread describes at once.
const PART: usize = 64;

/// Returns the share of rows of `a` whose most similar row of `b` is of the same text; 1/n is chance. It is the
/// better result of two attacks: by cosine, if the dimensions agree, and by [`link`].
///
/// Row `i` of both, `[n, dim]`, is of the same text; the attacks do not use the order. For `link`, a row is described
/// by what a rotation, a permutation and a scaling keep: its norm relative to the mean norm, its cosines to its
/// nearest neighbours, and quantiles of its cosines to all others. Each feature is centred and divided by its
/// standard deviation over both sets; the most similar row is the nearest by these features. The two may have
/// different dimensions. Time and memory grow with the square of `n`.
///
/// ```
/// use embosk_attacks::structure::linkage::recall_at_1;
/// use ndarray::Array2;
///
/// let rows = Array2::from_shape_fn((30, 3), |(row, column)| ((37 * row + 11 * column) as f32).sin());
/// let mut swapped = rows.clone();
/// swapped.invert_axis(ndarray::Axis(1));
/// assert_eq!(recall_at_1(rows.view(), swapped.view())?, 1.0);
/// # Ok::<(), embosk_attacks::Error>(())
/// ```
///
/// # Errors
/// When there are fewer than two rows, the numbers of rows differ, or a value is not finite.
pub fn recall_at_1(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Result<f64, Error> {
    let mut attacks = vec![link(a, b)?];
    if a.nrows() != b.nrows() {
        return Err(Error::Setting(format!("{} rows do not pair with {}", a.nrows(), b.nrows())));
    }
    if a.ncols() == b.ncols() {
        attacks.push(first_of(normalized(a).view(), normalized(b).view()));
    }
    let most = attacks.iter().map(|linked| right(linked)).max().unwrap_or(0);
    Ok(most as f64 / a.nrows() as f64)
}

/// Returns the same share for the first `rows`, by an attack that uses both whole sets and takes far longer. It finds
/// a rotation that aligns one cloud of vectors with the other ([`CloudMap`]), then refits it to the rows that are
/// nearest to each other. The most similar row is the nearest by cosine. It is for a key that turns the space,
/// combined with noise, which hides shapes. The first rows are compared only with one another, as in [`recall_at_1`].
///
/// ```no_run
/// use embosk_attacks::structure::linkage::recall_at_1_aligned;
/// use ndarray::Array2;
/// use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
///
/// # fn store(key: u8) -> Array2<f32> { Array2::zeros((10_000, 384)) }
/// let (a, b) = (store(1), store(2));
/// let share = recall_at_1_aligned(a.view(), b.view(), 1_000, &mut ChaCha8Rng::seed_from_u64(0))?;
/// # Ok::<(), embosk_attacks::Error>(())
/// ```
///
/// # Errors
/// As [`CloudMap::fit`], and when there are no rows to link.
pub fn recall_at_1_aligned(
    a: ArrayView2<'_, f32>,
    b: ArrayView2<'_, f32>,
    rows: usize,
    rng: &mut impl Rng,
) -> Result<f64, Error> {
    let rows = rows.min(a.nrows()).min(b.nrows());
    if rows == 0 {
        return Err(Error::Empty("the set of rows to link"));
    }
    let b = normalized(b);
    let mut a = normalized(CloudMap::fit(a, b.view(), rng)?.apply(a)?.view());
    for _ in 0..ROUNDS {
        let (of_a, of_b) = mutual(a.view(), b.view());
        if of_a.is_empty() {
            break;
        }
        let pairs = (a.select(Axis(0), &of_a), b.select(Axis(0), &of_b));
        a = Procrustes::fit(pairs.0.view(), pairs.1.view())?.apply(a.view())?;
    }
    let first = ndarray::s![..rows, ..];
    Ok(right(&first_of(a.slice(first), b.slice(first))) as f64 / rows as f64)
}

/// Rows of the two sets that are nearest to each other.
fn mutual(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> (Vec<usize>, Vec<usize>) {
    let back = first_of(b, a);
    first_of(a, b).into_iter().enumerate().filter(|&(a, b)| back[b] == a).unzip()
}

/// How many rows are linked to the row of the same text.
fn right(linked: &[usize]) -> usize {
    linked.iter().enumerate().filter(|(row, linked)| row == *linked).count()
}

/// Returns, for each row of `a`, `[n, dim]`, the most similar row of `b`, `[m, dim]`, by the features that
/// [`recall_at_1`] describes.
///
/// # Errors
/// When `a` or `b` has fewer than two rows or a value that is not finite.
pub fn link(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Result<Vec<usize>, Error> {
    for set in [a, b] {
        check_finite(set)?;
        if set.nrows() < 2 || set.ncols() == 0 {
            return Err(Error::Empty("the neighbourhood of a vector"));
        }
    }
    let neighbours = NEIGHBOURS.min(a.nrows() - 1).min(b.nrows() - 1);
    let (mut a, mut b) = (features(a, neighbours), features(b, neighbours));
    standardize(&mut a, &mut b);
    check_dimension(a.ncols(), b.view())?;
    // the nearest by distance is the first by inner product with −|b|²/2 in one more column
    let (a, b) = (with_column(&a, |_| 1.0), with_column(&b, |row| -row.dot(&row) / 2.0));
    Ok(first_of(a.view(), b.view()))
}

/// For each row of `a`, the row of `b` with the largest inner product.
fn first_of(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> Vec<usize> {
    nearest(a, b, 1).into_iter().map(|found| found[0].0).collect()
}

/// The norm, cosines to the nearest neighbours, and quantiles of all cosines; one row per vector.
fn features(rows: ArrayView2<'_, f32>, neighbours: usize) -> Array2<f32> {
    let norms: Vec<f32> = rows.rows().into_iter().map(|row| row.dot(&row).sqrt()).collect();
    let mean = norms.iter().sum::<f32>() / norms.len() as f32;
    let unit = normalized(rows);
    let mut features = Array2::zeros((rows.nrows(), 1 + neighbours + QUANTILES));
    let targets = matrix(unit.view());
    let parts: Vec<_> = features.axis_chunks_iter_mut(Axis(0), PART).collect();
    parts.into_par_iter().enumerate().for_each(|(part, mut to)| {
        let first = part * PART;
        let these = unit.slice(ndarray::s![first..first + to.nrows(), ..]);
        let mut cosines = mapped(these, targets.as_ref().transpose());
        for (offset, (mut to, mut cosines)) in to.rows_mut().into_iter().zip(cosines.rows_mut()).enumerate() {
            let own = first + offset;
            to[0] = if mean > 0.0 { norms[own] / mean } else { 0.0 };
            // itself goes to the end, where it is left out
            cosines[own] = f32::NEG_INFINITY;
            let mut sorted = cosines.to_vec();
            sorted.sort_unstable_by(|a, b| b.total_cmp(a));
            sorted.pop();
            for (to, cosine) in to.iter_mut().skip(1).zip(&sorted[..neighbours]) {
                *to = *cosine;
            }
            for (step, to) in to.iter_mut().skip(1 + neighbours).enumerate() {
                *to = sorted[(2 * step + 1) * sorted.len() / (2 * QUANTILES)];
            }
        }
    });
    features
}

fn standardize(a: &mut Array2<f32>, b: &mut Array2<f32>) {
    for (mut a, mut b) in a.columns_mut().into_iter().zip(b.columns_mut()) {
        let count = (a.len() + b.len()) as f32;
        let mean = (a.sum() + b.sum()) / count;
        let square = |values: &ndarray::ArrayViewMut1<'_, f32>| {
            values.iter().map(|value| (value - mean).powi(2)).sum::<f32>()
        };
        let deviation = ((square(&a) + square(&b)) / count).sqrt();
        // a feature that is the same everywhere up to rounding says nothing
        let scale = if deviation > 1e-6 { deviation.recip() } else { 0.0 };
        for values in [&mut a, &mut b] {
            values.mapv_inplace(|value| (value - mean) * scale);
        }
    }
}

fn with_column(rows: &Array2<f32>, last: impl Fn(ndarray::ArrayView1<'_, f32>) -> f32) -> Array2<f32> {
    let mut wider = Array2::zeros((rows.nrows(), rows.ncols() + 1));
    for (mut to, row) in wider.rows_mut().into_iter().zip(rows.rows()) {
        to.slice_mut(ndarray::s![..rows.ncols()]).assign(&row);
        to[rows.ncols()] = last(row);
    }
    wider
}
