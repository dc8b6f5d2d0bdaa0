use ndarray::{Array2, ArrayView2, Axis};
use rand::seq::SliceRandom;
use rand_chacha::rand_core::Rng;

use crate::rows::normalize;

/// One vector in this many is held out to judge a map by, up to a limit.
const KEPT_OUT: usize = 10;
const MOST: usize = 1000;

/// A cloud of vectors of norm 1, centred, of norm 1 again.
pub(super) struct Cloud {
    pub(super) vectors: Array2<f32>,
    /// The mean norm before normalization.
    pub(super) norm: f32,
}

impl Cloud {
    pub(super) fn new(rows: ArrayView2<'_, f32>) -> Self {
        let mut vectors = rows.to_owned();
        let norm = normalize(&mut vectors) / rows.nrows().max(1) as f32;
        if let Some(mean) = vectors.mean_axis(Axis(0)) {
            vectors -= &mean;
        }
        normalize(&mut vectors);
        Self { vectors, norm }
    }

    /// At most this many of the vectors, in random order.
    pub(super) fn sample(&self, count: usize, rng: &mut impl Rng) -> Array2<f32> {
        let mut rows: Vec<usize> = (0..self.vectors.nrows()).collect();
        rows.shuffle(rng);
        rows.truncate(count);
        self.vectors.select(Axis(0), &rows)
    }

    /// The rows that are held out, a tenth of them and at most 1,000, and all others.
    pub(super) fn split(&self, rng: &mut impl Rng) -> (Vec<usize>, Vec<usize>) {
        let mut kept_out: Vec<usize> = (0..self.vectors.nrows()).collect();
        kept_out.shuffle(rng);
        let rest = kept_out.split_off((kept_out.len() / KEPT_OUT).min(MOST));
        (kept_out, rest)
    }

    pub(super) fn select(&self, rows: &[usize]) -> Self {
        Self { vectors: self.vectors.select(Axis(0), rows), norm: self.norm }
    }
}
