//! Maps that undo a key. They keep angles, as far as the pairs determine them.

use std::sync::Arc;

use faer::Mat;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::candidate::{Candidate, Margin, Selection};
use super::split::Split;
use super::{Prior, SEED, SOLVED};
use crate::Error;
use crate::alignment::{CloudMap, Clouds, Evidence, narrow};
use crate::permutation::FoundPermutation;

/// With more pairs per dimension than this, and more than `MANY` in all, Procrustes finds any permutation.
const PERMUTED: usize = 4;
const MANY: usize = 1000;
/// If pairs leave less than this times the error of the noise alone, the clouds add nothing to them.
const AS_GOOD: f64 = 1.05;
/// How much a pair counts, relative to vectors of the clouds that are matched with each other.
const WEIGHTS: [f64; 4] = [1.0, 10.0, 100.0, 1000.0];

/// The best turn, and the best of each kind of evidence.
pub(super) struct Turns {
    pub(super) by_pairs: Candidate,
    /// `None` if there are no clouds, or the pairs need none.
    pub(super) by_clouds: Option<Candidate>,
    pub(super) best: Candidate,
    /// Whether there are fewer pairs than dimensions, so that the map drops what they do not span, noise included.
    pub(super) is_part: bool,
    /// The error of the noise alone, as far as the attacker knows it.
    noise: f64,
}

impl Turns {
    pub(super) fn of(split: &Split, evidence: &Evidence<'_>) -> Result<Self, Error> {
        let by_pairs = by_pairs(split)?;
        let pairs = &evidence.protected;
        let is_part = by_pairs.recipe.prior.is_procrustes() && pairs.nrows() < pairs.ncols();
        let noise = evidence.denoiser.map_or(0.0, |denoiser| denoiser.error);
        let mut turns = Self { best: by_pairs.clone(), by_pairs, by_clouds: None, is_part, noise };
        if let Some(clouds) = evidence.clouds.filter(|_| turns.need_clouds() && !split.between_spaces) {
            let by_clouds = by_clouds(split, clouds)?;
            let mut selection = Selection::from(turns.best);
            selection.offer(by_clouds.clone(), Margin::USUAL);
            turns = Self { best: selection.best, by_clouds: Some(by_clouds), ..turns };
        }
        Ok(turns)
    }

    fn need_clouds(&self) -> bool {
        self.by_pairs.error() > SOLVED && (self.is_part || self.leaves_more_than_noise(&self.by_pairs))
    }

    /// Whether a map leaves more than the noise of the vectors.
    pub(super) fn leaves_more_than_noise(&self, map: &Candidate) -> bool {
        map.error() > AS_GOOD * self.noise
    }
}

/// The best map by pairs alone.
fn by_pairs(split: &Split) -> Result<Candidate, Error> {
    let mut priors = priors(split).into_iter();
    let first = priors.next().ok_or(Error::Empty("the set of maps to try"))?;
    let mut selection = Selection::from(split.turned(first)?);
    for prior in priors {
        if selection.best.is_exact() {
            break;
        }
        selection.offer(split.turned(prior)?, Margin::USUAL);
    }
    Ok(selection.best)
}

/// The maps to try, the simplest first.
fn priors(split: &Split) -> Vec<Prior> {
    let mut priors = Vec::new();
    if !split.between_spaces {
        priors.push(Prior::Identity);
        if split.seen.nrows() <= MANY.max(PERMUTED * split.seen.ncols()) {
            priors.extend([Prior::Permutation, Prior::SignedPermutation]);
        }
    }
    priors.push(Prior::Procrustes);
    priors
}

/// The best map by clouds and pairs: the order of the coordinates by how they are distributed, or a rotation.
fn by_clouds(split: &Split, clouds: Clouds<'_>) -> Result<Candidate, Error> {
    let (seen, target) = (narrow(&split.seen), narrow(&split.target));
    let tried = |map: Mat<f64>| split.turned(Prior::Clouds(Arc::new(map)));
    let order = FoundPermutation::fit_with(seen.view(), target.view(), clouds.protected, clouds.own)?;
    let of_order = tried(order.matrix())?;
    if of_order.error() <= SOLVED {
        return Ok(of_order);
    }
    let pairs = (seen.view(), target.view());
    let found = CloudMap::fit_on(&clouds, Some(pairs), &mut ChaCha8Rng::seed_from_u64(SEED))?;
    let mut selection = Selection::from(tried(found.matrix())?);
    selection.offer(of_order, Margin::USUAL);
    for map in found.matrices_by(&WEIGHTS) {
        selection.offer(tried(map?)?, Margin::USUAL);
    }
    Ok(selection.best)
}
