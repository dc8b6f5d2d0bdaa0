//! The attack's side of an evaluation: what is recovered of the sampled texts.

mod guessing;
mod lifting;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use embosk_attacks::{Attack, Image, Oracle as _, Ranking, Resources};
use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, ArrayView2, Axis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::adversaries::{
    Adversary, Agreement, Fits, Knowledge, KnownDefense, Mapped, Material, Naive, Restored, Retrained,
};
use super::clean::Clean;
use super::corpus::Corpus;
use super::draws::index_below;
use super::guess::{Noise, Questions};
use super::membership::Store;
use super::metrics::{Columns, Metric, bases};
use super::oracle::CachedOracle;
use super::recovery::{Output, Recovery, Scoring, Truth, restoration};
use super::report::Example;
use super::retrieval::{is_unit_norm, normalize_rows};
use super::stages::{Meter, Stage};
use crate::Error;
use crate::embedder::Normalizer;

/// The share of the way from chance to the clean vectors that restored vectors must come, for a key to count as undone.
const RESTORED: f64 = 0.9;

/// Attacks on the same sampled texts, under one defense after the other.
pub(super) struct Trials<'a> {
    /// `None` if no text is to be recovered.
    attack: Option<&'a dyn Attack>,
    retrained: Option<&'a dyn Attack>,
    oracle: CachedOracle<'a>,
    normalizer: Normalizer,
    material: Material<'a>,
    fits: Fits,
    /// The noise under a defense, as an adversary knows it, by the defense and by what it was estimated from.
    noises: HashMap<(String, String), Option<Rc<Noise>>>,
    questions: Option<Questions>,
    store: Store,
    unit_norm: bool,
    truths: Vec<Truth>,
    scoring: Scoring<'a>,
    /// What was already attacked: from equal vectors, the attack recovers the same.
    done: Vec<Done>,
    meter: &'a Meter,
}

/// An attack that was made, and what it recovered.
struct Done {
    retrained: bool,
    /// The stack that hypotheses were protected by, to be ranked.
    ranked_through: Option<String>,
    vectors: [Array2<f32>; 2],
    outputs: Rc<[Output]>,
}

/// What the attacker knows about the stack, to rank hypotheses by.
struct Known<'a> {
    stack: &'a Stack,
    /// Whether they can protect hypotheses with it and compare the images.
    through: bool,
    /// Whether hypotheses are compared in fewer dimensions.
    reduces: bool,
    /// How alike observed vectors are to clean ones.
    agreement: Option<Agreement>,
}

/// What an adversary did with one defense.
pub(super) struct Trial {
    pub(super) recovery: Rc<Recovery>,
    /// The scores of its outputs, each compared with another sample's text: the score of chance.
    pub(super) unrelated: Columns,
    /// The map that the adversary chose.
    pub(super) map: Option<String>,
    /// Which candidate was picked as the fact of each text; empty if nothing was to be guessed.
    pub(super) guesses: Vec<Option<usize>>,
    /// How far the restored vectors come from chance (0) to the clean ones (1).
    pub(super) restoration: f64,
}

impl<'a> Trials<'a> {
    pub(super) fn new(
        (attack, retrained): (Option<&'a dyn Attack>, Option<&'a dyn Attack>),
        oracle: CachedOracle<'a>,
        normalizer: Normalizer,
        corpus: &Corpus,
        material: Material<'a>,
        (metrics, meter): (&'a [Metric], &'a Meter),
    ) -> Self {
        let clean = material.clean.documents.attackable();
        let truth = |&document: &usize| Truth::new(corpus, document, clean, &normalizer);
        let truths = material.attacked.iter().map(truth).collect();
        let unit_norm = oracle.has_unit_norm().unwrap_or_else(|| is_unit_norm(clean.view()));
        let store = Store::of(&material);
        let scoring = Scoring::new(metrics, corpus, &normalizer);
        Self {
            attack,
            retrained,
            oracle,
            normalizer,
            material,
            fits: Fits::default(),
            noises: HashMap::new(),
            questions: None,
            store,
            unit_norm,
            truths,
            scoring,
            done: Vec::new(),
            meter,
        }
    }

    /// Sets what is to be guessed of the attacked texts.
    pub(super) fn guessing(self, questions: Option<Questions>) -> Self {
        Self { questions, ..self }
    }

    /// Says what membership compares, if the attacker's texts are from another source than the corpus.
    pub(super) fn membership_warning(&self) -> Option<String> {
        self.store.warning()
    }

