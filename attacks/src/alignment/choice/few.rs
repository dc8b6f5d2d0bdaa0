//! Chooses a map when there are too few pairs to hold some out.

use std::sync::Arc;

use faer::Mat;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{Prior, ROUNDING, Recipe, SEED, Then};
use crate::Error;
use crate::alignment::lengths::{CHANCE, longer, mean_cosine, scale};
use crate::alignment::{CloudMap, Evidence, widen};

/// Takes the first map that fits the pairs beyond chance. The denoiser follows unchanged: it was chosen on the
/// attacker's own pairs.
pub(super) fn choose(evidence: &Evidence<'_>) -> Result<Recipe, Error> {
    let (protected, clean) = (widen(evidence.protected), widen(evidence.clean));
    let pairs = Pairs { protected: &protected, clean: &clean };
    let prior = pairs.prior(evidence)?;
    let restored = prior.map(&protected, &clean)?.apply(protected.as_ref());
    Ok(match evidence.denoiser {
        Some(denoiser) if !pairs.is_exact(&restored) && !denoiser.map.is_identity() => {
            let then = Then::Denoiser(Box::new(denoiser.map.clone()));
            Recipe { prior, scale: longer(&restored, denoiser.norm), then }
        }
        _ => Recipe { prior, scale: scale(&restored, &clean), then: Then::Nothing },
    })
}

struct Pairs<'a> {
    protected: &'a Mat<f64>,
    clean: &'a Mat<f64>,
}

impl Pairs<'_> {
    /// The identity if it fits beyond chance, an order of the coordinates if it fits exactly, the map of the clouds
    /// unless it failed, and otherwise Procrustes.
    fn prior(&self, evidence: &Evidence<'_>) -> Result<Prior, Error> {
        if evidence.is_between_spaces() {
            return Ok(Prior::Procrustes);
        }
        if !self.is_chance(self.protected) {
            return Ok(Prior::Identity);
        }
        for prior in [Prior::Permutation, Prior::SignedPermutation] {
            let map = prior.map(self.protected, self.clean)?;
            if self.is_exact(&map.apply(self.protected.as_ref())) {
                return Ok(prior);
            }
        }
        Ok(self.by_clouds(evidence)?.unwrap_or(Prior::Procrustes))
    }

    fn by_clouds(&self, evidence: &Evidence<'_>) -> Result<Option<Prior>, Error> {
        let Some(clouds) = evidence.clouds else { return Ok(None) };
        let pairs = (evidence.protected, evidence.clean);
        let found = CloudMap::fit_on(&clouds, Some(pairs), &mut ChaCha8Rng::seed_from_u64(SEED))?;
        let map = found.matrix();
        // the pairs were one start among many, so they also recognize a map that is right in part
        let is_found = found.is_close() || !self.is_chance(&(self.protected * &map));
        Ok(is_found.then(|| Prior::Clouds(Arc::new(map))))
    }

    /// Whether unrelated vectors could be as close to the clean ones: their cosine has a standard deviation of
    /// 1 / √dimension.
    fn is_chance(&self, restored: &Mat<f64>) -> bool {
        self.cosine(restored) * (self.protected.ncols() as f64).sqrt() <= CHANCE
    }

    fn is_exact(&self, restored: &Mat<f64>) -> bool {
        1.0 - self.cosine(restored) < ROUNDING
    }

    fn cosine(&self, restored: &Mat<f64>) -> f64 {
        mean_cosine(restored.as_ref(), self.clean.as_ref())
    }
}
