mod clouds;
mod defense;
mod fits;
mod lift;
mod own;

use std::rc::Rc;

use embosk_attacks::alignment::{Alignment, CloudMap, LEAST_CLOUD};
use ndarray::{Array2, Axis, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

pub use clouds::CloudVectors;
pub use defense::KnownDefense;
pub(in crate::evaluate) use fits::Fits;
pub(in crate::evaluate) use lift::Lift;
pub use own::{OwnDenoiser, OwnPairs};

use super::{Material, Needs};
use crate::Error;

/// With fewer leaked pairs, no map to clean vectors is fitted on them.
const LEAST_LEAKED: usize = 6;

/// Hands out what one adversary knows about the vectors under one defense.
///
/// Every protected vector that it hands out is the mean of as many releases as the adversary
/// [needs](Needs::releases).
#[derive(Debug)]
pub struct Knowledge<'a> {
    defense: KnownDefense<'a>,
    /// The vectors of all documents, as they are stored.
    protected: &'a Array2<f32>,
    releases: usize,
    /// The documents whose vectors are restored, if these are not the attacked ones.
    others: Option<&'a [usize]>,
    fits: &'a mut Fits,
}

/// Vectors of the same texts, row by row.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Pairs {
    /// `[pairs, dim]`.
    pub protected: Array2<f32>,
    /// `[pairs, dim of the attack]`, or [reduced](KnownDefense::reduced).
    pub clean: Array2<f32>,
}

impl<'a> Knowledge<'a> {
    pub(in crate::evaluate) fn new(
        defense: KnownDefense<'a>,
        protected: &'a Array2<f32>,
        needs: &Needs,
        fits: &'a mut Fits,
    ) -> Self {
        Self { defense, protected, releases: needs.releases.max(1), others: None, fits }
    }

    /// Hands out the vectors of these documents as [`attacked`](Self::attacked), and the maps that were fitted when
    /// the attacked ones were restored.
    pub(in crate::evaluate) fn of_others(self, documents: &'a [usize]) -> Self {
        Self { others: Some(documents), ..self }
    }

