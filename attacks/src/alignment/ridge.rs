//! Ridge regression around a prior map, and affine maps of rows.

use faer::{Mat, MatRef, Row, Side};

use super::not_converged;
use crate::Error;

/// Strengths of the ridge that are tried, in units of the mean eigenvalue of the protected vectors'
/// scatter matrix.
pub(super) const STRENGTHS: [f64; 11] = [1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];

/// Rows `x` go to `x · map + offset`.
#[derive(Debug, Clone)]
pub(super) struct Affine {
    map: Mat<f64>,
    offset: Row<f64>,
}

impl Affine {
    pub(super) fn linear(map: Mat<f64>) -> Self {
        let offset = Row::zeros(map.ncols());
        Self { map, offset }
    }

    pub(super) fn dimension(&self) -> usize {
        self.map.nrows()
    }

    pub(super) fn apply(&self, rows: MatRef<'_, f64>) -> Mat<f64> {
        let mut mapped = rows * &self.map;
        mapped.row_iter_mut().for_each(|mut row| row += &self.offset);
        mapped
    }
}

/// What the solutions for all priors and strengths have in common.
pub(super) struct Ridge {
    protected_mean: Row<f64>,
    clean_mean: Row<f64>,
    /// Of the protected vectors' scatter matrix.
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
        let eigen = scatter.self_adjoint_eigen(Side::Lower).map_err(|_| not_converged())?;
        Ok(Self {
            protected_mean,
            clean_mean,
            eigenvectors: eigen.U().to_owned(),
            eigenvalues: eigen.S().column_vector().iter().copied().collect(),
            across: protected.transpose() * clean,
            scatter,
        })
    }

    /// The map `W` with the least `‖protected · W − clean‖² + strength · v · ‖W − prior‖²`, after
    /// centring both sides, where `v` is the mean of the scatter's eigenvalues.
    pub(super) fn around(&self, prior: &Affine, strength: f64) -> Affine {
        let unit = self.eigenvalues.iter().sum::<f64>() / self.eigenvalues.len() as f64;
        // a scatter of zero has nothing to regress on
        let ridge = (strength * unit).max(f64::MIN_POSITIVE);
        let left = &self.across - &self.scatter * &prior.map;
        let mut turned = self.eigenvectors.transpose() * left;
        for (mut row, eigenvalue) in turned.row_iter_mut().zip(&self.eigenvalues) {
            row *= faer::Scale(1.0 / (eigenvalue.max(0.0) + ridge));
        }
        let map = &prior.map + &self.eigenvectors * turned;
        let offset = &self.clean_mean - &self.protected_mean * &map;
        Affine { map, offset }
    }
}

fn centred(rows: &Mat<f64>) -> (Mat<f64>, Row<f64>) {
    let share = 1.0 / rows.nrows() as f64;
    let mean = Row::from_fn(rows.ncols(), |column| rows.col(column).iter().sum::<f64>() * share);
    let centred = Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| rows[(row, column)] - mean[column]);
    (centred, mean)
}
