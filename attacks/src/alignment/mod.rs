//! Maps with which an attacker undoes a defense before the attack proper.
//!
//! [`Alignment`] is for one who knows some pairs: it tries several maps and keeps the one that does best
//! on pairs that it was not fitted on. [`Procrustes`] is the one against rotations, by itself, and
//! [`Denoiser`] the one against noise. [`Unpaired`] is for one who knows no pair at all.

mod affine;
mod choice;
mod denoiser;
mod lengths;
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
use self::choice::{Choice, Prior, Then, choose};
pub use self::denoiser::Denoiser;
use self::lengths::mean_cosine;
pub use self::procrustes::Procrustes;
use self::procrustes::Shrunk;
use self::ridge::Ridge;
pub use self::unpaired::{Clouds, Unpaired};
use crate::Error;

/// The map from protected to clean vectors that does best on pairs it was not fitted on.
///
/// First, of the maps that keep angles, in this order and a later one only where its error is at least 1 %
/// smaller:
///
/// 1. the vectors as they are;
/// 2. the coordinates in another order ([`Permutation`](crate::structure::Permutation)), and with other
///    signs;
/// 3. the orthogonal map of [`Procrustes`], which undoes a rotation. With fewer pairs than dimensions it
///    is the one of minimum norm: what lies outside the span of the pairs becomes zero;
/// 4. where there are clouds ([`Evidence::clouds`]) and the pairs alone leave more than the noise
///    ([`Denoising::error`]), the order of the coordinates by pairs and distributions
///    ([`Permutation::fit_with`](crate::structure::Permutation::fit_with)), and the map of [`Unpaired`] by pairs
///    and clouds together, in several proportions.
///
/// Each is scaled where the norms say so. Then what brings vectors closer to the clean ones:
///
/// 5. ridge regression of what the map leaves, in a range of strengths. It removes noise as far as a
///    linear map can: with many pairs it is the least-mean-square-error estimate;
/// 6. where 3 was taken, the same map with shrinkage: a direction counts the less, the less the pairs say of
///    it. With noise and few pairs for each dimension this does better than regression;
/// 7. [`Evidence::denoiser`], where there is one, on vectors as long as it knows them: behind no map, behind that
///    of the pairs and behind that of the clouds. So the latter is not charged with the noise that fewer pairs than
///    dimensions leave out with all that they do not span; and as it completes them, it is taken there unless it is
///    worse by four standard errors;
/// 8. the network of [`Denoiser`], from 2,000 pairs on. It takes most of a minute for 20,000 pairs of
///    384 dimensions, on two cores; [`fit_linear`](Self::fit_linear) goes without.
///
/// The two sides may differ in dimension, so that it also carries the vectors of one embedder into the
/// space of another (ALGEN, Chen, Xu & Bjerva 2025, arXiv 2502.11308); 1, 2 and 4 are left out then, and
/// the regression may be around zero.
///
/// Every fifth pair is held out to choose by, of fewer than 15 every third; the error is 1 − the mean cosine, and a gain smaller than its
/// standard error is none. The map that is chosen is fitted again on all pairs, save the network and the
/// clouds. Fewer than six pairs, of which none can be held out, give 1 or 2 where these fit beyond chance, else
/// the map of the clouds where [`Unpaired::score`] or the pairs say that it was found, and else 3; behind it
/// 7, as it is.
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
    /// The map that keeps angles, as far as there is one.
    turn: Affine,
    /// Whether the turn leads into another embedder's space.
    between_spaces: bool,
    then: Then,
    /// The regression, or the shrunk map, where one follows; it is of the vectors before the turn.
    ridge: Option<Affine>,
}

/// What an attacker fits a map on.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// Row `i`, `[pairs, dim]`, is of the same text as row `i` of `clean`.
    pub protected: ArrayView2<'a, f32>,
    /// `[pairs, dim of clean]`.
    pub clean: ArrayView2<'a, f32>,
    /// Protected vectors and those of other texts of the same kind, where the dimensions agree.
    pub clouds: Option<Clouds<'a>>,
    /// What he learnt of the noise from pairs of his own making.
    pub denoiser: Option<&'a Denoising>,
    /// Whether the clean vectors are another embedder's than the protected ones. Where the dimensions
    /// differ, they are.
    pub between_spaces: bool,
}

/// What removes the noise of vectors in the clean space.
#[derive(Debug, Clone)]
pub struct Denoising {
    /// The map from such vectors to clean ones.
    pub map: Alignment,
    /// The mean norm of the vectors that it was fitted on.
    pub norm: f32,
    /// Their error, 1 − the mean cosine to the clean ones: all that is left where the key is undone. Between
    /// spaces it means nothing.
    pub error: f64,
}

