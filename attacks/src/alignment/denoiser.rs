//! A small network that removes noise from vectors.

use faer::Mat;
use ndarray::{Array1, Array2, ArrayView2, Axis};

use super::{Affine, linear};
use crate::Error;
use crate::check::{check, check_dimension};
use crate::matmul::mapped;
use network::Network;
use training::{TrainingSet, train};

mod network;
mod training;

/// One in this many pairs is held out, to decide when training stops.
pub(super) const HELD_OUT: usize = 10;

/// Vectors whose spread is this share of their length are equal but for rounding.
const ROUNDING: f64 = 1e-6;

/// Whether a pair is held out.
pub(super) fn is_held_out(pair: usize) -> bool {
    pair % HELD_OUT == HELD_OUT - 1
}

/// A network that brings protected vectors closer to clean ones than a linear map can.
///
/// Clean vectors do not form an ellipsoid: they lie in clumps and on curved sheets, one for each kind of text. So a
/// noisy vector's original place can be estimated better than by any linear map. The best linear map that
/// [`Alignment`](super::Alignment) finds is corrected by a network with one hidden layer (four units per dimension,
/// GELU). Adam (Kingma & Ba 2015, arXiv 1412.6980) trains it on the squared error to the clean vectors at norm 1,
/// whose minimum is the posterior mean: the best possible direction. Restored vectors are as long as the clean ones
/// are on average, or shorter if the network is in doubt. It starts as the linear map, and the state that did best on
/// held-out pairs is kept.
///
/// Noise, which is what the defense did besides its linear part, is redrawn: in every other pass, the pairs'
/// residuals are shuffled. So the network does not overfit 20,000 pairs.
///
/// Training is seeded, and gives the same result, bit for bit, on any number of threads.
///
/// ```
/// use embosk_attacks::alignment::Denoiser;
/// use ndarray::Array2;
///
/// // points on two short curves, with noise
/// let clean = Array2::from_shape_fn((400, 2), |(row, column)| {
///     let angle = (row % 20) as f32 * 0.05 + (row % 2) as f32 * 3.0;
///     if column == 0 { angle.cos() } else { angle.sin() }
/// });
/// let noisy = Array2::from_shape_fn((400, 2), |(row, column)| {
///     clean[(row, column)] + ((row * 7919 + column * 104_729) % 101) as f32 / 101.0 - 0.5
/// });
/// let denoiser = Denoiser::fit(noisy.view(), clean.view(), 0)?;
/// assert_eq!(denoiser.apply(noisy.view())?.dim(), (400, 2));
/// # Ok::<(), embosk_attacks::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Denoiser {
    /// The linear map in units of `norm`, the mean norm of the clean vectors.
    linear: Mat<f32>,
    offset: Array1<f32>,
    norm: f32,
    /// The mean of the protected vectors that it was trained on, and the inverse of their standard deviation.
    mean: Array1<f32>,
    scale: f32,
    network: Network,
}

impl Denoiser {
    /// Trains on pairs: row `i` of `protected`, `[pairs, dim]`, and row `i` of `clean`,
    /// `[pairs, dim of clean]`, are of the same text.
    ///
    /// # Errors
    /// When there are no pairs, their numbers differ, or a value is not finite.
    pub fn fit(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>, seed: u64) -> Result<Self, Error> {
        check(protected, clean)?;
        Self::around(&linear(protected, clean)?, protected, clean, seed)
    }

    pub(super) fn around(
        linear: &Affine,
        protected: ArrayView2<'_, f32>,
        clean: ArrayView2<'_, f32>,
        seed: u64,
    ) -> Result<Self, Error> {
        let mean = protected.mean_axis(Axis(0)).unwrap_or_default();
        let size =
            |rows: Array2<f32>| rows.mapv(|value| f64::from(value).powi(2)).mean().unwrap_or(0.0).sqrt();
        let (spread, length) = (size(&protected - &mean), size(protected.to_owned()));
        // equal vectors differ from their mean by rounding, which is not to be magnified
        let scale = if spread > ROUNDING * length { spread.recip() as f32 } else { 0.0 };
        let norms = clean.rows().into_iter().map(|row| row.dot(&row).sqrt());
        let norm = norms.sum::<f32>() / clean.nrows() as f32;
        let norm = if norm > 0.0 { norm } else { 1.0 };
        let mut denoiser = Self {
            linear: Mat::from_fn(linear.map.nrows(), linear.map.ncols(), |i, j| {
                linear.map[(i, j)] as f32 / norm
            }),
            offset: linear.offset.iter().map(|&value| value as f32 / norm).collect(),
            norm,
            mean,
            scale,
            network: Network::new(protected.ncols(), clean.ncols(), seed),
        };
        let (held_out, fitted): (Vec<usize>, Vec<usize>) =
            (0..protected.nrows()).partition(|&pair| is_held_out(pair));
        let part =
            |rows: &[usize]| TrainingSet::new(protected.select(Axis(0), rows), clean.select(Axis(0), rows));
        train(&mut denoiser, &part(&fitted), &part(&held_out), seed)?;
        Ok(denoiser)
    }

    /// Returns the restored vectors, `[batch, dim of clean]`.
    ///
    /// # Errors
    /// When `vectors` do not have the dimension that it was trained for.
    pub fn apply(&self, vectors: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        check_dimension(self.mean.len(), vectors)?;
        Ok(self.restored(vectors) * self.norm)
    }

    /// The restored vectors in units of `norm`.
    fn restored(&self, vectors: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut restored = self.linear_part(vectors);
        let correction = self.network.output(self.input(vectors).as_ref());
        for (mut row, column) in restored.rows_mut().into_iter().zip(correction.col_iter()) {
            row.iter_mut().zip(column.iter()).for_each(|(value, add)| *value += add);
        }
        restored
    }

    fn linear_part(&self, vectors: ArrayView2<'_, f32>) -> Array2<f32> {
        mapped(vectors, self.linear.as_ref()) + &self.offset
    }

    /// What the network reads: one column per vector.
    fn input(&self, vectors: ArrayView2<'_, f32>) -> Mat<f32> {
        let mut input = Mat::zeros(vectors.ncols(), vectors.nrows());
        for (column, vector) in input.col_iter_mut().zip(vectors.rows()) {
            for ((value, vector), mean) in column.iter_mut().zip(vector).zip(&self.mean) {
                *value = (vector - mean) * self.scale;
            }
        }
        input
    }
}
