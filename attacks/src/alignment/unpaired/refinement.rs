//! From a rotation that is roughly right to the one that lays one cloud on the other.

use faer::Mat;
use ndarray::{Array2, ArrayView2};

use super::cloud::normalize;
use crate::Error;
use crate::alignment::procrustes::orthogonal;
use crate::products::{across, mapped, nearest};

/// Neighbours whose mean a vector is held against.
const NEIGHBOURS: usize = 5;
/// The last rounds, at most, and the gain in the score below which they end.
const LAST_ROUNDS: usize = 6;
const GAIN: f64 = 2e-4;

/// The map after this many rounds on these vectors.
pub(super) fn refined(
    mut map: Mat<f32>,
    theirs: ArrayView2<'_, f32>,
    mine: ArrayView2<'_, f32>,
    rounds: usize,
) -> Result<Mat<f32>, Error> {
    for _ in 0..rounds {
        map = round(&map, theirs, mine)?.0;
    }
    Ok(map)
}

/// The map after rounds on all vectors, as long as they bring the clouds closer.
pub(super) fn finished(
    mut map: Mat<f32>,
    theirs: ArrayView2<'_, f32>,
    mine: ArrayView2<'_, f32>,
) -> Result<Mat<f32>, Error> {
    let (mut last, mut before) = (map.clone(), f64::NEG_INFINITY);
    for _ in 0..LAST_ROUNDS {
        let (next, score) = round(&map, theirs, mine)?;
        if score < before + GAIN {
            return Ok(if score < before { last } else { map });
        }
        (last, map, before) = (map, next, score);
    }
    Ok(map)
}

/// How close the clouds lie under the map: the mean cosine of a row to the nearest one of the other side,
/// both ways.
pub(super) fn score(map: &Mat<f32>, theirs: ArrayView2<'_, f32>, mine: ArrayView2<'_, f32>) -> f64 {
    let turned = turned(map, theirs);
    0.5 * (closest(&nearest(turned.view(), mine, 1)) + closest(&nearest(mine, turned.view(), 1)))
}

/// The same one way: from rows under the map to the others.
pub(super) fn closeness(map: &Mat<f32>, rows: ArrayView2<'_, f32>, others: ArrayView2<'_, f32>) -> f64 {
    closest(&nearest(turned(map, rows).view(), others, 1))
}

fn closest(found: &[Vec<(usize, f32)>]) -> f64 {
    let best = found.iter().filter_map(|found| found.first()).map(|&(_, cosine)| f64::from(cosine));
    best.sum::<f64>() / found.len().max(1) as f64
}

fn turned(map: &Mat<f32>, theirs: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut turned = mapped(theirs, map.as_ref());
    normalize(&mut turned);
    turned
}

/// The next map, and the score of this one.
fn round(
    map: &Mat<f32>,
    theirs: ArrayView2<'_, f32>,
    mine: ArrayView2<'_, f32>,
) -> Result<(Mat<f32>, f64), Error> {
    let turned = turned(map, theirs);
    let there = nearest(turned.view(), mine, NEIGHBOURS);
    let back = nearest(mine, turned.view(), NEIGHBOURS);
    let products = across(theirs, means(&there, mine).view()) + across(means(&back, theirs).view(), mine);
    let products = Mat::from_fn(products.nrows(), products.ncols(), |i, j| f64::from(products[(i, j)]));
    let next = orthogonal(products.as_ref())?;
    let next = Mat::from_fn(next.nrows(), next.ncols(), |row, column| next[(row, column)] as f32);
    Ok((next, 0.5 * (closest(&there) + closest(&back))))
}

/// The mean of the rows that were found for each.
fn means(found: &[Vec<(usize, f32)>], rows: ArrayView2<'_, f32>) -> Array2<f32> {
    let mut means = Array2::zeros((found.len(), rows.ncols()));
    for (found, mut mean) in found.iter().zip(means.rows_mut()) {
        for &(row, _) in found {
            mean += &rows.row(row);
        }
        mean /= found.len().max(1) as f32;
    }
    means
}
