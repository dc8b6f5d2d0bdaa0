//! Chooses a map for an attacker who has pairs: the one that does best on held-out pairs.
//!
//! Candidates are tried in a fixed order, and one rule decides: a candidate replaces the best so far if it beats it
//! by its [`Margin`](candidate::Margin). [`turns`] come first: they undo a key and keep angles. [`followers`] come
//! second: they bring the turned vectors closer to the clean ones. Adding a map means adding a generator to one of
//! the two lists.

mod candidate;
mod few;
mod followers;
mod split;
mod turns;

use std::fmt;
use std::sync::Arc;

use faer::Mat;

use super::affine::Affine;
use super::denoiser::Denoiser;
use super::procrustes::on_the_span;
use super::{Alignment, Evidence};
use crate::Error;
use crate::permutation::order;
use candidate::Selection;
use followers::{FOLLOWERS, Trial};
pub use split::HELD_OUT_TOGETHER;
use split::Split;
use turns::Turns;

/// With fewer pairs than this, none is held out.
const FEW: usize = 6;
/// An error below this is rounding.
const ROUNDING: f64 = 1e-10;
/// An error below this needs neither clouds nor a network.
const SOLVED: f64 = 1e-4;
/// The source of a network's weights and batches, and of the starts of a map between clouds.
const SEED: u64 = 0;

/// How a map is made, so that it can be fitted again on all pairs.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) prior: Prior,
    /// The factor of the prior map, if the norms require one.
    pub(super) scale: Option<f64>,
    pub(super) then: Then,
}

/// A map that keeps angles, as far as the pairs determine it.
#[derive(Debug, Clone)]
pub(super) enum Prior {
    Identity,
    Permutation,
    SignedPermutation,
    Procrustes,
    /// The map between clouds, which is not fitted again.
    Clouds(Arc<Mat<f64>>),
    /// Between spaces only.
    Zero,
}

/// What follows the prior map.
#[derive(Debug, Clone)]
pub(super) enum Then {
    Nothing,
    /// Regression of what the prior map leaves; see [`STRENGTHS`](super::ridge::STRENGTHS).
    Ridge(f64),
    /// In place of the prior map, Procrustes with shrinkage; see [`SHRINKAGES`](super::procrustes::SHRINKAGES).
    Shrinkage(f64),
    /// A network that is already trained, because training takes long; it reads the vectors before the prior map.
    Network(Box<Denoiser>),
    Denoiser(Box<Alignment>),
}

/// Chooses the map that does best on held-out pairs.
pub(super) fn choose(evidence: &Evidence<'_>, with_network: bool) -> Result<Recipe, Error> {
    if evidence.protected.nrows() < FEW {
        return few::choose(evidence);
    }
    let split = Split::of(evidence);
    let turns = Turns::of(&split, evidence)?;
    let mut selection = Selection::from(turns.best.clone());
    let trial = Trial { evidence, split: &split, turns: &turns, with_network };
    for follow in FOLLOWERS {
        follow(&trial, &mut selection)?;
    }
    Ok(selection.best.recipe)
}

impl Prior {
    /// Fits the map on pairs.
    pub(super) fn map(&self, protected: &Mat<f64>, clean: &Mat<f64>) -> Result<Affine, Error> {
        let shape = (protected.ncols(), clean.ncols());
        Ok(Affine::linear(match self {
            Self::Identity => Mat::identity(shape.0, shape.1),
            Self::Permutation => order(protected.as_ref(), clean.as_ref(), false).matrix(),
            Self::SignedPermutation => order(protected.as_ref(), clean.as_ref(), true).matrix(),
            Self::Procrustes => on_the_span(protected.as_ref(), clean.as_ref())?,
            Self::Clouds(map) => Mat::clone(map),
            Self::Zero => Mat::zeros(shape.0, shape.1),
        }))
    }

    pub(super) fn is_identity(&self) -> bool {
        matches!(self, Self::Identity)
    }

    fn is_procrustes(&self) -> bool {
        matches!(self, Self::Procrustes)
    }
}

impl fmt::Display for Prior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "identity",
            Self::Permutation => "permutation",
            Self::SignedPermutation => "signed permutation",
            Self::Procrustes => "procrustes",
            Self::Clouds(_) => "clouds",
            Self::Zero => "zero",
        })
    }
}
