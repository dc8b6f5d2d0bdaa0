//! The attack's side of an evaluation: what comes back of the sampled texts.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use embosk_attacks::{Attack, Image, Oracle as _, Ranking, Resources};
use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, ArrayView2, Axis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::adversaries::{
    Adversary, Denoisers, Knowledge, KnownDefense, Mapped, Material, Naive, Restored, Retrained,
};
use super::clean::Clean;
use super::corpus::Corpus;
use super::draws::index_below;
use super::metrics::{Columns, Metric, bases};
use super::oracle::CachedOracle;
use super::recovery::{Output, Recovery, Truth};
use super::report::Example;
use super::retrieval::{is_unit_norm, normalize_rows};
use crate::Error;
use crate::embedder::Normalizer;

/// Attacks on the same sampled texts, under one defense after the other.
pub(super) struct Trials<'a> {
    attack: &'a dyn Attack,
    retrained: Option<&'a dyn Attack>,
    oracle: CachedOracle<'a>,
    normalizer: Normalizer,
    material: Material<'a>,
    denoisers: Denoisers,
    unit_norm: bool,
    truths: Vec<Truth>,
    metrics: &'a [Metric],
    /// What was attacked already: of equal vectors the attack recovers the same.
    done: Vec<Done>,
}

/// An attack that was made, and what it recovered.
struct Done {
    retrained: bool,
    /// The stack that hypotheses were protected by, to be ranked.
    ranked_through: Option<String>,
    vectors: [Array2<f32>; 2],
    recovery: Rc<Recovery>,
}

/// What an adversary did with one defense.
pub(super) struct Trial {
    pub(super) recovery: Rc<Recovery>,
    /// The scores of its outputs, each held against another sample's text: what chance gives.
    pub(super) unrelated: Columns,
    /// The map that the adversary chose.
    pub(super) map: Option<String>,
}

impl<'a> Trials<'a> {
    pub(super) fn new(
        (attack, retrained): (&'a dyn Attack, Option<&'a dyn Attack>),
        oracle: CachedOracle<'a>,
        normalizer: Normalizer,
        corpus: &Corpus,
        material: Material<'a>,
        metrics: &'a [Metric],
    ) -> Self {
        let clean = material.clean.documents.attackable();
        let truth = |&document: &usize| Truth::new(corpus, document, clean, &normalizer);
        let truths = material.attacked.iter().map(truth).collect();
        let unit_norm = oracle.has_unit_norm().unwrap_or_else(|| is_unit_norm(clean.view()));
        let (denoisers, done) = (Denoisers::new(), Vec::new());
        Self { attack, retrained, oracle, normalizer, material, denoisers, unit_norm, truths, metrics, done }
    }

