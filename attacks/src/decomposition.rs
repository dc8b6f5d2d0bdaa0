//! Singular value and eigenvalue decompositions, each on one thread: faer's sums depend on the number of threads, but
//! what an attacker finds must not.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::svd::{ComputeSvdVectors, svd_scratch};
use faer::{Mat, MatRef, Par, Spec};

use crate::Error;

/// `matrix = u · diag(weights) · vᵀ`, with the largest weights first, one for each index of the smaller dimension.
pub(crate) struct Svd {
    pub(crate) u: Mat<f64>,
    pub(crate) weights: Vec<f64>,
    pub(crate) v: Mat<f64>,
}

pub(crate) fn svd(matrix: MatRef<'_, f64>) -> Result<Svd, Error> {
    let (rows, columns) = matrix.shape();
    let count = rows.min(columns);
    let (mut u, mut v) = (Mat::zeros(rows, count), Mat::zeros(columns, count));
    let mut weights = Diag::zeros(count);
    let thin = ComputeSvdVectors::Thin;
    let mut memory = MemBuffer::new(svd_scratch::<f64>(rows, columns, thin, thin, Par::Seq, Spec::default()));
    faer::linalg::svd::svd(
        matrix,
        weights.as_mut(),
        Some(u.as_mut()),
        Some(v.as_mut()),
        Par::Seq,
        MemStack::new(&mut memory),
        Spec::default(),
    )
    .map_err(|_| not_converged())?;
    Ok(Svd { u, weights: weights.column_vector().iter().copied().collect(), v })
}

/// The eigenvalues of a symmetric matrix, the smallest first, and the eigenvectors as columns.
pub(crate) fn eigen(matrix: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>), Error> {
    let size = matrix.nrows();
    let (mut vectors, mut values) = (Mat::zeros(size, size), Diag::zeros(size));
    let scratch = self_adjoint_evd_scratch::<f64>(size, ComputeEigenvectors::Yes, Par::Seq, Spec::default());
    self_adjoint_evd(
        matrix,
        values.as_mut(),
        Some(vectors.as_mut()),
        Par::Seq,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Spec::default(),
    )
    .map_err(|_| not_converged())?;
    Ok((values.column_vector().iter().copied().collect(), vectors))
}

fn not_converged() -> Error {
    Error::Setting("the matrix decomposition did not converge".into())
}
