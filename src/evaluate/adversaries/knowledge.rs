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

/// What one adversary knows of the vectors under one defense.
///
/// All protected vectors that it hands out are the means of as many releases as the adversary
/// [needs](Needs::releases).
#[derive(Debug)]
pub struct Knowledge<'a> {
    defense: KnownDefense<'a>,
    /// Of all documents, as they are stored.
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

    /// What the attacker knows of the defense itself.
    pub fn defense(&self) -> &KnownDefense<'a> {
        &self.defense
    }

    /// The protected vectors of the attacked documents, `[attacked, dim]`.
    ///
    /// # Errors
    /// When the defense fails on a further release.
    pub fn attacked(&self) -> Result<Array2<f32>, Error> {
        self.released(&self.material().attacked)
    }

    /// Stored vectors, `[vectors, dim]`, the attacked ones first; fewer where there are not so many documents
    /// beside the attacker's own.
    ///
    /// # Errors
    /// When the defense fails on a further release.
    pub fn stored(&self, vectors: usize) -> Result<Array2<f32>, Error> {
        Ok(self.stored_and_attacked(vectors)?.slice(s![..self.material().cloud(vectors), ..]).to_owned())
    }

    /// Real pairs of texts that are not attacked.
    ///
    /// # Errors
    /// When there are not so many documents, or the defense fails on a further release.
    pub fn leaked_pairs(&self, pairs: usize) -> Result<Pairs, Error> {
        let Material { clean, spare, .. } = self.material();
        let Some(first) = spare.len().checked_sub(pairs) else {
            return Err(missing(pairs, "leaked pairs", spare.len()));
        };
        // the last ones, as the first may be the texts of the attacker's own pairs
        let documents = &spare[first..];
        let clean = clean.documents.attackable().select(Axis(0), documents);
        Ok(Pairs { protected: self.released(documents)?, clean })
    }

    /// The clean vectors of all texts of the attacker's own, `[texts, dim of the attack]`.
    pub fn own_clean(&self) -> &'a Array2<f32> {
        self.material().clean.own.attackable()
    }

    /// How many texts of their own the attacker makes pairs of where nobody says: all, up to 10,000.
    pub fn own_texts(&self) -> usize {
        self.material().own_texts()
    }

    /// Pairs of so many texts of the attacker's own, which they protect under fresh keys and undo again.
    ///
    /// # Errors
    /// When there are not so many texts, or the defense fails on them.
    pub fn own_pairs(&self, texts: usize) -> Result<OwnPairs, Error> {
        own::pairs(&self.defense, texts, self.releases)
    }

    /// What removes noise, learnt on [pairs](Self::own_pairs) of so many texts of the attacker's own. It is fitted
    /// once for each defense.
    ///
    /// # Errors
    /// When there are not so many texts, the defense fails on them, or no map can be fitted.
    pub fn denoiser(&mut self, texts: usize) -> Result<Rc<OwnDenoiser>, Error> {
        let name = (self.defense.name(), texts, self.releases);
        if let Some(known) = self.denoisers.get(&name) {
            return Ok(Rc::clone(known));
        }
        let denoiser = Rc::new(OwnDenoiser::fit(self.own_pairs(texts)?, self.is_between_spaces())?);
        self.denoisers.insert(name, Rc::clone(&denoiser));
        Ok(denoiser)
    }

    /// So many stored vectors, and vectors of all texts of the attacker's own.
    ///
    /// # Errors
    /// When the defense fails on these texts or on a further release.
    pub fn clouds(&self, vectors: usize) -> Result<CloudVectors, Error> {
        CloudVectors::of(self, vectors)
    }

    /// Whether there are documents and texts enough for [clouds](Self::clouds) that have a shape.
    pub fn has_clouds(&self) -> bool {
        self.material().has_clouds()
    }

    /// Whether the attack is for another embedder than the one that is defended, so that clean vectors are a
    /// surrogate's.
    pub fn is_between_spaces(&self) -> bool {
        self.material().clean.own.has_surrogate()
    }

    /// A source of chance that depends on the evaluation's seed alone.
    pub fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.material().seed)
    }

    fn material(&self) -> &'a Material<'a> {
        self.defense.material
    }

    /// The protected vectors of some documents.
    fn released(&self, documents: &[usize]) -> Result<Array2<f32>, Error> {
        let first = self.protected.select(Axis(0), documents);
        self.defense.averaged(documents, first, self.releases)
    }

    /// As many stored vectors as there are of so many, or of all attacked ones if these are more.
    fn stored_and_attacked(&self, vectors: usize) -> Result<Array2<f32>, Error> {
        let Material { attacked, spare, .. } = self.material();
        let documents = attacked.iter().chain(spare).copied();
        let most = self.material().cloud(vectors).max(attacked.len());
        self.released(&documents.take(most).collect::<Vec<_>>())
    }
}

/// An adversary asked for more than there is, and so for more than they said they need.
fn missing(asked: usize, what: &str, there: usize) -> Error {
    Error::Setting(format!(
        "an adversary asked for {asked} {what}, and there are {there}; name what they read in `Adversary::needs`"
    ))
}
