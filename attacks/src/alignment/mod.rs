//! Maps that undo a defense before the actual attack.
//!
//! [`Alignment`] is for an attacker who knows some pairs: it tries several maps and keeps the one that does best on
//! pairs that it was not fitted on. Of these maps, [`Procrustes`] undoes rotations and [`Denoiser`] removes noise.
//! [`CloudMap`] is for an attacker who knows no pairs.

mod affine;
mod choice;
mod denoiser;
mod evidence;
mod lengths;
mod procrustes;
mod ridge;
mod space;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod unpaired;

use std::fmt;

use faer::Mat;
use ndarray::{Array2, ArrayView2};

use self::affine::Affine;
pub use self::choice::HELD_OUT_TOGETHER;
use self::choice::{Prior, Recipe, Then, choose};
pub use self::denoiser::Denoiser;
pub use self::evidence::{Denoising, Evidence};
pub use self::procrustes::Procrustes;
use self::procrustes::Shrunk;
use self::ridge::Ridge;
pub use self::space::SpaceMap;
pub use self::unpaired::{CloudMap, Clouds, LEAST_CLOUD};
use crate::Error;
use crate::check::{check, check_dimension};

/// The map from protected to clean vectors that does best on pairs it was not fitted on.
///
/// Candidates are tried in a fixed order. Each replaces the best so far only if its error is smaller by at least 1 %
/// and by more than one standard error. The error is 1 − the mean cosine on every fifth pair, which is held out (with
/// fewer than 15 pairs, every third).
///
/// The first candidates keep angles, to undo a key. Each is scaled if the norms require it:
///
/// 1. the vectors as they are;
/// 2. the coordinates in another order ([`FoundPermutation`](crate::structure::FoundPermutation)), and with other
///    signs;
/// 3. the orthogonal map of [`Procrustes`], which undoes a rotation. With fewer pairs than dimensions, it is the one
///    of minimum norm: what lies outside the span of the pairs becomes zero;
/// 4. if there are clouds ([`Evidence::clouds`]) and the pairs alone leave more than the noise
///    ([`Denoising::error`]): the order of the coordinates by pairs and distributions
///    ([`FoundPermutation::fit_with`](crate::structure::FoundPermutation::fit_with)), and the map of [`CloudMap`] by
///    pairs and clouds together, in several proportions.
///
/// The others follow the best of these, to bring vectors closer to the clean ones:
///
/// 5. ridge regression of what the map leaves, in a range of strengths. It removes noise as far as a
///    linear map can: with many pairs it is the least-mean-square-error estimate;
/// 6. if 3 was taken, the same map with shrinkage: the less the pairs say of a direction, the less it counts. With
///    noise and few pairs per dimension, this does better than regression;
/// 7. [`Evidence::denoiser`], if there is one, after no map, after that of the pairs and after that of the clouds, on
///    vectors scaled to the lengths that it was fitted for. With fewer pairs than dimensions, the map of the pairs
///    drops what they do not span, noise included. Only after denoising can it be compared with the map of the
///    clouds, which completes it. The clouds are then taken unless they are worse by four standard errors;
/// 8. the network of [`Denoiser`], from 2,000 pairs on. It takes most of a minute for 20,000 pairs of 384 dimensions,
///    on two cores; [`fit_linear`](Self::fit_linear) leaves it out.
///
/// The chosen map is fitted again on all pairs, except for the network and the clouds.
///
/// The two sides may differ in dimension, so that the map also carries the vectors of one embedder into the
/// space of another (ALGEN, Chen, Xu & Bjerva 2025, arXiv 2502.11308). Then 1, 2 and 4 are left out, and
/// regression may be around zero.
///
/// With fewer than six pairs, none can be held out. The map is then 1 or 2 if these fit beyond chance, that of the
/// clouds if [`CloudMap::score`] or the pairs say that it was found, and otherwise 3. The denoiser of 7 follows
/// unchanged.
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
    prior: Prior,
    scaled: bool,
    /// The map that keeps angles, if there is one.
    turn: Affine,
    /// Whether the map leads into another embedder's space.
    between_spaces: bool,
    then: Then,
    /// The regression or the shrunk map, if one follows; it reads the vectors before the turn.
    ridge: Option<Affine>,
}

impl Alignment {
    /// Fits the maps on pairs: row `i` of `protected`, `[pairs, dim]`, and row `i` of `clean`,
    /// `[pairs, dim of clean]`, are of the same text. Sums are taken in `f64`.
    ///
    /// # Errors
    /// When there are no pairs, their numbers differ, or a value is not finite.
    pub fn fit(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<Self, Error> {
        Self::of(&Evidence::pairs(protected, clean), true)
    }

    /// Fits the maps as [`fit`](Self::fit) does, but trains no network.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn fit_linear(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<Self, Error> {
        Self::of(&Evidence::pairs(protected, clean), false)
    }

