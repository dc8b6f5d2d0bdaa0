use faer::{Mat, MatRef};
use ndarray::{Array2, ArrayView2};

use super::affine::Affine;
use super::{narrow, widen};
use crate::Error;
use crate::check::{check, check_dimension};
use crate::decomposition::{Svd, svd};

/// The orthogonal map that brings protected vectors closest to clean ones.
///
/// It solves the orthogonal Procrustes problem (Schönemann 1966): of all orthogonal `Q`, it is the one with the least
/// `‖protected · Q − clean‖`. It undoes a rotation (or a reflection), however that was drawn. Nothing is centred,
/// because a rotation keeps the origin. No key is needed, only pairs.
///
/// With fewer pairs than dimensions, `Q` is still orthogonal, but only determined on the span of the pairs. How it
/// turns the rest is arbitrary, and vectors outside the span are restored wrongly.
///
/// ```
/// use embosk_attacks::alignment::Procrustes;
/// use ndarray::array;
///
/// let clean = array![[1.0, 0.0], [0.0, 1.0]];
/// let quarter_turn = array![[0.0, 1.0], [-1.0, 0.0]];
/// let protected = clean.dot(&quarter_turn);
/// let map = Procrustes::fit(protected.view(), clean.view())?;
/// let restored = map.apply(protected.view())?;
/// assert!((restored - clean).iter().all(|difference: &f32| difference.abs() < 1e-6));
/// # Ok::<(), embosk_attacks::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Procrustes {
    /// `[dim, dim]`, applied from the right to rows.
    map: Array2<f32>,
}

impl Procrustes {
    /// Fits the map on pairs: row `i` of `protected` and row `i` of `clean`, both `[pairs, dim]`, are of
    /// the same text. Sums are taken in `f64`.
    ///
    /// # Errors
    /// When there are no pairs, the shapes differ, or a value is not finite.
    pub fn fit(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<Self, Error> {
        check(protected, clean)?;
        check_dimension(clean.ncols(), protected)?;
        Ok(Self { map: narrow(&orthogonal((widen(protected).transpose() * widen(clean)).as_ref())?) })
    }

    /// Returns the restored vectors, `[batch, dim]`.
    ///
    /// # Errors
    /// When `vectors` do not have the dimension that the map was fitted for.
    pub fn apply(&self, vectors: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        check_dimension(self.map.nrows(), vectors)?;
        Ok(vectors.dot(&self.map))
    }
}

/// Returns the orthogonal map that is closest to a square matrix. For the products `protectedᵀ · clean`, it is the
/// map that brings protected vectors closest to clean ones.
pub(super) fn orthogonal(products: MatRef<'_, f64>) -> Result<Mat<f64>, Error> {
    let Svd { u, v, .. } = svd(products)?;
    Ok(u * v.transpose())
}

/// A direction of the pairs with less than this share of the strongest one's weight counts as rounding.
const RANK: f64 = 1e-7;

/// Returns the same map on the span of the pairs, and zero outside; `[dim of protected, dim of clean]`.
///
/// Of all closest partial isometries, it is the one of minimum norm. If the dimensions differ, it still is one: as
/// far as the pairs reach, it keeps lengths on the whole space of the smaller side.
pub(super) fn on_the_span(protected: MatRef<'_, f64>, clean: MatRef<'_, f64>) -> Result<Mat<f64>, Error> {
    let Shrunk { u, v, .. } = Shrunk::fit(protected, clean)?;
    Ok(u * v.transpose())
}

/// Strengths of the shrinkage that are tried, in units of the strongest direction's weight.
pub(super) const SHRINKAGES: [f64; 4] = [1e-3, 0.01, 0.03, 0.1];

/// The map on the span, direction by direction: rows `x` go to `x · u · vᵀ`.
///
/// A singular value of `protectedᵀ · clean` is what the pairs say of one direction. Noise adds to all of them
/// equally, so the weakest are known least. Shrinking them by `weight / (weight + strength)` limits the harm.
pub(super) struct Shrunk {
    u: Mat<f64>,
    /// The weights, in units of the strongest.
    weights: Vec<f64>,
    v: Mat<f64>,
}

impl Shrunk {
    pub(super) fn fit(protected: MatRef<'_, f64>, clean: MatRef<'_, f64>) -> Result<Self, Error> {
        let Svd { u, weights, v } = svd((protected.transpose() * clean).as_ref())?;
        let strongest = weights.iter().copied().fold(0.0, f64::max);
        let weights = weights.iter().filter(|&&weight| weight > RANK * strongest).take(protected.nrows());
        let weights: Vec<f64> = weights.map(|weight| weight / strongest).collect();
        let [u, v] = [u, v].map(|side| side.subcols(0, weights.len()).to_owned());
        Ok(Self { u, weights, v })
    }

    pub(super) fn by(&self, strength: f64) -> Affine {
        let mut u = self.u.clone();
        for (mut column, weight) in u.col_iter_mut().zip(&self.weights) {
            column *= faer::Scale(weight / (weight + strength));
        }
        Affine::linear(u * self.v.transpose())
    }
}
