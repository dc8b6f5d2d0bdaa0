//! The noise of protected vectors, and how it is removed before they are matched with clean ones.

use faer::Mat;

use super::cloud::Cloud;
use super::precision::{narrow, wide};
use crate::Error;
use crate::decomposition::eigen;
use crate::matmul::{across, times};

/// Neighbours whose mean a vector is matched with.
const NEIGHBOURS: usize = 5;
/// The same if there is noise, which makes a single neighbour less reliable: the most neighbours, and one per this
/// many vectors.
const NEIGHBOURS_IN_NOISE: usize = 20;
const VECTORS: usize = 20;
/// Noise counts if it is at least this share of a vector's squared norm.
const NOISE: f64 = 0.1;

/// Noise of the same strength in every direction.
pub(super) struct Noise {
    /// The linear least-mean-square-error estimate of clean vectors, `[dim, dim]`, if there is enough noise to count.
    filter: Option<Mat<f32>>,
}

impl Noise {
    /// Estimates the noise from vectors with and without it, row by row. The filter is made of the spread of the
    /// clean ones: the spread of a few noisy vectors is uneven by chance.
    pub(super) fn between(noisy: &Cloud, clean: &Cloud) -> Result<Self, Error> {
        let rows = || noisy.vectors.rows().into_iter().zip(clean.vectors.rows());
        let count = rows().filter(|(noisy, clean)| noisy.dot(noisy) > 0.0 && clean.dot(clean) > 0.0).count();
        let kept = rows().map(|(noisy, clean)| f64::from(noisy.dot(&clean)).powi(2)).sum::<f64>();
        let share = 1.0 - kept / count.max(1) as f64;
        if count == 0 || share < NOISE {
            return Ok(Self { filter: None });
        }
        let variance = share / noisy.vectors.ncols() as f64;
        let scatter = across(clean.vectors.view(), clean.vectors.view());
        let (eigenvalues, eigenvectors) = eigen(wide(&scatter).as_ref())?;
        let mut shrunk = eigenvectors.clone();
        for (column, eigenvalue) in shrunk.col_iter_mut().zip(eigenvalues) {
            let signal = (1.0 - share) * eigenvalue.max(0.0) / count as f64;
            column.iter_mut().for_each(|value| *value *= signal / (signal + variance));
        }
        let filter = times(narrow(&shrunk).as_ref(), narrow(&eigenvectors).transpose());
        Ok(Self { filter: Some(filter) })
    }

    /// How many neighbours a vector is matched with, out of this many vectors.
    pub(super) fn neighbours(&self, vectors: usize) -> usize {
        match self.filter {
            Some(_) => (vectors / VECTORS).clamp(NEIGHBOURS, NEIGHBOURS_IN_NOISE),
            None => NEIGHBOURS,
        }
    }

    /// The map, followed by the filter.
    pub(super) fn removed_after(&self, map: &Mat<f32>) -> Mat<f32> {
        match &self.filter {
            Some(filter) => times(map.as_ref(), filter.as_ref()),
            None => map.clone(),
        }
    }
}
