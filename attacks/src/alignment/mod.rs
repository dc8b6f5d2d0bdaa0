//! Maps with which an attacker who knows some pairs undoes a defense before the attack proper.
//!
//! [`Alignment`] is what such an attacker uses: it tries several maps and keeps the one that does best
//! on pairs that it was not fitted on. [`Procrustes`] is the one against rotations, by itself.

mod procrustes;
mod ridge;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::fmt;

use faer::{Mat, MatRef};
use ndarray::{Array2, ArrayView2, Axis};

pub use self::procrustes::Procrustes;
use self::procrustes::orthogonal;
use self::ridge::{Affine, Ridge, STRENGTHS};
use crate::Error;

/// Pairs below which there are too few to choose by.
const FEW: usize = 5;
/// A map must have less than this share of a simpler one's error to be preferred to it.
const BETTER: f64 = 0.99;
/// An error below this is rounding.
const ROUNDING: f64 = 1e-10;

/// The map from protected to clean vectors that does best on pairs it was not fitted on.
///
/// In this order, a later one only where its error is at least 1 % smaller:
///
/// 1. the vectors as they are,
/// 2. the orthogonal map of [`Procrustes`], which undoes a rotation,
/// 3. ridge regression of what the first or the second leaves, in a range of strengths. It removes
///    noise, as far as a linear map can: with many pairs it is the least-mean-square-error estimate.
///
/// Every fifth pair is held out to choose by; the error is 1 − the mean cosine. The one that is chosen
/// is fitted again on all pairs. Fewer than five pairs give Procrustes, with no choice.
///
/// ```
/// use embosk_attacks::alignment::Alignment;
/// use ndarray::{Array2, s};
///
/// let clean = Array2::from_shape_fn((20, 2), |(row, column)| (row * (column + 1)) as f32 - 5.0);
/// let mut swapped = clean.clone();
/// swapped.invert_axis(ndarray::Axis(1));
/// let map = Alignment::fit(swapped.view(), clean.view())?;
/// assert_eq!(map.to_string(), "procrustes");
/// let restored = map.apply(swapped.slice(s![..3, ..]))?;
/// assert!((restored - clean.slice(s![..3, ..])).iter().all(|difference| difference.abs() < 1e-4));
/// # Ok::<(), embosk_attacks::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Alignment {
    kind: Kind,
    map: Affine,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Pure(Prior),
    /// Regression of what the prior leaves; see [`STRENGTHS`].
    Ridge(Prior, f64),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Prior {
    Identity,
    Procrustes,
}

impl Alignment {
    /// Fits the maps on pairs: row `i` of `protected` and row `i` of `clean`, both `[pairs, dim]`, are
    /// of the same text. Sums are taken in `f64`.
    ///
    /// # Errors
    /// When there are no pairs, the shapes differ, or a value is not finite.
    pub fn fit(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<Self, Error> {
        check(protected, clean)?;
        let kind = choose(protected, clean)?;
        let (protected, clean) = (widen(protected), widen(clean));
        let map = match kind {
            Kind::Pure(prior) => prior.map(&protected, &clean)?,
            Kind::Ridge(prior, strength) => {
                Ridge::fit(&protected, &clean)?.around(&prior.map(&protected, &clean)?, strength)
            }
        };
        Ok(Self { kind, map })
    }

    /// The restored vectors, `[batch, dim]`. Their norms mean nothing: a regression shrinks.
    ///
    /// # Errors
    /// When `vectors` do not have the dimension that the map was fitted for.
    pub fn apply(&self, vectors: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        let (expected, found) = (self.map.dimension(), vectors.ncols());
        if expected != found {
            return Err(Error::Dimension { expected, found });
        }
        if self.kind == Kind::Pure(Prior::Identity) {
            return Ok(vectors.to_owned());
        }
        Ok(narrow(&self.map.apply(widen(vectors).as_ref())))
    }
}

/// The name of the map that was chosen.
impl fmt::Display for Alignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |prior: Prior| match prior {
            Prior::Identity => "identity",
            Prior::Procrustes => "procrustes",
        };
        match self.kind {
            Kind::Pure(prior) => f.write_str(name(prior)),
            Kind::Ridge(prior, strength) => write!(f, "ridge({}, lambda={strength})", name(prior)),
        }
    }
}