    /// Returns what the attacker knows about the defense itself.
    pub fn defense(&self) -> &KnownDefense<'a> {
        &self.defense
    }

    /// Returns the protected vectors that are to be restored: those of the attacked documents, `[attacked, dim]`, or of
    /// others when [`restore`](super::Adversary::restore) is called again.
    ///
    /// # Errors
    /// When the defense fails on a further release.
    pub fn attacked(&self) -> Result<Array2<f32>, Error> {
        self.released(self.others.unwrap_or(&self.material().attacked))
    }

    /// Returns this many stored vectors, `[vectors, dim]`, the attacked ones first; fewer if there are not
    /// enough documents besides the attacker's own.
    ///
    /// # Errors
    /// When the defense fails on a further release.
    pub fn stored(&self, vectors: usize) -> Result<Array2<f32>, Error> {
        Ok(self.stored_and_attacked(vectors)?.slice(s![..self.material().cloud(vectors), ..]).to_owned())
    }

    /// Returns this many real pairs of texts that are not attacked.
    ///
    /// # Errors
    /// When there are not enough documents, or the defense fails on a further release.
    pub fn leaked_pairs(&self, pairs: usize) -> Result<Pairs, Error> {
        let Material { clean, spare, .. } = self.material();
        let documents = self.material().leaked(pairs);
        if documents.len() < pairs {
            return Err(missing(pairs, "leaked pairs", spare.len()));
        }
        let clean = self.defense.reduced(clean.documents.attackable().select(Axis(0), documents))?;
        Ok(Pairs { protected: self.released(documents)?, clean })
    }

    /// Returns the clean vectors of all of the attacker's own texts, `[texts, dim of the attack]`. They are not
    /// [reduced](KnownDefense::reduced).
    pub fn own_clean(&self) -> &'a Array2<f32> {
        self.material().clean.own.attackable()
    }

    /// Returns how many of their own texts the attacker makes pairs from by default: all, up to 10,000.
    pub fn own_texts(&self) -> usize {
        self.material().own_texts()
    }

    /// Returns pairs of this many of the attacker's own texts, which they protect under fresh keys and undo
    /// again.
    ///
    /// # Errors
    /// When there are not enough texts, or the defense fails on them.
    pub fn own_pairs(&self, texts: usize) -> Result<OwnPairs, Error> {
        own::pairs(&self.defense, texts, self.releases)
    }

    /// Returns a denoiser, fitted on [pairs](Self::own_pairs) of this many of the attacker's own texts. It is
    /// fitted once for each defense.
    ///
    /// # Errors
    /// When there are not enough texts, the defense fails on them, or no map can be fitted.
    pub fn denoiser(&mut self, texts: usize) -> Result<Rc<OwnDenoiser>, Error> {
        let name = self.fit_of(texts);
        if let Some(known) = self.fits.denoisers.get(&name) {
            return Ok(Rc::clone(known));
        }
        let denoiser = Rc::new(OwnDenoiser::fit(self.own_pairs(texts)?, self.is_between_spaces())?);
        self.fits.denoisers.insert(name, Rc::clone(&denoiser));
        Ok(denoiser)
    }

    /// Returns the map from [reduced](KnownDefense::reduced) vectors with their noise to clean ones,
    /// `[batch, dim of the attack]`. It is fitted once for each defense: on pairs that the attacker made, or
    /// otherwise on the leaked pairs of `documents`, whose observed vectors `observe` restores. `None` if there are
    /// too few of both.
    pub(in crate::evaluate) fn lift(
        &mut self,
        documents: &[usize],
        observe: impl FnOnce(Knowledge<'_>) -> Result<Array2<f32>, Error>,
    ) -> Result<Option<Rc<Lift>>, Error> {
        let texts = self.own_texts();
        let own = texts >= LEAST_CLOUD;
        let name = self.fit_of(if own { texts } else { documents.len() });
        if let Some(known) = self.fits.lifts.get(&name) {
            return Ok(Some(Rc::clone(known)));
        }
        let pairs = if own {
            own::pairs_with_whole(&self.defense, texts, self.releases)?
        } else if documents.len() >= LEAST_LEAKED {
            let clean = self.material().clean.documents.attackable().select(Axis(0), documents);
            let again = Knowledge { others: None, fits: &mut *self.fits, ..*self };
            OwnPairs::leaked(Pairs { protected: observe(again)?, clean })
        } else {
            return Ok(None);
        };
        let lift = Rc::new(Lift::fit(&pairs)?);
        self.fits.lifts.insert(name, Rc::clone(&lift));
        Ok(Some(lift))
    }

    /// Returns the map that was fitted on this many leaked pairs. It is known only while vectors of
    /// [other documents](Self::of_others) are restored, so that the attacked ones never depend on what was done before.
    pub(super) fn known_alignment(&self, pairs: usize) -> Option<Rc<Alignment>> {
        self.others.and_then(|_| self.fits.alignments.get(&self.fit_of(pairs)).cloned())
    }

    pub(super) fn keep_alignment(&mut self, pairs: usize, map: &Rc<Alignment>) {
        self.fits.alignments.insert(self.fit_of(pairs), Rc::clone(map));
    }

    /// Returns the map between clouds that was fitted on this many stored vectors, as
    /// [`known_alignment`](Self::known_alignment) does.
    pub(super) fn known_cloud_map(&self, vectors: usize) -> Option<Rc<CloudMap>> {
        self.others.and_then(|_| self.fits.cloud_maps.get(&self.fit_of(vectors)).cloned())
    }

    pub(super) fn keep_cloud_map(&mut self, vectors: usize, map: &Rc<CloudMap>) {
        self.fits.cloud_maps.insert(self.fit_of(vectors), Rc::clone(map));
    }

    fn fit_of(&self, count: usize) -> fits::Fit {
        (self.defense.name(), count, self.releases)
    }

    /// Returns this many stored vectors, and vectors of all of the attacker's own texts.
    ///
    /// # Errors
    /// When the defense fails on these texts or on a further release.
    pub fn clouds(&self, vectors: usize) -> Result<CloudVectors, Error> {
        CloudVectors::of(self, vectors)
    }

    /// Returns whether there are enough documents and texts for [clouds](Self::clouds) that have a shape.
    pub fn has_clouds(&self) -> bool {
        self.defense.has_clouds()
    }

    /// Returns whether the attack is for another embedder than the defended one, so that clean vectors are a
    /// surrogate's.
    pub fn is_between_spaces(&self) -> bool {
        self.material().clean.own.has_surrogate()
    }

    /// Returns a source of randomness that depends only on the evaluation's seed.
    pub fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.material().seed)
    }

    fn material(&self) -> &'a Material<'a> {
        self.defense.material
    }

    /// Returns the protected vectors of these documents.
    fn released(&self, documents: &[usize]) -> Result<Array2<f32>, Error> {
        let first = self.protected.select(Axis(0), documents);
        self.defense.completed(self.defense.averaged(documents, first, self.releases)?)
    }

    /// Returns this many stored vectors, the attacked ones first: at least all attacked ones, at most all
    /// that exist.
    fn stored_and_attacked(&self, vectors: usize) -> Result<Array2<f32>, Error> {
        let Material { attacked, spare, .. } = self.material();
        let documents = attacked.iter().chain(spare).copied();
        let most = self.material().cloud(vectors).max(attacked.len());
        self.released(&documents.take(most).collect::<Vec<_>>())
    }
}

/// The error of an adversary that asks for more than there is, and therefore for more than it said it needs.
fn missing(asked: usize, what: &str, there: usize) -> Error {
    Error::Setting(format!(
        "an adversary asked for {asked} {what}, and there are {there}; name what they read in `Adversary::needs`"
    ))
}
