//! Estimates of clean vectors from the few coordinates that a projection leaves.

use embosk_defenses::Stack;
use ndarray::Array2;

use super::Trials;
use crate::Error;
use crate::evaluate::adversaries::{Adversary, Knowledge, KnownDefense, Mapped, Restored, widened};

impl Trials<'_> {
    /// Whether the adversary compares hypotheses in the fewer dimensions that the stack leaves. An adversary who
    /// knows nothing about the defense cannot.
    pub(super) fn compares_reduced(&self, stack: &Stack, adversary: &dyn Adversary) -> Result<bool, Error> {
        Ok(adversary.knows_the_defense() && KnownDefense::new(stack, &self.material).reduces()?)
    }

    /// The observed vectors as they are compared with hypotheses: with zeros for missing coordinates, unless
    /// hypotheses are [reduced](Self::compares_reduced) too.
    pub(super) fn compared(
        &self,
        stack: &Stack,
        adversary: &dyn Adversary,
        observed: Mapped,
    ) -> Result<Mapped, Error> {
        let is_reduced = self.compares_reduced(stack, adversary)?;
        Ok(if is_reduced { observed } else { self.padded(observed) })
    }

    /// What models read and what hypotheses are compared with, if restored vectors have another dimension than clean
    /// ones. An adversary who knows the defense estimates the clean vectors. For one who does not, and for an attack
    /// that was trained on protected vectors, the missing coordinates are zeros.
    pub(super) fn lifted(
        &mut self,
        stack: &Stack,
        adversary: &dyn Adversary,
        protected: &Array2<f32>,
        restored: Restored,
    ) -> Result<Restored, Error> {
        let defense = KnownDefense::new(stack, &self.material);
        if !defense.reduces()? {
            return Ok(restored);
        }
        let observed = self.compared(stack, adversary, restored.observed.clone())?;
        let needs = adversary.needs();
        if !adversary.knows_the_defense() || needs.attack.is_retrained() {
            return Ok(Restored { estimate: self.padded(restored.estimate), observed, ..restored });
        }
        let documents = self.material.leaked(needs.leaked_pairs).to_vec();
        let defense = KnownDefense::new(stack, &self.material);
        let mut knowledge = Knowledge::new(defense, protected, &needs, &mut self.fits);
        let restore_leaked = |knowledge: Knowledge<'_>| {
            let again = adversary.restore(&mut knowledge.of_others(&documents))?;
            Ok(again.observed.vectors)
        };
        let lift = knowledge.lift(&documents, restore_leaked)?;
        let estimate = match lift {
            Some(lift) => lift.estimate(&restored.observed)?,
            None => self.padded(restored.observed),
        };
        Ok(Restored { estimate, observed, agreement: restored.agreement })
    }

    fn padded(&self, mapped: Mapped) -> Mapped {
        let dimension = self.material.clean.documents.attackable().ncols();
        Mapped { vectors: widened(mapped.vectors, dimension), ..mapped }
    }
}
