//! Adversaries behind a projection, with an embedder and an attack that need no model.

use std::fmt;

use embosk::attacks::{self, Attack, Inversion, Ranking, Resources};
use embosk::embedder::Normalizer;
use embosk::evaluate::adversaries::{
    Adversary, Averaging, Informed, Leaked, Naive, Registry, Retrained, Unpaired,
};
use embosk::evaluate::records::{Split, generate};
use embosk::evaluate::{Corpus, Evaluation, Report};
use embosk::{
    BoxError, Embedder, GaussianNoise, Key, Microaggregation, Projection, Quantization, Role, Rotation, Stack,
};
use ndarray::{Array2, ArrayView2};

use crate::common::lookup::{Lookup, best};
use crate::common::words;

const DIM: usize = 48;
const DIMS: usize = 20;

/// A unit vector of each text's words; the first coordinates weigh most.
#[derive(Clone, Copy)]
struct Words;

impl Embedder for Words {
    fn embed(&self, _: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        Ok(words::vectors(texts, DIM, |at| 1.0 + at as f32 / 8.0))
    }

    fn normalizer(&self) -> Option<Normalizer> {
        Some(Normalizer::lowercase())
    }
}

/// [`Lookup`] that ranks as it is told: in the space of the targets, through the image of the defense.
#[derive(Debug)]
struct Ranked(Lookup);

impl Attack for Ranked {
    fn invert(
        &self,
        vectors: ArrayView2<'_, f32>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, attacks::Error> {
        self.0.invert(vectors, resources)
    }

    fn invert_ranked_by(
        &self,
        estimates: ArrayView2<'_, f32>,
        ranking: &Ranking<'_>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, attacks::Error> {
        assert_eq!(estimates.ncols(), DIM, "models read vectors of the embedder's dimension");
        let Some(space) = ranking.space else { return self.0.invert(estimates, resources) };
        let texts: Vec<&str> = self.0.0.iter().map(String::as_str).collect();
        let known = resources.oracle.embed(&texts).map_err(attacks::Error::Oracle)?;
        let seen = space(known.view()).map_err(attacks::Error::Oracle)?;
        let images =
            ranking.image.map(|image| image(known.view())).transpose().map_err(attacks::Error::Oracle)?;
        let by_target = ranking.targets.rows().into_iter().map(|target| {
            best(&texts, |text| {
                let image = images.as_ref().map(|images| images.row(text));
                Ranking::likeness_in_space(target, seen.row(text), image)
            })
        });
        Ok(by_target.collect())
    }
}

impl fmt::Display for Ranked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ranked {}", self.0)
    }
}

fn key() -> Key {
    Key::from_bytes([7; 32])
}

