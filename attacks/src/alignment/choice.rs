//! Which map an attacker with pairs takes: the one that does best on those he held out.

use std::fmt;

use faer::{Mat, MatRef};
use ndarray::{ArrayView2, Axis};

use super::affine::Affine;
use super::denoiser::Denoiser;
use super::procrustes::on_the_span;
use super::ridge::{Ridge, STRENGTHS};
use super::{narrow, widen};
use crate::Error;
use crate::structure::order;

/// Pairs below which there are too few to choose by.
const FEW: usize = 5;
/// Held-out pairs beyond this many would only cost time.
const HELD_OUT: usize = 1000;
/// A map must have less than this share of a simpler one's error to be preferred to it.
const BETTER: f64 = 0.99;
/// An error below this is rounding.
const ROUNDING: f64 = 1e-10;
/// Standard deviations that chance does not reach, and how far from 1 a scale must be to be one.
const CHANCE: f64 = 4.0;
const UNIT: f64 = 1e-3;
/// With more pairs a dimension than this, and more in all, Procrustes finds any permutation.
const PERMUTED: usize = 4;
const MANY: usize = 1000;
/// Pairs from which a network is worth its time, and the error below which none is needed.
const NETWORK: usize = 2000;
const SOLVED: f64 = 1e-4;
/// What a network draws its weights and batches from.
const SEED: u64 = 0;

pub(super) struct Choice {
    pub(super) kind: Kind,
    /// What the prior map is multiplied by.
    pub(super) scale: f64,
    pub(super) network: Option<Denoiser>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// A prior map, and whether it is scaled.
    Pure(Prior, bool),
    /// Regression of what the prior leaves; see [`STRENGTHS`].
    Ridge(Prior, f64),
    Network,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Prior {
    Identity,
    Permutation,
    SignedPermutation,
    Procrustes,
    Zero,
}

impl Kind {
    pub(super) fn changes_nothing(self) -> bool {
        self == Self::Pure(Prior::Identity, false)
    }

    pub(super) fn fit(self, protected: &Mat<f64>, clean: &Mat<f64>, scale: f64) -> Result<Affine, Error> {
        match self {
            Self::Ridge(prior, strength) => {
                let prior = prior.map(protected, clean)?.times(scale);
                Ok(Ridge::fit(protected, clean)?.around(&prior).of(strength))
            }
            Self::Pure(prior, _) => Ok(prior.map(protected, clean)?.times(scale)),
            Self::Network => Ok(Affine::linear(Mat::identity(protected.ncols(), clean.ncols()))),
        }
    }
}

impl Prior {
    fn map(self, protected: &Mat<f64>, clean: &Mat<f64>) -> Result<Affine, Error> {
        let shape = (protected.ncols(), clean.ncols());
        Ok(Affine::linear(match self {
            Self::Identity => Mat::identity(shape.0, shape.1),
            Self::Permutation => order(protected.as_ref(), clean.as_ref(), false).matrix(),
            Self::SignedPermutation => order(protected.as_ref(), clean.as_ref(), true).matrix(),
            Self::Procrustes => on_the_span(protected.as_ref(), clean.as_ref())?,
            Self::Zero => Mat::zeros(shape.0, shape.1),
        }))
    }
}

impl fmt::Display for Prior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identity => "identity",
            Self::Permutation => "permutation",
            Self::SignedPermutation => "signed permutation",
            Self::Procrustes => "procrustes",
            Self::Zero => "zero",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pure(prior, false) => prior.fmt(f),
            Self::Pure(Prior::Identity, true) => f.write_str("scaling"),
            Self::Pure(prior, true) => write!(f, "scaled {prior}"),
            Self::Ridge(prior, strength) => write!(f, "ridge({prior}, lambda={strength})"),
            Self::Network => f.write_str("network"),
        }
    }
}