impl Denoising {
    /// With a map that was fitted on these pairs, whose key was undone or never was.
    pub fn new(map: Alignment, pairs: &Evidence<'_>) -> Self {
        let norms = pairs.protected.rows().into_iter().map(|row| row.dot(&row).sqrt());
        let norm = norms.sum::<f32>() / pairs.protected.nrows() as f32;
        let error = if pairs.is_between_spaces() {
            0.0
        } else {
            1.0 - mean_cosine(widen(pairs.protected).as_ref(), widen(pairs.clean).as_ref())
        };
        Self { map, norm, error }
    }
}

impl<'a> Evidence<'a> {
    /// Pairs, and nothing else: row `i` of `protected`, `[pairs, dim]`, and row `i` of `clean`,
    /// `[pairs, dim of clean]`, are of the same text.
    pub fn pairs(protected: ArrayView2<'a, f32>, clean: ArrayView2<'a, f32>) -> Self {
        Self { protected, clean, clouds: None, denoiser: None, between_spaces: false }
    }

    fn is_between_spaces(&self) -> bool {
        self.between_spaces || self.protected.ncols() != self.clean.ncols()
    }
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

    /// As [`fit`](Self::fit), without the network.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn fit_linear(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<Self, Error> {
        Self::of(&Evidence::pairs(protected, clean), false)
    }

    /// As [`fit`](Self::fit), with all that an attacker has.
    ///
    /// # Errors
    /// As [`fit`](Self::fit) and [`Unpaired::fit_on`], and when the denoiser takes vectors of another
    /// dimension than the clean ones'.
    pub fn fit_on(evidence: &Evidence<'_>) -> Result<Self, Error> {
        Self::of(evidence, true)
    }

    fn of(evidence: &Evidence<'_>, with_network: bool) -> Result<Self, Error> {
        check(evidence.protected, evidence.clean)?;
        let Choice { prior, scale, then, clouds } = choose(evidence, with_network)?;
        let (protected, clean) = (widen(evidence.protected), widen(evidence.clean));
        let factor = scale.unwrap_or(1.0);
        let turn = prior.map(&protected, &clean, clouds.as_ref())?.times(factor);
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

    /// The restored vectors, `[batch, dim of clean]`: the best estimate of the clean ones. Their norms mean
    /// nothing where a regression or a network was chosen: both shrink.
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

    /// The vectors in the clean ones' space, `[batch, dim of clean]`, with all their noise: what is left of
    /// the map where it keeps angles. Between spaces there is no such map, and it is [`apply`](Self::apply).
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

    /// Whether the space is turned: a rotation, a permutation or signs were undone, and not noise or a scale
    /// alone.
    pub fn is_turn(&self) -> bool {
        self.prior != Prior::Identity
    }

    /// The name of the map that [`observed`](Self::observed) applies, without what removes noise.
    pub fn turn_name(&self) -> String {
        match (self.prior, self.scaled) {
            (prior, false) => prior.to_string(),
            (Prior::Identity, true) => "scaling".into(),
            (prior, true) => format!("scaled {prior}"),
        }
    }

    /// Whether it leaves vectors as they are.
    fn is_identity(&self) -> bool {
        self.prior == Prior::Identity && !self.scaled && matches!(self.then, Then::Nothing)
    }

    fn turned(&self, vectors: ArrayView2<'_, f32>) -> Array2<f32> {
        if self.prior == Prior::Identity && !self.scaled {
            return vectors.to_owned();
        }
        narrow(&self.turn.apply(widen(vectors).as_ref()))
    }
}

/// The name of the map that was chosen.
impl fmt::Display for Alignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let turn = self.turn_name();
        match &self.then {
            Then::Nothing => f.write_str(&turn),
            Then::Ridge(strength) => write!(f, "ridge({}, lambda={strength})", self.prior),
            Then::Shrinkage(strength) => write!(f, "shrunk {}(lambda={strength})", self.prior),
            Then::Network(_) => f.write_str("network"),
            Then::Denoiser(denoiser) if turn == "identity" => denoiser.fmt(f),
            Then::Denoiser(denoiser) => write!(f, "{turn}, then {denoiser}"),
        }
    }
}

/// The best map that is linear.
fn linear(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<Affine, Error> {
    let Alignment { turn, ridge, .. } = Alignment::fit_linear(protected, clean)?;
    Ok(ridge.unwrap_or(turn))
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
