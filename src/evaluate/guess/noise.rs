//! The noise's own metric, where some directions have more of it than others.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par, Side};
use ndarray::{Array2, ArrayView2, Axis};

use crate::Error;

/// The variances of isotropic noise differ by chance alone. The squared coefficient of variation must exceed chance by
/// this, so that weights matter: the standard deviation of the variances is then a third of their mean.
const UNEVEN: f64 = 0.1;
/// If the coordinates' own variances account for this share of it, covariances are left out.
const OWN: f64 = 0.8;
/// Fewer residuals for each dimension say too little.
const LEAST: usize = 2;

/// Differences below this are rounding.
const ROUNDING: f32 = 1e-5;

/// Noise that is not isotropic: an observed vector is a clean one times a scale, plus an offset, plus this noise.
pub(in crate::evaluate) struct Noise {
    scale: f64,
    offset: Vec<f64>,
    /// The map under which the noise is isotropic with variance 1, `[dim, dim]`, lower triangular or diagonal.
    whitening: Whitening,
}

enum Whitening {
    Diagonal(Vec<f64>),
    /// The Cholesky factor of the covariance.
    Factor(Mat<f64>),
}

/// Observed and clean vectors of texts that the attacker knows, `[texts, dim]` each.
pub(in crate::evaluate) struct Residuals {
    pub(in crate::evaluate) observed: Array2<f32>,
    pub(in crate::evaluate) clean: Array2<f32>,
}

impl Noise {
    /// Returns how many pairs the noise can be estimated from, at least.
    pub(in crate::evaluate) fn least_pairs(dim: usize) -> usize {
        LEAST * dim
    }

    /// Returns how many of their own texts attackers make pairs of.
    pub(in crate::evaluate) fn texts(dim: usize) -> usize {
        dim.max(1000)
    }

    /// Estimates the noise. `None` if there is none, if it may be isotropic, or if the pairs are too few to tell.
    pub(in crate::evaluate) fn estimate(pairs: &Residuals) -> Option<Self> {
        let Residuals { observed, clean } = pairs;
        let (count, dim) = observed.dim();
        if count < LEAST * dim || observed.dim() != clean.dim() {
            return None;
        }
        if observed.iter().zip(clean).all(|(a, b)| (a - b).abs() < ROUNDING) {
            return None;
        }
        let scale = scale(observed, clean)?;
        let mut residuals = observed.mapv(|value| (f64::from(value) / scale) as f32) - clean;
        let offset = residuals.mean_axis(Axis(0))?;
        residuals -= &offset;
        let covariance = covariance(&residuals);
        let whitening = whitening(covariance, count)?;
        Some(Self { scale, offset: offset.iter().map(|&value| f64::from(value)).collect(), whitening })
    }

    #[cfg(test)]
    pub(super) fn is_diagonal(&self) -> bool {
        matches!(self.whitening, Whitening::Diagonal(_))
    }

    /// Maps observed vectors to where the noise is isotropic.
    pub(super) fn whiten_observed(&self, vectors: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        self.whiten(vectors, self.scale.recip(), &self.offset)
    }

    /// Maps clean vectors to the same place.
    pub(super) fn whiten_clean(&self, vectors: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        self.whiten(vectors, 1.0, &vec![0.0; self.offset.len()])
    }

    fn whiten(&self, vectors: ArrayView2<'_, f32>, scale: f64, offset: &[f64]) -> Result<Array2<f32>, Error> {
        let (rows, dim) = vectors.dim();
        if dim != offset.len() {
            return Err(Error::Setting(format!(
                "noise of {} dimensions, and vectors of {dim}",
                offset.len()
            )));
        }
        let centred = |row: usize, column: usize| f64::from(vectors[[row, column]]) * scale - offset[column];
        Ok(match &self.whitening {
            Whitening::Diagonal(weights) => Array2::from_shape_fn((rows, dim), |(row, column)| {
                (centred(row, column) * weights[column]) as f32
            }),
            Whitening::Factor(factor) => {
                let mut columns = Mat::from_fn(dim, rows, |column, row| centred(row, column));
                faer::linalg::triangular_solve::solve_lower_triangular_in_place(
                    factor.as_ref(),
                    columns.as_mut(),
                    Par::Seq,
                );
                Array2::from_shape_fn((rows, dim), |(row, column)| columns[(column, row)] as f32)
            }
        })
    }
}

/// The factor by which observed vectors are longer than clean ones.
fn scale(observed: &Array2<f32>, clean: &Array2<f32>) -> Option<f64> {
    let sums = observed.iter().zip(clean).fold((0.0, 0.0), |(both, own), (&a, &b)| {
        (both + f64::from(a) * f64::from(b), own + f64::from(b) * f64::from(b))
    });
    Some(sums.0 / sums.1).filter(|scale| scale.is_finite() && *scale > 0.0)
}

fn covariance(residuals: &Array2<f32>) -> Mat<f64> {
    let (count, dim) = residuals.dim();
    let rows = Mat::from_fn(count, dim, |row, column| f64::from(residuals[[row, column]]));
    let mut covariance = Mat::zeros(dim, dim);
    let share = 1.0 / count as f64;
    matmul(covariance.as_mut(), Accum::Replace, rows.as_ref().transpose(), rows.as_ref(), share, Par::Seq);
    covariance
}

/// `None` if the covariance of so many residuals may be that of isotropic noise (John, Biometrika 59, 1972).
fn whitening(mut covariance: Mat<f64>, count: usize) -> Option<Whitening> {
    let dim = covariance.nrows();
    let trace: f64 = (0..dim).map(|at| covariance[(at, at)]).sum();
    let mean = trace / dim as f64;
    if mean <= f64::EPSILON {
        return None;
    }
    let square = |at: (usize, usize)| (covariance[at] / mean).powi(2) / dim as f64;
    let own: f64 = (0..dim).map(|at| square((at, at))).sum();
    let all: f64 = (0..dim).flat_map(|row| (0..dim).map(move |column| (row, column))).map(square).sum();
    let (own, all) = (own - 1.0 - 2.0 / count as f64, all - 1.0 - (dim + 1) as f64 / count as f64);
    if all < UNEVEN {
        return None;
    }
    // a coordinate without noise would outweigh all others
    let least = 1e-3 * mean;
    if own >= OWN * all {
        return Some(Whitening::Diagonal(
            (0..dim).map(|at| covariance[(at, at)].max(least).sqrt().recip()).collect(),
        ));
    }
    let shrinkage = (((dim + 1) as f64 / count as f64) / (all + (dim + 1) as f64 / count as f64)).min(1.0);
    for row in 0..dim {
        for column in 0..dim {
            covariance[(row, column)] *= 1.0 - shrinkage;
        }
        covariance[(row, row)] += shrinkage * mean + least;
    }
    let factor = covariance.llt(Side::Lower).ok()?;
    Some(Whitening::Factor(factor.L().to_owned()))
}