/// The kind of map for these pairs; a network, which takes long, is trained already.
pub(super) fn choose(
    protected: ArrayView2<'_, f32>,
    clean: ArrayView2<'_, f32>,
    with_network: bool,
) -> Result<Choice, Error> {
    if protected.nrows() < FEW {
        return of_few(&widen(protected), &widen(clean));
    }
    let split = Split::of(protected, clean);
    let pure = split.best_prior()?;
    let best = split.best_ridge(pure)?;
    if with_network && protected.nrows() >= NETWORK && best.error > SOLVED {
        let network = network(protected, clean, &best.map)?;
        let restored = widen(network.apply(narrow(&split.unseen).view())?.view());
        if split.error(&restored) < BETTER * best.error {
            return Ok(Choice { kind: Kind::Network, scale: 1.0, network: Some(network) });
        }
    }
    Ok(Choice { kind: best.kind, scale: best.scale, network: None })
}

/// A map that was tried.
#[derive(Clone)]
struct Candidate {
    kind: Kind,
    scale: f64,
    map: Affine,
    error: f64,
}

impl Candidate {
    fn is_better_than(&self, other: &Self) -> bool {
        other.error > ROUNDING && self.error < BETTER * other.error
    }
}

/// The pairs, those to fit on apart from those to choose by.
struct Split {
    seen: Mat<f64>,
    target: Mat<f64>,
    unseen: Mat<f64>,
    truth: Mat<f64>,
}

fn is_held_out(pair: usize) -> bool {
    pair % FEW == FEW - 1
}

