//! Which map an attacker with pairs takes: the one that does best on those he held out.

use std::fmt;

use faer::Mat;
use ndarray::{Array2, ArrayView2, Axis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::affine::Affine;
use super::denoiser::Denoiser;
use super::lengths::{CHANCE, cosines, longer, mean, mean_cosine, scale};
use super::procrustes::{SHRINKAGES, Shrunk, on_the_span};
use super::ridge::{Ridge, STRENGTHS};
use super::{Alignment, Clouds, Denoising, Evidence, Unpaired, narrow, widen};
use crate::Error;
use crate::structure::{Permutation, order};

/// Pairs below which there are too few to choose by.
const FEW: usize = 6;
/// Every so many pairs one is held out, and where that would be fewer than three, every so many.
const EVERY: usize = 5;
const EVERY_OF_FEW: usize = 3;
/// Held-out pairs beyond this many would only cost time.
const HELD_OUT: usize = 1000;
/// A map must have less than this share of a simpler one's error to be preferred to it.
const BETTER: f64 = 0.99;
/// An error below this is rounding.
const ROUNDING: f64 = 1e-10;
/// With more pairs a dimension than this, and more in all, Procrustes finds any permutation.
const PERMUTED: usize = 4;
const MANY: usize = 1000;
/// Where pairs leave less than this times the error of the noise alone, the clouds add nothing to them.
const AS_GOOD: f64 = 1.05;
/// How much a pair counts beside vectors of the clouds that are held against each other.
const WEIGHTS: [f64; 4] = [1.0, 10.0, 100.0, 1000.0];
/// Pairs from which a network is worth its time, and the error below which none is needed.
const NETWORK: usize = 2000;
const SOLVED: f64 = 1e-4;
/// What a network draws its weights and batches from, and a map between clouds its starts.
const SEED: u64 = 0;

/// What was chosen.
pub(super) struct Choice {
    pub(super) prior: Prior,
    /// What the prior map is multiplied by, where its norms say so.
    pub(super) scale: Option<f64>,
    pub(super) then: Then,
    /// The map of [`Prior::Clouds`].
    pub(super) clouds: Option<Mat<f64>>,
}

/// What follows the prior map.
#[derive(Debug, Clone)]
pub(super) enum Then {
    Nothing,
    /// Regression of what the prior leaves; see [`STRENGTHS`].
    Ridge(f64),
    /// In place of the prior map, Procrustes with shrinkage; see [`SHRINKAGES`].
    Shrinkage(f64),
    /// Trained already, as that takes long; it is of the vectors before the prior map.
    Network(Box<Denoiser>),
    Denoiser(Box<Alignment>),
}

/// A map that keeps angles, as far as the pairs determine it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Prior {
    Identity,
    Permutation,
    SignedPermutation,
    Procrustes,
    Clouds,
    /// Between spaces only.
    Zero,
}

