//! What an adversary can tell without inverting a vector: facts, members, and which vector is whose.

use std::rc::Rc;

use embosk_defenses::Stack;
use ndarray::{Array2, Axis};

use super::Trials;
use crate::Error;
use crate::evaluate::adversaries::{Adversary, Knowledge, KnownDefense, Mapped};
use crate::evaluate::guess::{Likeness, Noise, Residuals};
use crate::evaluate::stages::Stage;
use crate::evaluate::statistics::Score;

impl Trials<'_> {
    /// The guess of each text's fact by the `seen` vectors of the attacked texts, with or without a map.
    pub(super) fn guesses(
        &mut self,
        (stack, adversary): (&Stack, &dyn Adversary),
        protected: &Array2<f32>,
        (seen, is_mapped): (&Array2<f32>, bool),
    ) -> Result<Vec<Option<usize>>, Error> {
        if self.questions.is_none() {
            return Ok(Vec::new());
        }
        let noise = self.noise((stack, adversary), protected, is_mapped)?;
        let likeness = self.likeness((stack, adversary), noise.as_deref())?;
        self.questions.as_ref().map_or(Ok(Vec::new()), |questions| questions.guess(seen, &likeness))
    }

    fn likeness<'n>(
        &self,
        (stack, adversary): (&'n Stack, &dyn Adversary),
        noise: Option<&'n Noise>,
    ) -> Result<Likeness<'n>, Error> {
        let reduces = self.compares_reduced(stack, adversary)?;
        Ok(match (self.ranked_through(stack, adversary)?, noise) {
            (Some(stack), _) => Likeness::Image(stack),
            (None, noise) if reduces => Likeness::Reduced(stack, noise),
            (None, Some(noise)) => Likeness::Noise(noise),
            (None, None) if self.unit_norm => Likeness::Cosine,
            (None, None) => Likeness::Distance,
        })
    }

    /// The noise that remains in observed vectors, if the adversary can estimate it and it is not isotropic: from
    /// pairs that they make under a defense without a key, or otherwise from leaked pairs.
    fn noise(
        &mut self,
        (stack, adversary): (&Stack, &dyn Adversary),
        protected: &Array2<f32>,
        is_mapped: bool,
    ) -> Result<Option<Rc<Noise>>, Error> {
        let defense = KnownDefense::new(stack, &self.material);
        let (needs, is_keyed) = (adversary.needs(), defense.is_keyed());
        if !adversary.knows_the_defense() || self.material.clean.documents.has_surrogate() {
            return Ok(None);
        }
        let by_pairs = needs.leaked_pairs >= Noise::least_pairs(protected.ncols()) && (is_keyed || is_mapped);
        let source = match (by_pairs, is_keyed || is_mapped) {
            (true, _) => adversary.to_string(),
            (false, false) if defense.draws()? => format!("{} releases", needs.releases.max(1)),
            (false, _) => return Ok(None),
        };
        let name = (stack.to_string(), source);
        if let Some(known) = self.noises.get(&name) {
            return Ok(known.clone());
        }
        let pairs = if by_pairs {
            let documents = self.material.leaked(needs.leaked_pairs).to_vec();
            let observed = self.restored(stack, adversary, protected, Some(&documents))?.observed.vectors;
            let clean = self.material.clean.documents.attackable().select(Axis(0), &documents);
            Residuals { observed, clean: KnownDefense::new(stack, &self.material).reduced(clean)? }
        } else {
            let knowledge = Knowledge::new(defense, protected, &needs, &mut self.fits);
            let texts = knowledge.own_texts().min(Noise::texts(protected.ncols()));
            let pairs = knowledge.own_pairs(texts)?.pairs;
            Residuals { observed: pairs.protected, clean: pairs.clean }
        };
        let noise = Noise::estimate(&pairs).map(Rc::new);
        self.noises.insert(name, noise.clone());
        Ok(noise)
    }

    /// What the adversary can tell about the store as a whole: which texts are in it, and whose vector each is.
    pub(in crate::evaluate) fn of_store(
        &mut self,
        stack: &Stack,
        adversary: &dyn Adversary,
        protected: &Array2<f32>,
    ) -> Result<Vec<(&'static str, Option<Score>)>, Error> {
        let meter = self.meter;
        meter.of(Stage::Guessing, || self.told_of_store(stack, adversary, protected))
    }

    fn told_of_store(
        &mut self,
        stack: &Stack,
        adversary: &dyn Adversary,
        protected: &Array2<f32>,
    ) -> Result<Vec<(&'static str, Option<Score>)>, Error> {
        let stored = self.store.stored.clone();
        let (observed, is_mapped) = if self.ranked_through(stack, adversary)?.is_some() {
            (protected.select(Axis(0), &stored), false)
        } else {
            let restored = self.restored(stack, adversary, protected, Some(&stored))?;
            let Mapped { vectors, map } = self.compared(stack, adversary, restored.observed)?;
            (vectors, map.is_some())
        };
        let noise = self.noise((stack, adversary), protected, is_mapped)?;
        let likeness = self.likeness((stack, adversary), noise.as_deref())?;
        self.store.scores(&self.material, &observed, &likeness)
    }
}