impl Split {
    fn of(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Self {
        let (mut held_out, fitted): (Vec<usize>, Vec<usize>) =
            (0..protected.nrows()).partition(|&pair| is_held_out(pair));
        held_out.truncate(HELD_OUT);
        let part = |vectors: ArrayView2<'_, f32>, rows: &[usize]| widen(vectors.select(Axis(0), rows).view());
        Self {
            seen: part(protected, &fitted),
            target: part(clean, &fitted),
            unseen: part(protected, &held_out),
            truth: part(clean, &held_out),
        }
    }

    fn error(&self, restored: &Mat<f64>) -> f64 {
        1.0 - mean_cosine(restored.as_ref(), self.truth.as_ref())
    }

    fn priors(&self) -> Vec<Prior> {
        let (from, to) = (self.seen.ncols(), self.target.ncols());
        let mut priors = Vec::new();
        if from == to {
            priors.push(Prior::Identity);
            if self.seen.nrows() <= MANY.max(PERMUTED * from) {
                priors.extend([Prior::Permutation, Prior::SignedPermutation]);
            }
        }
        priors.push(Prior::Procrustes);
        priors
    }

    fn best_prior(&self) -> Result<Candidate, Error> {
        let mut best: Option<Candidate> = None;
        for prior in self.priors() {
            if best.as_ref().is_some_and(|best| best.error <= ROUNDING) {
                break;
            }
            let map = prior.map(&self.seen, &self.target)?;
            let restored = map.apply(self.unseen.as_ref());
            // outside the span of the pairs a map of minimum norm loses length, which is no scaling
            let scale = match prior {
                Prior::Procrustes if self.seen.nrows() < self.seen.ncols().max(self.target.ncols()) => {
                    scale(&map.apply(self.seen.as_ref()), &self.target)
                }
                _ => scale(&restored, &self.truth),
            };
            let (kind, error) = (Kind::Pure(prior, scale.is_some()), self.error(&restored));
            let scale = scale.unwrap_or(1.0);
            let candidate = Candidate { kind, scale, map: map.times(scale), error };
            if best.as_ref().is_none_or(|best| candidate.is_better_than(best)) {
                best = Some(candidate);
            }
        }
        best.ok_or(Error::Empty("the set of maps to try"))
    }

    /// The best regression around `pure` or, between spaces, around zero, where one is better than `pure`
    /// itself.
    fn best_ridge(&self, pure: Candidate) -> Result<Candidate, Error> {
        let Kind::Pure(prior, _) = pure.kind else { return Ok(pure) };
        if pure.error <= ROUNDING {
            return Ok(pure);
        }
        let ridge = Ridge::fit(&self.seen, &self.target)?;
        let zero = Affine::linear(Mat::zeros(pure.map.dimension(), self.target.ncols()));
        let mut best = pure.clone();
        let mut around = vec![(prior, pure.scale, &pure.map)];
        // within a space, what few pairs do not span is lost around zero: the mean cosine gains by it,
        // and the details by which texts of one kind are told apart are gone
        if self.seen.ncols() != self.target.ncols() {
            around.push((Prior::Zero, 1.0, &zero));
        }
        for (prior, scale, around) in around {
            let around = ridge.around(around);
            for strength in STRENGTHS {
                let map = around.of(strength);
                let error = self.error(&map.apply(self.unseen.as_ref()));
                let candidate = Candidate { kind: Kind::Ridge(prior, strength), scale, map, error };
                if candidate.is_better_than(&best) {
                    best = candidate;
                }
            }
        }
        Ok(best)
    }
}

/// A network around a linear map, trained on the pairs that are not held out.
fn network(
    protected: ArrayView2<'_, f32>,
    clean: ArrayView2<'_, f32>,
    around: &Affine,
) -> Result<Denoiser, Error> {
    let fitted: Vec<usize> = (0..protected.nrows()).filter(|&pair| !is_held_out(pair)).collect();
    let (protected, clean) = (protected.select(Axis(0), &fitted), clean.select(Axis(0), &fitted));
    Denoiser::around(around, protected.view(), None, clean.view(), SEED)
}

/// Where there are too few pairs to hold some out: a map that cannot fit by chance does, or Procrustes.
fn of_few(protected: &Mat<f64>, clean: &Mat<f64>) -> Result<Choice, Error> {
    let choice = |prior, restored: &Mat<f64>| {
        let scale = scale(restored, clean);
        Choice { kind: Kind::Pure(prior, scale.is_some()), scale: scale.unwrap_or(1.0), network: None }
    };
    let dimension = protected.ncols();
    if dimension == clean.ncols() {
        // the cosine of unrelated vectors has a standard deviation of 1 / √dimension
        if mean_cosine(protected.as_ref(), clean.as_ref()) * (dimension as f64).sqrt() > CHANCE {
            return Ok(choice(Prior::Identity, protected));
        }
        for prior in [Prior::Permutation, Prior::SignedPermutation] {
            let restored = prior.map(protected, clean)?.apply(protected.as_ref());
            if 1.0 - mean_cosine(restored.as_ref(), clean.as_ref()) < ROUNDING {
                return Ok(choice(prior, &restored));
            }
        }
    }
    let restored = Prior::Procrustes.map(protected, clean)?.apply(protected.as_ref());
    Ok(choice(Prior::Procrustes, &restored))
}

/// What `restored` must be multiplied by to have the norms of `clean`, where that is not 1 within the
/// error of the estimate.
///
/// It is the inverse of the slope of `restored` on `clean`, which noise in `restored` does not move.
fn scale(restored: &Mat<f64>, clean: &Mat<f64>) -> Option<f64> {
    let slopes = restored.row_iter().zip(clean.row_iter()).filter_map(|(restored, clean)| {
        let square = clean.squared_norm_l2();
        (square > 0.0).then(|| restored * clean.transpose() / square)
    });
    let slopes: Vec<f64> = slopes.collect();
    let count = slopes.len() as f64;
    let mean = slopes.iter().sum::<f64>() / count;
    let variance = slopes.iter().map(|slope| (slope - mean).powi(2)).sum::<f64>() / count;
    let deviation = (mean - 1.0).abs();
    let is_clear = deviation > UNIT && deviation > CHANCE * (variance / count).sqrt();
    (is_clear && mean > 0.0 && mean.is_finite()).then(|| 1.0 / mean)
}

pub(super) fn mean_cosine(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> f64 {
    let cosine = |(a, b): (faer::RowRef<'_, f64>, faer::RowRef<'_, f64>)| {
        let norms = a.norm_l2() * b.norm_l2();
        if norms > 0.0 { a * b.transpose() / norms } else { 0.0 }
    };
    a.row_iter().zip(b.row_iter()).map(cosine).sum::<f64>() / a.nrows() as f64
}