impl Prior {
    pub(super) fn map(
        self,
        protected: &Mat<f64>,
        clean: &Mat<f64>,
        clouds: Option<&Mat<f64>>,
    ) -> Result<Affine, Error> {
        let shape = (protected.ncols(), clean.ncols());
        Ok(Affine::linear(match (self, clouds) {
            (Self::Clouds, Some(map)) => map.clone(),
            (Self::Identity, _) => Mat::identity(shape.0, shape.1),
            (Self::Permutation, _) => order(protected.as_ref(), clean.as_ref(), false).matrix(),
            (Self::SignedPermutation, _) => order(protected.as_ref(), clean.as_ref(), true).matrix(),
            (Self::Procrustes, _) => on_the_span(protected.as_ref(), clean.as_ref())?,
            (Self::Zero | Self::Clouds, _) => Mat::zeros(shape.0, shape.1),
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
            Self::Clouds => "clouds",
            Self::Zero => "zero",
        })
    }
}

pub(super) fn choose(evidence: &Evidence<'_>, with_network: bool) -> Result<Choice, Error> {
    let Evidence { protected, clean, clouds, denoiser, .. } = evidence.clone();
    let another_space = evidence.is_between_spaces();
    if protected.nrows() < FEW {
        return of_few(evidence);
    }
    let mut split = Split::of(protected, clean, another_space);
    let by_pairs = split.best_prior()?;
    // fewer pairs than dimensions leave out what they do not span, noise too
    let is_part = by_pairs.prior == Prior::Procrustes && protected.nrows() < protected.ncols();
    let noise = denoiser.map_or(0.0, |denoiser| denoiser.error);
    let is_short = by_pairs.error() > SOLVED && (is_part || by_pairs.error() > AS_GOOD * noise);
    let clouds = clouds.filter(|_| is_short && !another_space);
    let by_clouds = clouds.map(|clouds| split.best_of_clouds(clouds)).transpose()?;
    let prior = by_clouds.iter().find(|it| it.is_better_than(&by_pairs)).unwrap_or(&by_pairs).clone();
    let mut best = split.best_shrunk(&prior, split.best_ridge(prior.clone())?)?;
    if let Some(denoiser) = denoiser.filter(|it| prior.error() > ROUNDING && !it.map.is_identity()) {
        // where clean vectors span a part of the space, Procrustes takes noise away and so beats identity,
        // though nothing was turned; and so it beats the clouds, whose map keeps all noise
        let unturned =
            (by_pairs.prior != Prior::Identity && !another_space).then(|| split.prior(Prior::Identity));
        let unturned = unturned.transpose()?;
        // so few pairs are completed by the clouds, and too few of them are held out to say so
        let is_begun = is_part && unturned.as_ref().is_some_and(|it| it.error() > AS_GOOD * noise);
        for before in unturned.into_iter().chain([by_pairs]).chain(by_clouds) {
            let candidate = split.denoised(before, denoiser)?;
            let completes = is_begun && candidate.prior == Prior::Clouds;
            if candidate.is_better_than(&best) || completes && !best.is_better_by(CHANCE, &candidate) {
                best = candidate;
            }
        }
    }
    let many = protected.nrows() >= NETWORK && best.error() > SOLVED;
    if with_network && many && !matches!(best.then, Then::Denoiser(_)) {
        let network = network(protected, clean, &best.map)?;
        let errors = split.errors(&widen(network.apply(narrow(&split.unseen).view())?.view()));
        let candidate = Candidate { then: Then::Network(Box::new(network)), errors, ..best.clone() };
        best = if candidate.is_better_than(&best) { candidate } else { best };
    }
    Ok(Choice { prior: best.prior, scale: best.scale, then: best.then, clouds: split.clouds })
}

/// A map that was tried.
#[derive(Clone)]
struct Candidate {
    prior: Prior,
    scale: Option<f64>,
    then: Then,
    /// As far as it is affine.
    map: Affine,
    /// 1 − the cosine, of each held-out pair.
    errors: Vec<f64>,
}

impl Candidate {
    fn error(&self) -> f64 {
        mean(&self.errors)
    }

    /// By as much as chance moves it.
    fn is_better_than(&self, other: &Self) -> bool {
        self.is_better_by(1.0, other)
    }

    /// By more than its share and, as few pairs say little, by more than so many standard errors of the
    /// difference.
    fn is_better_by(&self, standard_errors: f64, other: &Self) -> bool {
        let gains: Vec<f64> = other.errors.iter().zip(&self.errors).map(|(other, own)| other - own).collect();
        let gain = mean(&gains);
        let variance = gains.iter().map(|it| (it - gain).powi(2)).sum::<f64>() / (gains.len() as f64 - 1.0);
        let chance = standard_errors * (variance / gains.len() as f64).sqrt();
        other.error() > ROUNDING && self.error() < BETTER * other.error() && gain > chance
    }
}

/// The pairs, those to fit on apart from those to choose by.
struct Split {
    seen: Mat<f64>,
    target: Mat<f64>,
    unseen: Mat<f64>,
    truth: Mat<f64>,
    another_space: bool,
    clouds: Option<Mat<f64>>,
}

fn is_held_out(pair: usize, of: usize) -> bool {
    let every = if of < 3 * EVERY { EVERY_OF_FEW } else { EVERY };
    pair % every == every - 1
}

impl Split {
    fn of(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>, another_space: bool) -> Self {
        let (mut held_out, fitted): (Vec<usize>, Vec<usize>) =
            (0..protected.nrows()).partition(|&pair| is_held_out(pair, protected.nrows()));
        held_out.truncate(HELD_OUT);
        let part = |vectors: ArrayView2<'_, f32>, rows: &[usize]| widen(vectors.select(Axis(0), rows).view());
        Self {
            seen: part(protected, &fitted),
            target: part(clean, &fitted),
            unseen: part(protected, &held_out),
            truth: part(clean, &held_out),
            another_space,
            clouds: None,
        }
    }