    pub(super) fn questions(&self) -> Option<&Questions> {
        self.questions.as_ref()
    }

    pub(super) fn clean(&self) -> &'a Clean {
        self.material.clean
    }

    /// The attack on the undefended vectors, and its outputs compared with other samples' texts. With a surrogate,
    /// vectors must be mapped to the surrogate's space, and the ceiling is the best adversary's result.
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
        let floor = ceiling.unrelated(&self.truths, &self.scoring);
        Ok((ceiling, floor))
    }

    /// The retrained attack where it must work if it works at all: on undefended vectors or, if `stack` has a key, on
    /// vectors under the key that attacks are trained under, whichever it does better on.
    pub(super) fn retrained_at_its_best(&mut self, stack: &Stack) -> Result<Rc<Recovery>, Error> {
        let clean = &self.material.clean.documents.stored;
        let undefended = self.run(&Stack::new(), &Retrained::new(), clean)?.recovery;
        let Some(imitation) = training_imitation(stack) else { return Ok(undefended) };
        let mut rng = Rng::seeded(self.material.seed);
        let protected = imitation.protect_owned(Role::Document, clean.clone(), &mut rng)?;
        let imitated = self.run(stack, &Retrained::new(), &protected)?.recovery;
        Ok(if imitated.strength() > undefended.strength() { imitated } else { undefended })
    }

    /// The first `n` attacked texts, and what was recovered of them.
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
        let restored = self.restored(stack, adversary, protected, None)?;
        let reduces = self.compares_reduced(stack, adversary)?;
        let meter = self.meter;
        let lifted = meter.of(Stage::Restoring, || self.lifted(stack, adversary, protected, restored));
        let Restored { estimate, observed, agreement } = lifted?;
        let Mapped { vectors: mut estimate, map } = estimate;
        let through = self.ranked_through(stack, adversary)?;
        let seen = match through {
            Some(_) => protected.select(Axis(0), &self.material.attacked),
            None => observed.vectors.clone(),
        };
        let guess = || self.guesses((stack, adversary), protected, (&seen, observed.map.is_some()));
        let guesses = meter.of(Stage::Guessing, guess)?;
        let mut observed = seen;
        if self.unit_norm {
            normalize_rows(estimate.view_mut());
            if through.is_none() && !reduces {
                normalize_rows(observed.view_mut());
            }
        } else if map.is_some() {
            estimate *= self.material.lengthening(&estimate);
        }
        let vectors = [estimate, observed];
        let known = Known { stack, through: through.is_some(), reduces, agreement };
        let retrained = adversary.needs().attack.is_retrained();
        let outputs = match self.attack {
            Some(attack) => {
                let attack = self.retrained.filter(|_| retrained).unwrap_or(attack);
                Some(self.outputs((attack, retrained), &vectors, &known)?)
            }
            None => None,
        };
        let right = self.questions.as_ref().map(|questions| questions.right(&guesses));
        let right = right.unwrap_or_else(|| vec![None; self.truths.len()]);
        let (recovery, unrelated) = meter.of(Stage::Scoring, || {
            let recovery = Recovery::new((outputs, right), &self.truths, &vectors[0], &self.scoring);
            let unrelated =
                recovery.unrelated(&self.truths, &self.scoring).only(&bases(self.scoring.metrics));
            (recovery, unrelated)
        });
        let restoration = restoration(&self.truths, &vectors[0]);
        Ok(Trial { recovery: Rc::new(recovery), unrelated, map, guesses, restoration })
    }

    /// What the attack makes of these vectors, perhaps known from an earlier run.
    fn outputs(
        &mut self,
        (attack, retrained): (&dyn Attack, bool),
        vectors: &[Array2<f32>; 2],
        known: &Known<'_>,
    ) -> Result<Rc<[Output]>, Error> {
        let ranked_through = (known.through || known.reduces).then(|| known.stack.to_string());
        let same = |done: &&Done| {
            (done.retrained, &done.ranked_through) == (retrained, &ranked_through)
                && done.vectors.iter().zip(vectors).all(|(a, b)| same_bits(a, b))
        };
        if let Some(done) = self.done.iter().find(same) {
            return Ok(Rc::clone(&done.outputs));
        }
        let outputs = self.meter.of(Stage::Attack, || self.invert(attack, vectors, known))?;
        let vectors = vectors.clone();
        self.done.push(Done { retrained, ranked_through, vectors, outputs: Rc::clone(&outputs) });
        Ok(outputs)
    }

    /// The stack itself, if the adversary can protect hypotheses with it and compare the images.
    fn ranked_through<'s>(
        &self,
        stack: &'s Stack,
        adversary: &dyn Adversary,
    ) -> Result<Option<&'s Stack>, Error> {
        let defense = KnownDefense::new(stack, &self.material);
        Ok((adversary.knows_the_defense() && defense.ranks_hypotheses()?).then_some(stack))
    }

    /// What `adversary` makes of the attacked vectors, or of those of `others`. It is checked, because users write
    /// adversaries too.
    fn restored(
        &mut self,
        stack: &Stack,
        adversary: &dyn Adversary,
        protected: &Array2<f32>,
        others: Option<&[usize]>,
    ) -> Result<Restored, Error> {
        let defense = KnownDefense::new(stack, &self.material);
        let mut knowledge = Knowledge::new(defense, protected, &adversary.needs(), &mut self.fits);
        if let Some(documents) = others {
            knowledge = knowledge.of_others(documents);
        }
        let restored = self.meter.of(Stage::Restoring, || adversary.restore(&mut knowledge))?;
        let rows = others.map_or(self.truths.len(), <[usize]>::len);
        let expected = (rows, defense.reduced_dimension()?);
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

    /// Whether an adversary from the whole registry is worth running on `stack`.
    pub(super) fn can_gain(&self, stack: &Stack, adversary: &dyn Adversary) -> Result<bool, Error> {
        adversary.can_gain(&KnownDefense::new(stack, &self.material))
    }

    /// Whether `adversary` attacks the key of `stack` with enough means: with as many pairs as the stored vectors have
    /// dimensions, or with a success of [`RESTORED`]. `None` if the stack has no key that turns the space.
    pub(super) fn attacks_key(
        &self,
        stack: &Stack,
        adversary: &dyn Adversary,
        (dimension, restoration): (usize, f64),
    ) -> Result<Option<bool>, Error> {
        let defense = KnownDefense::new(stack, &self.material);
        let suffices = adversary.needs().leaked_pairs >= dimension || restoration >= RESTORED;
        let attacks = || Ok(suffices && adversary.attacks_key(&defense)?);
        defense.is_turned_by_its_key()?.then(attacks).transpose()
    }

    fn invert(
        &self,
        attack: &dyn Attack,
        [estimates, observed]: &[Array2<f32>; 2],
        known: &Known<'_>,
    ) -> Result<Rc<[Output]>, Error> {
        let mut resources = Resources::new(&self.oracle);
        resources.own = self.material.clean.taught()?;
        resources.language = self.material.clean.language();
        // it draws nothing, so that any seed will do
        let image = |clean: ArrayView2<'_, f32>| {
            Ok(known.stack.protect_owned(Role::Document, clean.to_owned(), &mut Rng::seeded(0))?)
        };
        let space = |clean: ArrayView2<'_, f32>| Ok(known.stack.reduced(clean.to_owned())?);
        let image = known.through.then_some(&image as &Image<'_>);
        let space = known.reduces.then_some(&space as &Image<'_>);
        let expected = known.agreement.filter(|_| image.is_none());
        let expected = expected.map(|known| if space.is_some() { known.nearness } else { known.cosine });
        let ranking = Ranking { targets: observed.view(), image, space, expected };
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
        Ok(outputs.collect())
    }
}

/// Returns `stack` under the key that attackers train under. They do not know the real one, so they use one that is
/// the same in every training, and an inverter and its corrector learn the same map. `None` if no key is needed.
pub fn training_imitation(stack: &Stack) -> Option<Arc<dyn Defense>> {
    stack.imitation(&mut Rng::seeded(TRAINING_KEY))
}

/// The seed of that key.
const TRAINING_KEY: u64 = u64::MAX;

/// The documents in an order drawn by `seed`, and of equal texts only the first: no text is attacked twice, or both
/// attacked and known.
pub(super) fn order(corpus: &Corpus, normalizer: &Normalizer, seed: u64) -> Vec<usize> {
    let mut seen = HashSet::new();
    let mut order = shuffled(corpus.texts().len(), seed);
    order.retain(|&document| seen.insert(normalizer.apply(&corpus.texts()[document])));
    order
}

/// `0..n` in an order drawn by `seed` (Fisher–Yates), the same in every version.
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