    pub(super) fn clean(&self) -> &'a Clean {
        self.material.clean
    }

    /// The attack on the undefended vectors, and its outputs held against other samples' texts. With a
    /// surrogate the attack must be carried over to the embedder, and the ceiling is what the best of the
    /// adversaries gets.
    pub(super) fn ceiling_and_floor(
        &mut self,
        adversaries: &[Arc<dyn Adversary>],
    ) -> Result<(Rc<Recovery>, Columns), Error> {
        let documents = &self.material.clean.documents;
        let naive: [Arc<dyn Adversary>; 1] = [Arc::new(Naive)];
        let adversaries = if documents.has_surrogate() { adversaries } else { &naive };
        let mut recoveries = Vec::with_capacity(adversaries.len());
        for adversary in adversaries {
            recoveries.push(self.run(&Stack::new(), adversary, &documents.stored)?.recovery);
        }
        let best = recoveries.into_iter().max_by(|a, b| a.strength().total_cmp(&b.strength()));
        let ceiling = best.ok_or(Error::Empty("the list of adversaries"))?;
        let floor = ceiling.unrelated(&self.truths, self.metrics);
        Ok((ceiling, floor))
    }

    /// The retrained attack where it must work if it works at all: on undefended vectors or, where `stack`
    /// has a key, on vectors under the one that attacks are trained under, whichever it does better on.
    pub(super) fn retrained_at_its_best(&mut self, stack: &Stack) -> Result<Rc<Recovery>, Error> {
        let clean = &self.material.clean.documents.stored;
        let undefended = self.run(&Stack::new(), &Retrained::new(), clean)?.recovery;
        let Some(imitation) = training_imitation(stack) else { return Ok(undefended) };
        let mut protected = clean.clone();
        imitation.protect(Role::Document, protected.view_mut(), &mut Rng::seeded(self.material.seed))?;
        let imitated = self.run(stack, &Retrained::new(), &protected)?.recovery;
        Ok(if imitated.strength() > undefended.strength() { imitated } else { undefended })
    }

    /// The first `n` attacked texts, and what came back of them.
    pub(super) fn examples(&self, recovery: &Recovery, n: usize) -> Vec<Example> {
        recovery.examples(&self.truths, n)
    }

    /// What `adversary` recovers from `protected`, the vectors of all documents under `stack`.
    pub(super) fn run(
        &mut self,
        stack: &Stack,
        adversary: &dyn Adversary,
        protected: &Array2<f32>,
    ) -> Result<Trial, Error> {
        self.oracle.label(format!("{stack}, {adversary}"));
        let Restored { estimate, observed } = self.restored(stack, adversary, protected)?;
        let Mapped { vectors: mut estimate, map } = estimate;
        let mut observed = observed.vectors;
        if self.unit_norm {
            normalize_rows(estimate.view_mut());
            normalize_rows(observed.view_mut());
        } else if map.is_some() {
            estimate *= self.material.lengthening(&estimate);
        }
        let defense = KnownDefense::new(stack, &self.material);
        let through = (adversary.knows_the_defense() && defense.ranks_hypotheses()?).then_some(stack);
        if through.is_some() {
            observed = protected.select(Axis(0), &self.material.attacked);
        }
        let (vectors, ranked_through) = ([estimate, observed], through.map(ToString::to_string));
        let retrained = adversary.needs().attack.is_retrained();
        let same = |done: &&Done| {
            (done.retrained, &done.ranked_through) == (retrained, &ranked_through)
                && done.vectors.iter().zip(&vectors).all(|(a, b)| same_bits(a, b))
        };
        if let Some(Done { recovery, .. }) = self.done.iter().find(same) {
            return Ok(self.trial(Rc::clone(recovery), map));
        }
        let attack = self.retrained.filter(|_| retrained).unwrap_or(self.attack);
        let recovery = Rc::new(self.invert(attack, &vectors, through)?);
        let trial = self.trial(Rc::clone(&recovery), map);
        self.done.push(Done { retrained, ranked_through, vectors, recovery });
        Ok(trial)
    }

    /// What `adversary` makes of the attacked vectors, checked: anybody may have written it.
    fn restored(
        &mut self,
        stack: &Stack,
        adversary: &dyn Adversary,
        protected: &Array2<f32>,
    ) -> Result<Restored, Error> {
        let defense = KnownDefense::new(stack, &self.material);
        let mut knowledge = Knowledge::new(defense, protected, &adversary.needs(), &mut self.denoisers);
        let restored = adversary.restore(&mut knowledge)?;
        let expected = (self.truths.len(), self.material.clean.documents.attackable().ncols());
        for Mapped { vectors, .. } in [&restored.estimate, &restored.observed] {
            if vectors.dim() != expected {
                return Err(Error::Setting(format!(
                    "`{adversary}` restored an array of shape {:?}, and the attack takes {expected:?}",
                    vectors.dim()
                )));
            }
        }
        Ok(restored)
    }

    fn trial(&self, recovery: Rc<Recovery>, map: Option<String>) -> Trial {
        let unrelated = recovery.unrelated(&self.truths, self.metrics).only(&bases(self.metrics));
        Trial { recovery, unrelated, map }
    }

    /// Whether an adversary of all there are is worth running on `stack`.
    pub(super) fn can_gain(&self, stack: &Stack, adversary: &dyn Adversary) -> Result<bool, Error> {
        adversary.can_gain(&KnownDefense::new(stack, &self.material))
    }

    fn invert(
        &self,
        attack: &dyn Attack,
        [estimates, observed]: &[Array2<f32>; 2],
        through: Option<&Stack>,
    ) -> Result<Recovery, Error> {
        let mut resources = Resources::new(&self.oracle);
        resources.own = self.material.clean.own_texts()?;
        let image = through.map(|stack| {
            move |clean: ArrayView2<'_, f32>| {
                let mut protected = clean.to_owned();
                // it draws nothing, so that any seed will do
                stack.protect(Role::Document, protected.view_mut(), &mut Rng::seeded(0))?;
                Ok(protected)
            }
        });
        let image = image.as_ref().map(|image| image as &Image<'_>);
        let ranking = Ranking { targets: observed.view(), image };
        let inversions = attack.invert_ranked_by(estimates.view(), &ranking, &resources)?;
        if inversions.len() != estimates.nrows() {
            return Err(Error::Setting("the attack returned another number of texts than vectors".into()));
        }
        let outputs: Vec<&str> = inversions.iter().map(|inversion| inversion.output.as_str()).collect();
        let embedded = self.oracle.embed(&outputs).map_err(Error::Embedder)?;
        let outputs = inversions.iter().zip(embedded.rows());
        let outputs = outputs.map(|(inversion, vector)| Output {
            text: self.normalizer.apply(&inversion.output),
            vector: vector.to_owned(),
            queries: inversion.queries,
        });
        Ok(Recovery::new(outputs.collect(), &self.truths, estimates, self.metrics))
    }
}

/// Gives `stack` under the key that attackers train under. They do not know the real one, so they take one that is
/// the same in every training, and an inverter and its corrector learn the same map. `None` where no key is needed.
pub fn training_imitation(stack: &Stack) -> Option<Arc<dyn Defense>> {
    stack.imitation(&mut Rng::seeded(TRAINING_KEY))
}

/// The seed of that key.
const TRAINING_KEY: u64 = u64::MAX;

/// The documents in an order drawn by `seed`, of equal texts only the first: no text is attacked twice,
/// nor both attacked and known.
pub(super) fn order(corpus: &Corpus, normalizer: &Normalizer, seed: u64) -> Vec<usize> {
    let mut seen = HashSet::new();
    let mut order = shuffled(corpus.texts().len(), seed);
    order.retain(|&document| seen.insert(normalizer.apply(&corpus.texts()[document])));
    order
}

/// `0..n` in an order drawn by `seed` (Fisher and Yates), the same in every version.
fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        order.swap(last, index_below(last + 1, &mut rng));
    }
    order
}

fn same_bits(a: &Array2<f32>, b: &Array2<f32>) -> bool {
    a.dim() == b.dim() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_holds_every_document_once() {
        let mut order = shuffled(100, 3);
        assert_eq!(order, shuffled(100, 3));
        assert_ne!(order, shuffled(100, 4));
        order.sort_unstable();
        assert!(order.into_iter().eq(0..100));
        assert!(shuffled(0, 3).is_empty());
    }
}
