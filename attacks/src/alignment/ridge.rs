//! Ridge regression around a prior map.

use faer::{Mat, Row};

use super::affine::Affine;
use crate::Error;
use crate::decomposition::eigen;

/// Strengths of the ridge that are tried, in units of the mean eigenvalue of the protected vectors'
/// scatter matrix.
pub(super) const STRENGTHS: [f64; 15] =
    [1e-5, 1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0];

/// What the solutions for all priors and strengths have in common.
pub(super) struct Ridge {
    protected_mean: Row<f64>,
    clean_mean: Row<f64>,
    /// The eigenvectors of the protected vectors' scatter matrix.
    eigenvectors: Mat<f64>,
    eigenvalues: Vec<f64>,
    /// Protected vectors' scatter, and the scatter between protected and clean vectors.
    scatter: Mat<f64>,
    across: Mat<f64>,
}

impl Ridge {
    pub(super) fn fit(protected: &Mat<f64>, clean: &Mat<f64>) -> Result<Self, Error> {
        let (protected, protected_mean) = centred(protected);
        let (clean, clean_mean) = centred(clean);
        let scatter = protected.transpose() * &protected;
        let (eigenvalues, eigenvectors) = eigen(scatter.as_ref())?;
        Ok(Self {
            protected_mean,
            clean_mean,
            eigenvectors,
            eigenvalues,
            across: protected.transpose() * clean,
            scatter,
        })
    }

    pub(super) fn around<'a>(&'a self, prior: &'a Affine) -> Around<'a> {
        let left = &self.across - &self.scatter * &prior.map;
        Around { ridge: self, prior, turned: self.eigenvectors.transpose() * left }
    }
}

/// The solutions around one prior.
pub(super) struct Around<'a> {
    ridge: &'a Ridge,
    prior: &'a Affine,
    /// What the prior leaves, in the basis of the eigenvectors.
    turned: Mat<f64>,
}

impl Around<'_> {
    /// The map `W` with the least `‖protected · W − clean‖² + strength · v · ‖W − prior‖²`, after
    /// centring both sides, where `v` is the mean of the scatter's eigenvalues.
    pub(super) fn of(&self, strength: f64) -> Affine {
        let Ridge { eigenvalues, eigenvectors, clean_mean, protected_mean, .. } = self.ridge;
        let unit = eigenvalues.iter().sum::<f64>() / eigenvalues.len() as f64;
        // a scatter of zero has nothing to regress on
        let ridge = (strength * unit).max(f64::MIN_POSITIVE);
        let mut turned = self.turned.clone();
        for column in turned.col_iter_mut() {
            for (value, eigenvalue) in column.iter_mut().zip(eigenvalues) {
                *value /= eigenvalue.max(0.0) + ridge;
            }
        }
        let map = &self.prior.map + eigenvectors * turned;
        let offset = clean_mean - protected_mean * &map;
        Affine { map, offset }
    }
}

fn centred(rows: &Mat<f64>) -> (Mat<f64>, Row<f64>) {
    let share = 1.0 / rows.nrows() as f64;
    let mean = Row::from_fn(rows.ncols(), |column| rows.col(column).iter().sum::<f64>() * share);
    let centred = Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| rows[(row, column)] - mean[column]);
    (centred, mean)
}
