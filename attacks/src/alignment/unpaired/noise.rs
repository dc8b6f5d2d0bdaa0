//! What noise the protected vectors have, and how it is removed before they are held against clean ones.

use faer::Mat;

use super::cloud::Cloud;
use super::refinement::{narrow, wide};
use crate::Error;
use crate::decomposition::eigen;
use crate::products::{across, product};

/// Neighbours whose mean a vector is held against, and where there is noise: one of them is the less to be
/// trusted.
const NEIGHBOURS: usize = 5;
const NEIGHBOURS_IN_NOISE: usize = 20;
/// The share of a vector's square that is noise, from which it counts as such.
const NOISE: f64 = 0.1;

/// Noise of the same strength in every direction.
pub(super) struct Noise {
    /// The linear least-mean-square-error estimate of clean vectors, `[dim, dim]`, where there is noise to speak
    /// of.
    filter: Option<Mat<f32>>,
}

impl Noise {
    /// From vectors with the noise and the same ones without, row by row.
    pub(super) fn between(noisy: &Cloud, clean: &Cloud) -> Result<Self, Error> {
        let cosines = noisy.vectors.rows().into_iter().zip(clean.vectors.rows());
        let kept = cosines.map(|(noisy, clean)| f64::from(noisy.dot(&clean)).powi(2)).sum::<f64>();
        let rows = noisy.vectors.nrows() as f64;
        let share = 1.0 - kept / rows;
        if share < NOISE {
            return Ok(Self { filter: None });
        }
        let variance = share / noisy.vectors.ncols() as f64;
        let covariance = across(noisy.vectors.view(), noisy.vectors.view());
        let (eigenvalues, eigenvectors) = eigen((wide(&covariance) * (1.0 / rows)).as_ref())?;
        let mut shrunk = eigenvectors.clone();
        for (column, eigenvalue) in shrunk.col_iter_mut().zip(eigenvalues) {
            let signal = (eigenvalue - variance).max(0.0) / eigenvalue.max(f64::MIN_POSITIVE);
            column.iter_mut().for_each(|value| *value *= signal);
        }
        let filter = product(narrow(&shrunk).as_ref(), narrow(&eigenvectors).transpose());
        Ok(Self { filter: Some(filter) })
    }

    pub(super) fn neighbours(&self) -> usize {
        if self.filter.is_some() { NEIGHBOURS_IN_NOISE } else { NEIGHBOURS }
    }

    /// The map, and after it the estimate.
    pub(super) fn removed_after(&self, map: &Mat<f32>) -> Mat<f32> {
        match &self.filter {
            Some(filter) => product(map.as_ref(), filter.as_ref()),
            None => map.clone(),
        }
    }
}
