//! The attack's side of an evaluation: what comes back of the sampled texts.

use std::collections::HashSet;
use std::rc::Rc;

use embosk_attacks::Attack;
use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, Axis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

use super::Normalizer;
use super::adversary::Adversary;
use super::corpus::Corpus;
use super::oracle::Oracle;
use super::outcome::{Outcome, Recovered, Truth};
use super::report::Example;
use super::retrieval::normalize_rows;
use crate::Error;

/// Attacks on the same sampled texts, under one defense after the other.
pub(super) struct Trials<'a> {
    attack: &'a dyn Attack,
    oracle: Oracle<'a>,
    normalizer: &'a Normalizer,
    /// The clean vectors of all documents.
    clean: &'a Array2<f32>,
    unit_norm: bool,
    seed: u64,
    /// The positions of the attacked documents, and after them those of adversaries' pairs.
    attacked: Vec<usize>,
    spare: Vec<usize>,
    truths: Vec<Truth>,
    /// What was attacked already: equal vectors have equal outcomes.
    done: Vec<(Array2<f32>, Rc<Outcome>)>,
}

impl<'a> Trials<'a> {
    /// `samples` documents are drawn from the corpus by `seed`.
    pub(super) fn new(
        attack: &'a dyn Attack,
        oracle: Oracle<'a>,
        normalizer: &'a Normalizer,
        (corpus, clean): (&Corpus, &'a Array2<f32>),
        (samples, seed): (usize, u64),
    ) -> Self {
        let mut attacked = order(corpus, normalizer, seed);
        let spare = attacked.split_off(samples.min(attacked.len()));
        let truths =
            attacked.iter().map(|&document| Truth::new(corpus, document, clean, normalizer)).collect();
        let unit_norm = is_unit_norm(clean);
        Self { attack, oracle, normalizer, clean, unit_norm, seed, attacked, spare, truths, done: Vec::new() }
    }

    /// The attack on the undefended vectors, and its outputs held against other samples' texts.
    pub(super) fn ceiling_and_floor(&mut self) -> Result<(Rc<Outcome>, Outcome), Error> {
        let clean = self.clean;
        let (ceiling, _) = self.run(&Stack::new(), Adversary::Naive, clean)?;
        let mut others = self.truths.clone();
        others.rotate_left(1);
        let floor = Outcome::new(ceiling.recovered.clone(), &others);
        Ok((ceiling, floor))
    }

    /// The first `n` attacked texts, and what came back of them.
    pub(super) fn examples(&self, outcome: &Outcome, n: usize) -> Vec<Example> {
        outcome.examples(&self.truths, n)
    }

    /// What `adversary` recovers from `protected`, the vectors of all documents under `stack`, and the
    /// map that he chose for it.
    pub(super) fn run(
        &mut self,
        stack: &Stack,
        adversary: Adversary,
        protected: &Array2<f32>,
    ) -> Result<(Rc<Outcome>, Option<String>), Error> {
        self.oracle.label(format!("{stack}, {adversary}"));
        let (his, clean) = self.pairs(stack, adversary, protected)?;
        let attacked = protected.select(Axis(0), &self.attacked);
        let (mut vectors, map) = adversary.restore(attacked, &his, &clean)?;
        if self.unit_norm {
            normalize_rows(vectors.view_mut());
        }
        if let Some((_, outcome)) = self.done.iter().find(|(done, _)| same_bits(done, &vectors)) {
            return Ok((Rc::clone(outcome), map));
        }
        let outcome = Rc::new(self.invert(&vectors)?);
        self.done.push((vectors, Rc::clone(&outcome)));
        Ok((outcome, map))
    }

    /// What the adversary learns from: protected and clean vectors of documents that are not attacked.
    fn pairs(
        &self,
        stack: &Stack,
        adversary: Adversary,
        protected: &Array2<f32>,
    ) -> Result<(Array2<f32>, Array2<f32>), Error> {
        let documents = &self.spare[..adversary.pairs()];
        let clean = self.clean.select(Axis(0), documents);
        if !adversary.makes_pairs() {
            return Ok((protected.select(Axis(0), documents), clean));
        }
        // randomness of his own: neither the evaluation's noise nor its keys
        let mut rng = Rng::seeded(!self.seed);
        let mut made = clean.clone();
        match stack.imitation(&mut rng) {
            Some(imitation) => imitation.protect(Role::Document, made.view_mut(), &mut rng)?,
            None => stack.protect(Role::Document, made.view_mut(), &mut rng)?,
        }
        Ok((made, clean))
    }

    fn invert(&self, vectors: &Array2<f32>) -> Result<Outcome, Error> {
        let inversions = self.attack.invert(vectors.view(), &|texts| self.oracle.embed(texts))?;
        if inversions.len() != vectors.nrows() {
            return Err(Error::Setting("the attack returned another number of texts than vectors".into()));
        }
        let outputs: Vec<&str> = inversions.iter().map(|inversion| inversion.output.as_str()).collect();
        let embedded = self.oracle.embed(&outputs).map_err(Error::Embedder)?;
        let recovered = inversions.iter().zip(embedded.rows());
        let recovered = recovered.map(|(inversion, vector)| Recovered {
            text: self.normalizer.apply(&inversion.output),
            vector: vector.to_owned(),
            queries: inversion.queries,
        });
        Ok(Outcome::new(recovered.collect(), &self.truths))
    }
}

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
        let other = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, other as usize);
    }
    order
}

fn is_unit_norm(vectors: &Array2<f32>) -> bool {
    vectors.rows().into_iter().all(|row| (row.dot(&row).sqrt() - 1.0).abs() < 1e-3)
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