    /// What the clouds say: the order of the coordinates by how they are distributed, or a rotation.
    fn best_of_clouds(&mut self, clouds: Clouds<'_>) -> Result<Candidate, Error> {
        let (seen, target) = (narrow(&self.seen), narrow(&self.target));
        let order = Permutation::fit_with(seen.view(), target.view(), clouds.protected, clouds.own)?;
        let of_order = self.by_clouds(order.matrix())?;
        if of_order.error() <= SOLVED {
            return Ok(of_order);
        }
        let pairs = (seen.view(), target.view());
        let found = Unpaired::fit_on(&clouds, Some(pairs), &mut ChaCha8Rng::seed_from_u64(SEED))?;
        let mut best = self.by_clouds(found.matrix())?;
        for map in std::iter::once(Ok(order.matrix())).chain(found.matrices_by(&WEIGHTS)) {
            let before = self.clouds.take();
            let candidate = self.by_clouds(map?)?;
            if candidate.is_better_than(&best) {
                best = candidate;
            } else {
                self.clouds = before;
            }
        }
        Ok(best)
    }

    fn by_clouds(&mut self, map: Mat<f64>) -> Result<Candidate, Error> {
        self.clouds = Some(map);
        self.prior(Prior::Clouds)
    }

    /// The map, and behind it the denoiser: with the lengths that this knows, in place of those of clean vectors, as
    /// what noise remains is in proportion to them.
    fn denoised(&self, before: Candidate, denoiser: &Denoising) -> Result<Candidate, Error> {
        let plain = before.map.times(1.0 / before.scale.unwrap_or(1.0));
        let scale = longer(&plain.apply(self.measured(before.prior).0.as_ref()), denoiser);
        let map = plain.times(scale.unwrap_or(1.0));
        let restored = denoiser.map.apply(narrow(&map.apply(self.unseen.as_ref())).view())?;
        let errors = self.errors(&widen(restored.view()));
        let then = Then::Denoiser(Box::new(denoiser.map.clone()));
        Ok(Candidate { scale, then, map, errors, ..before })
    }

    /// Pairs that show a map's lengths: outside of the span of the pairs a map of minimum norm loses some, which is
    /// no scaling.
    fn measured(&self, prior: Prior) -> (&Mat<f64>, &Mat<f64>) {
        let is_short = self.seen.nrows() < self.seen.ncols().max(self.target.ncols());
        match prior {
            Prior::Procrustes if is_short => (&self.seen, &self.target),
            _ => (&self.unseen, &self.truth),
        }
    }

    fn errors(&self, restored: &Mat<f64>) -> Vec<f64> {
        cosines(restored.as_ref(), self.truth.as_ref()).map(|cosine| 1.0 - cosine).collect()
    }

    fn priors(&self) -> Vec<Prior> {
        let mut priors = Vec::new();
        if !self.another_space {
            priors.push(Prior::Identity);
            if self.seen.nrows() <= MANY.max(PERMUTED * self.seen.ncols()) {
                priors.extend([Prior::Permutation, Prior::SignedPermutation]);
            }
        }
        priors.push(Prior::Procrustes);
        priors
    }

    fn best_prior(&self) -> Result<Candidate, Error> {
        let mut best: Option<Candidate> = None;
        for prior in self.priors() {
            if best.as_ref().is_some_and(|best| best.error() <= ROUNDING) {
                break;
            }
            let candidate = self.prior(prior)?;
            if best.as_ref().is_none_or(|best| candidate.is_better_than(best)) {
                best = Some(candidate);
            }
        }
        best.ok_or(Error::Empty("the set of maps to try"))
    }

    fn prior(&self, prior: Prior) -> Result<Candidate, Error> {
        let map = prior.map(&self.seen, &self.target, self.clouds.as_ref())?;
        let errors = self.errors(&map.apply(self.unseen.as_ref()));
        let (protected, clean) = self.measured(prior);
        let scale = scale(&map.apply(protected.as_ref()), clean);
        let map = map.times(scale.unwrap_or(1.0));
        Ok(Candidate { prior, scale, then: Then::Nothing, map, errors })
    }

