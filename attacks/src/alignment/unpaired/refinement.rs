//! Refines a roughly right rotation to the one that aligns the two clouds.

use faer::Mat;
use ndarray::{Array2, ArrayView2};

use super::noise::Noise;
use super::precision::{narrow, wide};
use crate::Error;
use crate::alignment::procrustes::orthogonal;
use crate::matmul::{across, mapped, nearest};
use crate::rows::normalize;

/// The most last rounds, and the gain in the score below which they end.
const LAST_ROUNDS: usize = 6;
const GAIN: f64 = 2e-4;

/// What a map is refined by.
pub(super) struct Refinement {
    /// `protectedᵀ · clean` of known pairs, or zero.
    pub(super) known: Mat<f64>,
    /// The noise, which the protected vectors have and the clean ones do not.
    pub(super) noise: Noise,
}

impl Refinement {
    /// The map after this many rounds on these vectors.
    pub(super) fn refined(
        &self,
        mut map: Mat<f32>,
        theirs: ArrayView2<'_, f32>,
        mine: ArrayView2<'_, f32>,
        rounds: usize,
    ) -> Result<Mat<f32>, Error> {
        for _ in 0..rounds {
            map = self.round(&map, theirs, mine)?.0;
        }
        Ok(map)
    }

    /// The map after rounds on all vectors, as long as they bring the clouds closer.
    pub(super) fn finished(
        &self,
        mut map: Mat<f32>,
        theirs: ArrayView2<'_, f32>,
        mine: ArrayView2<'_, f32>,
    ) -> Result<Mat<f32>, Error> {
        let (mut last, mut before) = (map.clone(), f64::NEG_INFINITY);
        for _ in 0..LAST_ROUNDS {
            let (next, score) = self.round(&map, theirs, mine)?;
            if score < before + GAIN {
                return Ok(if score < before { last } else { map });
            }
            (last, map, before) = (map, next, score);
        }
        Ok(map)
    }

    /// How close the clouds lie under the map: the mean cosine of a row to the nearest row of the other side, both
    /// ways.
    pub(super) fn score(
        &self,
        map: &Mat<f32>,
        theirs: ArrayView2<'_, f32>,
        mine: ArrayView2<'_, f32>,
    ) -> f64 {
        let turned = self.turned(map, theirs);
        0.5 * (closest(&nearest(turned.view(), mine, 1)) + closest(&nearest(mine, turned.view(), 1)))
    }

    /// The same one way: from protected rows under the map to the others.
    pub(super) fn closeness(
        &self,
        map: &Mat<f32>,
        rows: ArrayView2<'_, f32>,
        others: ArrayView2<'_, f32>,
    ) -> f64 {
        closest(&nearest(self.turned(map, rows).view(), others, 1))
    }

    /// The next map, and the score of this one.
    fn round(
        &self,
        map: &Mat<f32>,
        theirs: ArrayView2<'_, f32>,
        mine: ArrayView2<'_, f32>,
    ) -> Result<(Mat<f32>, f64), Error> {
        let (products, score) = self.matched(map, theirs, mine);
        Ok((narrow(&orthogonal((products + &self.known).as_ref())?), score))
    }

    /// The products of the vectors of each side and the means of their nearest neighbours on the other, and the score
    /// of the map.
    pub(super) fn matched(
        &self,
        map: &Mat<f32>,
        theirs: ArrayView2<'_, f32>,
        mine: ArrayView2<'_, f32>,
    ) -> (Mat<f64>, f64) {
        let turned = self.turned(map, theirs);
        let neighbours = self.noise.neighbours(theirs.nrows().min(mine.nrows()));
        let there = nearest(turned.view(), mine, neighbours);
        let back = nearest(mine, turned.view(), neighbours);
        let products = across(theirs, means(&there, mine).view()) + across(means(&back, theirs).view(), mine);
        (wide(&products), 0.5 * (closest(&there) + closest(&back)))
    }

    /// Protected rows under the map, without their noise as far as a linear map removes it.
    fn turned(&self, map: &Mat<f32>, theirs: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut turned = mapped(theirs, self.noise.removed_after(map).as_ref());
        normalize(&mut turned);
        turned
    }
}

fn closest(found: &[Vec<(usize, f32)>]) -> f64 {
    let best = found.iter().filter_map(|found| found.first()).map(|&(_, cosine)| f64::from(cosine));
    best.sum::<f64>() / found.len().max(1) as f64
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
