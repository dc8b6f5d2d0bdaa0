//! Maps with which an attacker undoes a defense before the attack proper.
//!
//! [`Alignment`] is for one who knows some pairs: it tries several maps and keeps the one that does best
//! on pairs that it was not fitted on. [`Procrustes`] is the one against rotations, by itself, and
//! [`Denoiser`] the one against noise. [`Unpaired`] is for one who knows no pair at all.

mod affine;
mod choice;
mod denoiser;
mod procrustes;
mod ridge;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod unpaired;

use std::fmt;

use faer::Mat;
use ndarray::{Array2, ArrayView2, Axis};

use self::affine::Affine;
use self::choice::{Choice, Kind, choose};
pub use self::denoiser::Denoiser;
pub use self::procrustes::Procrustes;
pub use self::unpaired::Unpaired;
use crate::Error;

/// The map from protected to clean vectors that does best on pairs it was not fitted on.
///
/// In this order, a later one only where its error is at least 1 % smaller:
///
/// 1. the vectors as they are, scaled where their norms say so;
/// 2. the coordinates in another order ([`Permutation`](crate::structure::Permutation)), and with other
///    signs;
/// 3. the orthogonal map of [`Procrustes`], which undoes a rotation. With fewer pairs than dimensions it
///    is the one of minimum norm: what lies outside the span of the pairs becomes zero;
/// 4. ridge regression of what the best of these leaves, or of everything, in a range of strengths. It
///    removes noise as far as a linear map can: with many pairs it is the least-mean-square-error
///    estimate. With few it is of minimum norm, with shrinkage;
/// 5. the network of [`Denoiser`], from 2,000 pairs on. It takes most of a minute for 20,000 pairs of
///    384 dimensions, on two cores; [`fit_linear`](Self::fit_linear) goes without.
///
/// The two sides may differ in dimension, so that it also carries the vectors of one embedder into the
/// space of another (ALGEN, Chen, Xu & Bjerva 2025, arXiv 2502.11308); 1 and 2 are left out then.
///
/// Every fifth pair is held out to choose by; the error is 1 − the mean cosine. The one that is chosen is
/// fitted again on all pairs, save the network. Fewer than five pairs give 1 or 2 where these fit beyond
/// chance, and else 3.
///
/// ```
/// use embosk_attacks::alignment::Alignment;
/// use ndarray::{Array2, s};
///
/// let clean = Array2::from_shape_fn((20, 2), |(row, column)| (row * (column + 1)) as f32 - 5.0);
/// let mut swapped = clean.clone();
/// swapped.invert_axis(ndarray::Axis(1));
/// let map = Alignment::fit(swapped.view(), clean.view())?;
/// assert_eq!(map.to_string(), "permutation");
/// let restored = map.apply(swapped.slice(s![..3, ..]))?;
/// assert!((restored - clean.slice(s![..3, ..])).iter().all(|difference| difference.abs() < 1e-4));
/// # Ok::<(), embosk_attacks::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Alignment {
    kind: Kind,
    map: Map,
}

#[derive(Debug, Clone)]
enum Map {
    Affine(Affine),
    Network(Box<Denoiser>),
}

impl Alignment {
    /// Fits the maps on pairs: row `i` of `protected`, `[pairs, dim]`, and row `i` of `clean`,
    /// `[pairs, dim of clean]`, are of the same text. Sums are taken in `f64`.
    ///
    /// # Errors
    /// When there are no pairs, their numbers differ, or a value is not finite.
    pub fn fit(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<Self, Error> {
        check(protected, clean)?;
        let Choice { kind, scale, network } = choose(protected, clean, true)?;
        let map = match network {
            Some(network) => Map::Network(Box::new(network)),
            None => Map::Affine(kind.fit(&widen(protected), &widen(clean), scale)?),
        };
        Ok(Self { kind, map })
    }

    /// As [`fit`](Self::fit), without the network.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn fit_linear(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<Self, Error> {
        check(protected, clean)?;
        let (kind, map) = linear(protected, clean)?;
        Ok(Self { kind, map: Map::Affine(map) })
    }

    /// The restored vectors, `[batch, dim of clean]`. Their norms mean nothing where a regression or a
    /// network was chosen: both shrink.
    ///
    /// # Errors
    /// When `vectors` do not have the dimension that the map was fitted for.
    pub fn apply(&self, vectors: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        match &self.map {
            Map::Network(network) => network.apply(vectors),
            Map::Affine(map) => {
                check_dimension(map.dimension(), vectors)?;
                if self.kind.changes_nothing() {
                    return Ok(vectors.to_owned());
                }
                Ok(narrow(&map.apply(widen(vectors).as_ref())))
            }
        }
    }
}

/// The name of the map that was chosen.
impl fmt::Display for Alignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

/// The best map that is linear, for pairs that were checked.
fn linear(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<(Kind, Affine), Error> {
    let Choice { kind, scale, .. } = choose(protected, clean, false)?;
    Ok((kind, kind.fit(&widen(protected), &widen(clean), scale)?))
}

pub(crate) fn check(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<(), Error> {
    if protected.is_empty() || clean.is_empty() {
        return Err(Error::Empty("the set of pairs to fit on"));
    }
    if protected.nrows() != clean.nrows() {
        let (protected, clean) = (protected.nrows(), clean.nrows());
        return Err(Error::Setting(format!(
            "{protected} protected vectors do not pair with {clean} clean ones"
        )));
    }
    check_finite(protected)?;
    check_finite(clean)
}

pub(crate) fn check_finite(vectors: ArrayView2<'_, f32>) -> Result<(), Error> {
    let finite = |row: ndarray::ArrayView1<'_, f32>| row.iter().all(|value| value.is_finite());
    match vectors.axis_iter(Axis(0)).position(|row| !finite(row)) {
        Some(row) => Err(Error::NotFinite { row }),
        None => Ok(()),
    }
}

pub(crate) fn check_dimension(expected: usize, vectors: ArrayView2<'_, f32>) -> Result<(), Error> {
    match vectors.ncols() {
        found if found == expected => Ok(()),
        found => Err(Error::Dimension { expected, found }),
    }
}

fn widen(rows: ArrayView2<'_, f32>) -> Mat<f64> {
    Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| f64::from(rows[(row, column)]))
}

fn narrow(matrix: &Mat<f64>) -> Array2<f32> {
    Array2::from_shape_fn((matrix.nrows(), matrix.ncols()), |(row, column)| matrix[(row, column)] as f32)
}

pub(crate) fn not_converged() -> Error {
    Error::Setting("the matrix decomposition did not converge".into())
}