    /// `best`, or Procrustes with shrinkage where that is what `pure` is and one is better.
    fn best_shrunk(&self, pure: &Candidate, mut best: Candidate) -> Result<Candidate, Error> {
        if pure.prior != Prior::Procrustes || pure.error() <= ROUNDING {
            return Ok(best);
        }
        let shrunk = Shrunk::fit(self.seen.as_ref(), self.target.as_ref())?;
        for strength in SHRINKAGES {
            let map = shrunk.by(strength);
            let errors = self.errors(&map.apply(self.unseen.as_ref()));
            let candidate = Candidate { then: Then::Shrinkage(strength), map, errors, ..pure.clone() };
            if candidate.is_better_than(&best) {
                best = candidate;
            }
        }
        Ok(best)
    }

    /// The best regression around `pure` or, between spaces, around zero, where one is better than `pure`
    /// itself.
    fn best_ridge(&self, pure: Candidate) -> Result<Candidate, Error> {
        if pure.error() <= ROUNDING {
            return Ok(pure);
        }
        let ridge = Ridge::fit(&self.seen, &self.target)?;
        let zero = Affine::linear(Mat::zeros(pure.map.dimension(), self.target.ncols()));
        let mut best = pure.clone();
        let mut around = vec![(pure.prior, pure.scale, &pure.map)];
        // within a space, what few pairs do not span is lost around zero: the mean cosine gains by it,
        // and the details by which texts of one kind are told apart are gone
        if self.another_space {
            around.push((Prior::Zero, None, &zero));
        }
        for (prior, scale, around) in around {
            let around = ridge.around(around);
            for strength in STRENGTHS {
                let map = around.of(strength);
                let errors = self.errors(&map.apply(self.unseen.as_ref()));
                let candidate = Candidate { prior, scale, then: Then::Ridge(strength), map, errors };
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
    let pairs = protected.nrows();
    let fitted: Vec<usize> = (0..pairs).filter(|&pair| !is_held_out(pair, pairs)).collect();
    let part = |vectors: ArrayView2<'_, f32>| -> Array2<f32> { vectors.select(Axis(0), &fitted) };
    Denoiser::around(around, part(protected).view(), part(clean).view(), SEED)
}

/// Where there are too few pairs to hold some out: a map that cannot fit by chance does; or that of the
/// clouds, unless it failed; or Procrustes. The denoiser was chosen on pairs of its own.
fn of_few(evidence: &Evidence<'_>) -> Result<Choice, Error> {
    let (protected, clean) = (widen(evidence.protected), widen(evidence.clean));
    let (prior, clouds) = prior_of_few(evidence, &protected, &clean)?;
    let restored = prior.map(&protected, &clean, clouds.as_ref())?.apply(protected.as_ref());
    let is_exact = 1.0 - mean_cosine(restored.as_ref(), clean.as_ref()) < ROUNDING;
    let (then, scale) = match evidence.denoiser {
        Some(denoiser) if !is_exact && !denoiser.map.is_identity() => {
            (Then::Denoiser(Box::new(denoiser.map.clone())), longer(&restored, denoiser))
        }
        _ => (Then::Nothing, scale(&restored, &clean)),
    };
    Ok(Choice { prior, scale, then, clouds })
}

fn prior_of_few(
    evidence: &Evidence<'_>,
    protected: &Mat<f64>,
    clean: &Mat<f64>,
) -> Result<(Prior, Option<Mat<f64>>), Error> {
    if evidence.is_between_spaces() {
        return Ok((Prior::Procrustes, None));
    }
    // the cosine of unrelated vectors has a standard deviation of 1 / √dimension
    let is_chance = |restored: &Mat<f64>| {
        mean_cosine(restored.as_ref(), clean.as_ref()) * (protected.ncols() as f64).sqrt() <= CHANCE
    };
    if !is_chance(protected) {
        return Ok((Prior::Identity, None));
    }
    for prior in [Prior::Permutation, Prior::SignedPermutation] {
        let restored = prior.map(protected, clean, None)?.apply(protected.as_ref());
        if 1.0 - mean_cosine(restored.as_ref(), clean.as_ref()) < ROUNDING {
            return Ok((prior, None));
        }
    }
    if let Some(clouds) = evidence.clouds {
        let pairs = (evidence.protected, evidence.clean);
        let found = Unpaired::fit_on(&clouds, Some(pairs), &mut ChaCha8Rng::seed_from_u64(SEED))?;
        // the pairs were a start among many, so they tell of a map that is right in part, too
        if found.is_close() || !is_chance(&(protected * found.matrix())) {
            return Ok((Prior::Clouds, Some(found.matrix())));
        }
    }
    Ok((Prior::Procrustes, None))
}