impl Prior {
    fn map(self, protected: &Mat<f64>, clean: &Mat<f64>) -> Result<Affine, Error> {
        Ok(Affine::linear(match self {
            Self::Identity => Mat::identity(protected.ncols(), protected.ncols()),
            Self::Procrustes => orthogonal(protected.as_ref(), clean.as_ref())?,
        }))
    }
}

fn choose(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<Kind, Error> {
    let pairs = protected.nrows();
    if pairs < FEW {
        return Ok(Kind::Pure(Prior::Procrustes));
    }
    let (held_out, fitted): (Vec<usize>, Vec<usize>) = (0..pairs).partition(|pair| pair % FEW == FEW - 1);
    let part = |vectors: ArrayView2<'_, f32>, rows: &[usize]| widen(vectors.select(Axis(0), rows).view());
    let (seen, target) = (part(protected, &fitted), part(clean, &fitted));
    let (unseen, truth) = (part(protected, &held_out), part(clean, &held_out));
    let error = |map: &Affine| 1.0 - mean_cosine(map.apply(unseen.as_ref()).as_ref(), truth.as_ref());
    let ridge = Ridge::fit(&seen, &target)?;
    let mut candidates = Vec::new();
    for prior in [Prior::Identity, Prior::Procrustes] {
        let map = prior.map(&seen, &target)?;
        candidates.push((Kind::Pure(prior), error(&map)));
        let around = |strength| (Kind::Ridge(prior, strength), error(&ridge.around(&map, strength)));
        candidates.extend(STRENGTHS.map(around));
    }
    candidates.sort_by_key(|(kind, _)| matches!(kind, Kind::Ridge(..)));
    let (mut best, mut least) = candidates[0];
    for &(kind, error) in &candidates[1..] {
        if least > ROUNDING && error < BETTER * least {
            (best, least) = (kind, error);
        }
    }
    Ok(best)
}

fn mean_cosine(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> f64 {
    let cosine = |(a, b): (faer::RowRef<'_, f64>, faer::RowRef<'_, f64>)| {
        let norms = a.norm_l2() * b.norm_l2();
        if norms > 0.0 { a * b.transpose() / norms } else { 0.0 }
    };
    a.row_iter().zip(b.row_iter()).map(cosine).sum::<f64>() / a.nrows() as f64
}

fn check(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<(), Error> {
    if protected.is_empty() {
        return Err(Error::Empty("the set of pairs to fit on"));
    }
    if protected.ncols() != clean.ncols() {
        return Err(Error::Dimension { expected: clean.ncols(), found: protected.ncols() });
    }
    if protected.nrows() != clean.nrows() {
        let (protected, clean) = (protected.nrows(), clean.nrows());
        return Err(Error::Setting(format!(
            "{protected} protected vectors do not pair with {clean} clean ones"
        )));
    }
    for vectors in [protected, clean] {
        let finite = |row: ndarray::ArrayView1<'_, f32>| row.iter().all(|value| value.is_finite());
        if let Some(row) = vectors.axis_iter(Axis(0)).position(|row| !finite(row)) {
            return Err(Error::NotFinite { row });
        }
    }
    Ok(())
}

fn widen(rows: ArrayView2<'_, f32>) -> Mat<f64> {
    Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| f64::from(rows[(row, column)]))
}

fn narrow(matrix: &Mat<f64>) -> Array2<f32> {
    Array2::from_shape_fn((matrix.nrows(), matrix.ncols()), |(row, column)| matrix[(row, column)] as f32)
}

fn not_converged() -> Error {
    Error::Setting("the matrix decomposition did not converge".into())
}
