mod clouds;
mod defense;
mod own;

use std::rc::Rc;

use ndarray::{Array2, Axis, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

pub use clouds::CloudVectors;
pub use defense::KnownDefense;
pub(in crate::evaluate) use own::Denoisers;
pub use own::{OwnDenoiser, OwnPairs};

use super::{Material, Needs};
use crate::Error;

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
    denoisers: &'a mut Denoisers,
}

/// Vectors of the same texts, row by row.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Pairs {
    /// `[pairs, dim]`.
    pub protected: Array2<f32>,
    /// `[pairs, dim of the attack]`.
    pub clean: Array2<f32>,
}

impl<'a> Knowledge<'a> {
    pub(in crate::evaluate) fn new(
        defense: KnownDefense<'a>,
        protected: &'a Array2<f32>,
        needs: &Needs,
        denoisers: &'a mut Denoisers,
    ) -> Self {
        Self { defense, protected, releases: needs.releases.max(1), denoisers }
    }

    /// Returns what the attacker knows about the defense itself.
    pub fn defense(&self) -> &KnownDefense<'a> {
        &self.defense
    }

    /// Returns the protected vectors of the attacked documents, `[attacked, dim]`.
    ///
    /// # Errors
    /// When the defense fails on a further release.
    pub fn attacked(&self) -> Result<Array2<f32>, Error> {
        self.released(&self.material().attacked)
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
        let Some(first) = spare.len().checked_sub(pairs) else {
            return Err(missing(pairs, "leaked pairs", spare.len()));
        };
        // take the last ones, because the first may be the texts of the attacker's own pairs
        let documents = &spare[first..];
        let clean = clean.documents.attackable().select(Axis(0), documents);
        Ok(Pairs { protected: self.released(documents)?, clean })
    }

    /// Returns the clean vectors of all of the attacker's own texts, `[texts, dim of the attack]`.
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
        let name = (self.defense.name(), texts, self.releases);
        if let Some(known) = self.denoisers.get(&name) {
            return Ok(Rc::clone(known));
        }
        let denoiser = Rc::new(OwnDenoiser::fit(self.own_pairs(texts)?, self.is_between_spaces())?);
        self.denoisers.insert(name, Rc::clone(&denoiser));
        Ok(denoiser)
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
        self.material().has_clouds()
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
        self.defense.averaged(documents, first, self.releases)
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