    /// Fits the maps as [`fit`](Self::fit) does, with all evidence that an attacker has.
    ///
    /// # Errors
    /// As [`fit`](Self::fit) and [`CloudMap::fit_on`], and when the denoiser takes vectors of another
    /// dimension than the clean ones'.
    pub fn fit_on(evidence: &Evidence<'_>) -> Result<Self, Error> {
        Self::of(evidence, true)
    }

    fn of(evidence: &Evidence<'_>, with_network: bool) -> Result<Self, Error> {
        check(evidence.protected, evidence.clean)?;
        let Recipe { prior, scale, then } = choose(evidence, with_network)?;
        let (protected, clean) = (widen(evidence.protected), widen(evidence.clean));
        let factor = scale.unwrap_or(1.0);
        let turn = prior.map(&protected, &clean)?.times(factor);
        let ridge = match then {
            Then::Ridge(strength) => Some(Ridge::fit(&protected, &clean)?.around(&turn).of(strength)),
            Then::Shrinkage(strength) => {
                Some(Shrunk::fit(protected.as_ref(), clean.as_ref())?.by(strength).times(factor))
            }
            _ => None,
        };
        let between_spaces = evidence.is_between_spaces();
        Ok(Self { prior, scaled: scale.is_some(), turn, between_spaces, then, ridge })
    }

    /// Returns the restored vectors, `[batch, dim of clean]`: the best estimate of the clean ones. Their norms mean
    /// nothing if a regression or a network was chosen, because both shrink.
    ///
    /// # Errors
    /// When `vectors` do not have the dimension that the map was fitted for.
    pub fn apply(&self, vectors: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        check_dimension(self.turn.dimension(), vectors)?;
        match (&self.then, &self.ridge) {
            (Then::Network(network), _) => network.apply(vectors),
            (Then::Denoiser(denoiser), _) => denoiser.apply(self.turned(vectors).view()),
            (_, Some(ridge)) => Ok(narrow(&ridge.apply(widen(vectors).as_ref()))),
            _ => Ok(self.turned(vectors)),
        }
    }

    /// Returns the vectors in the clean ones' space, `[batch, dim of clean]`, with all their noise: only the part of
    /// the map that keeps angles is applied. Between spaces there is no such part, and the result is that of
    /// [`apply`](Self::apply).
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn observed(&self, vectors: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        if self.between_spaces {
            return self.apply(vectors);
        }
        check_dimension(self.turn.dimension(), vectors)?;
        match &self.then {
            Then::Denoiser(denoiser) => denoiser.observed(self.turned(vectors).view()),
            _ => Ok(self.turned(vectors)),
        }
    }

    /// Returns whether the map undoes a rotation, a permutation or signs, and not only noise or a scale.
    pub fn is_turn(&self) -> bool {
        !self.prior.is_identity()
    }

    /// Returns the name of the map that [`observed`](Self::observed) applies, without what removes noise.
    pub fn turn_name(&self) -> String {
        match (&self.prior, self.scaled) {
            (prior, false) => prior.to_string(),
            (Prior::Identity, true) => "scaling".into(),
            (prior, true) => format!("scaled {prior}"),
        }
    }

    /// Returns whether the map leaves vectors unchanged.
    pub fn is_identity(&self) -> bool {
        !self.turns_or_scales() && matches!(self.then, Then::Nothing)
    }

    fn turns_or_scales(&self) -> bool {
        self.is_turn() || self.scaled
    }

    fn turned(&self, vectors: ArrayView2<'_, f32>) -> Array2<f32> {
        if !self.turns_or_scales() {
            return vectors.to_owned();
        }
        narrow(&self.turn.apply(widen(vectors).as_ref()))
    }
}

/// Prints the name of the map that was chosen.
impl fmt::Display for Alignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let turn = self.turn_name();
        match &self.then {
            Then::Nothing => f.write_str(&turn),
            Then::Ridge(strength) => write!(f, "ridge({}, lambda={strength})", self.prior),
            Then::Shrinkage(strength) => write!(f, "shrunk {}(lambda={strength})", self.prior),
            Then::Network(_) => f.write_str("network"),
            Then::Denoiser(denoiser) if !self.turns_or_scales() => denoiser.fmt(f),
            Then::Denoiser(denoiser) => write!(f, "{turn}, then {denoiser}"),
        }
    }
}

/// The best map that is linear.
fn linear(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<Affine, Error> {
    let Alignment { turn, ridge, .. } = Alignment::fit_linear(protected, clean)?;
    Ok(ridge.unwrap_or(turn))
}

fn widen(rows: ArrayView2<'_, f32>) -> Mat<f64> {
    Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| f64::from(rows[(row, column)]))
}

fn narrow(matrix: &Mat<f64>) -> Array2<f32> {
    Array2::from_shape_fn((matrix.nrows(), matrix.ncols()), |(row, column)| matrix[(row, column)] as f32)
}