/// Fitted on records that are neither attacked nor the attacker's own.
fn projection() -> Projection {
    let texts: Vec<String> = generate(Split::Train, 77).take(500).map(|record| record.text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    Projection::fit(Words.embed(Role::Document, &texts).unwrap().view(), DIMS).unwrap()
}

fn noise(sigma: f64) -> GaussianNoise {
    GaussianNoise::new(sigma).unwrap()
}

fn run(stacks: &[Stack], adversaries: Vec<std::sync::Arc<dyn Adversary>>) -> Report {
    let corpus = Corpus::records(900, 3);
    let known = corpus.texts().iter().map(|text| text.to_uppercase()).collect();
    let attack = || Ranked(Lookup(Vec::clone(&known)));
    let mut evaluation = Evaluation::new(Words).corpus(corpus.clone()).attack(attack()).retrained(attack());
    evaluation = evaluation.samples(60).seed(5);
    evaluation = stacks.iter().cloned().fold(evaluation, Evaluation::defense);
    adversaries.into_iter().fold(evaluation, Evaluation::adversary).run().unwrap()
}

fn values(report: &Report, metric: &str) -> Vec<f64> {
    report.rows.iter().map(|row| row.score(metric).unwrap().value).collect()
}

macro_rules! adversaries {
    ($($adversary:expr),*) => { vec![$(std::sync::Arc::new($adversary) as std::sync::Arc<dyn Adversary>),*] };
}

/// Without noise, the projected hypothesis that equals the stored vector is the text; the topic needs no guess.
#[test]
fn a_projection_alone_hides_no_fact_from_who_knows_it() {
    let stack = || Stack::new().with(projection());
    let rounded = stack().with(Quantization::new(8).unwrap());
    let report = run(&[stack(), rounded], adversaries![Naive, Informed(400)]);
    let (guess, exact) = (values(&report, "guess"), values(&report, "exact_match"));
    assert!(guess[0] < 0.2, "who knows nothing of the defense compares whole hypotheses: {guess:?}");
    assert!(guess[1] > 0.97 && guess[3] > 0.9, "{guess:?}");
    assert!(exact[1] > 0.97 && exact[3] > 0.9, "{exact:?}");
    // who knows nothing of the defense feeds the model the few coordinates as they are
    let cosine = values(&report, "restored_cosine");
    assert!(cosine[1] > 0.7 && cosine[0] < 0.4, "{cosine:?}");
}

/// Averaging wears off noise behind a projection as well, but does not restore what the projection left out.
#[test]
fn averaging_restores_only_what_a_projection_kept() {
    let whole = Stack::new().with(noise(0.15));
    let coarse = Stack::new().with(projection()).with(noise(0.15));
    let report = run(&[whole, coarse], adversaries![Informed(400), Averaging::new(16)]);
    for metric in ["restored_cosine", "candidate_recall_at_1", "guess"] {
        let of = values(&report, metric);
        assert!(of[3] > of[2] + 0.03, "means of releases carry less noise: {metric}: {of:?}");
    }
    let of = values(&report, "restored_cosine");
    assert!(of[2] < of[0] && of[3] < of[1] - 0.03, "{of:?}");
}

/// A key behind the projection is undone in its few dimensions by pairs, and by clouds.
#[test]
fn a_rotation_behind_a_projection_is_undone_there() {
    let clear = Stack::new().with(projection()).with(noise(0.02));
    let turned = Stack::new().with(projection()).with(Rotation::deferred(&key())).with(noise(0.02));
    let report = run(&[clear, turned], adversaries![Informed(400), Leaked(100), Unpaired(400)]);
    let (guess, cosine) = (values(&report, "guess"), values(&report, "restored_cosine"));
    // rows: clear (informed, leaked, unpaired), turned (the same)
    assert!(guess[3] < 0.2 && cosine[3] < cosine[0] - 0.2, "{guess:?} {cosine:?}");
    assert!(guess[4] > guess[0] - 0.1 && cosine[4] > cosine[0] - 0.05, "{guess:?} {cosine:?}");
    assert!(report.rows[4].map.is_some(), "pairs of coarse vectors show the rotation");
    assert!(report.rows[5].map.is_some(), "clouds of coarse vectors are laid on each other");
}

/// Directions that a key chooses are unknown until pairs show them.
#[test]
fn directions_under_a_key_take_pairs() {
    let keyed = Stack::new().with(Projection::keyed(&key(), DIMS).unwrap()).with(noise(0.02));
    let report = run(&[keyed], adversaries![Naive, Informed(400), Leaked(300), Retrained::new()]);
    let (guess, cosine) = (values(&report, "guess"), values(&report, "restored_cosine"));
    assert!(guess[0] < 0.2 && guess[1] < 0.2 && guess[2] > 0.3, "{guess:?}");
    assert!(cosine[1] < cosine[2] - 0.2, "{cosine:?}");
}

/// At least eight documents share a vector, so nobody tells one from the seven others, and averages gain nothing.
#[test]
fn documents_of_a_group_are_not_told_apart() {
    let corpus = Corpus::records(900, 3);
    let texts: Vec<&str> = corpus.texts().iter().map(String::as_str).collect();
    let groups = Microaggregation::fit(Words.embed(Role::Document, &texts).unwrap().view(), 8).unwrap();
    let stacks = [Stack::new(), Stack::new().with(groups)];
    let report = run(&stacks, adversaries![Naive, Informed(10_000), Averaging::new(16)]);
    let [guess, told_apart, cosine] =
        ["guess", "candidate_recall_at_1", "restored_cosine"].map(|metric| values(&report, metric));
    // rows: undefended (naive, informed, averaging), grouped (the same)
    assert!(told_apart[..3].iter().all(|share| *share > 0.9), "{told_apart:?}");
    assert!(told_apart[3..].iter().all(|share| *share < 0.45), "{told_apart:?}");
    assert!((3..6).all(|row| guess[row] < guess[row - 3]), "{guess:?}");
    assert!(cosine[5] < cosine[4] + 0.02 && cosine[5] < cosine[2] - 0.05, "{cosine:?}");
}

#[test]
fn every_adversary_takes_coarse_vectors() {
    let fitted = Stack::new().with(projection()).with(Rotation::deferred(&key())).with(noise(0.1));
    let keyed = Stack::new().with(Projection::keyed(&key(), DIMS).unwrap());
    let corpus = Corpus::records(400, 3);
    let known = corpus.texts().iter().map(|text| text.to_uppercase()).collect();
    let report = Evaluation::new(Words)
        .corpus(corpus)
        .attack(Ranked(Lookup(known)))
        .samples(20)
        .seed(5)
        .registry(Registry::default())
        .defense(fitted)
        .defense(keyed)
        .every_adversary()
        .run()
        .unwrap();
    let names: std::collections::BTreeSet<_> = report.rows.iter().map(|row| row.adversary.clone()).collect();
    assert!(names.len() > 6, "{names:?}");
    for row in &report.rows {
        for metric in ["guess", "restored_cosine", "ndcg_at_10", "membership_auc"] {
            assert!(row.score(metric).unwrap().value.is_finite(), "{metric} of {}", row.adversary);
        }
    }
}
