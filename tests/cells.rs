//! Adversaries on rotations by cell, with an embedder and an attack that need no model.
#![cfg(feature = "evaluate")]
#![allow(clippy::unwrap_used)]

#[path = "common/lookup.rs"]
mod lookup;
#[path = "common/words.rs"]
mod words;

use std::sync::Arc;

use embosk::embedder::Normalizer;
use embosk::evaluate::adversaries::{Adversary, Averaging, Leaked, Naive, Unpaired};
use embosk::evaluate::records::{Split, generate};
use embosk::evaluate::{Corpus, Evaluation, Report};
use embosk::{BoxError, CellRotation, Cells, Embedder, GaussianNoise, Key, Role, Rotation, Stack};
use ndarray::Array2;

use self::lookup::Lookup;

const DIM: usize = 48;

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

fn key() -> Key {
    Key::from_bytes([7; 32])
}

fn cells(corpus: &Corpus, max: usize) -> Stack {
    let texts: Vec<&str> = corpus.texts().iter().map(String::as_str).collect();
    let vectors = Words.embed(Role::Document, &texts).unwrap();
    let cells = Cells::fit(vectors.view(), 6, max).unwrap();
    Stack::new().with(CellRotation::new(&key(), cells).unwrap())
}

fn run(corpus: &Corpus, stacks: Vec<Stack>, adversaries: Vec<Arc<dyn Adversary>>) -> Report {
    let known = corpus.texts().iter().map(|text| text.to_uppercase()).collect();
    let own = generate(Split::Train, 9).take(1_200).map(|record| record.text).collect();
    let mut evaluation = Evaluation::new(Words).corpus(corpus.clone()).attack(Lookup(known)).samples(60);
    evaluation = evaluation.attacker_texts("records of the training split", own);
    evaluation = stacks.into_iter().fold(evaluation.seed(5), Evaluation::defense);
    adversaries.into_iter().fold(evaluation, Evaluation::adversary).run().unwrap()
}

fn values(report: &Report, metric: &str) -> Vec<f64> {
    report.rows.iter().map(|row| row.score(metric).unwrap().value).collect()
}

macro_rules! adversaries {
    ($($adversary:expr),*) => { vec![$(Arc::new($adversary) as Arc<dyn Adversary>),*] };
}

/// A rotation is undone by as many pairs as there are dimensions; with cells it takes as many for each.
#[test]
fn it_takes_pairs_for_each_cell() {
    let corpus = Corpus::records(1_200, 3);
    let rotation = Stack::new().with(Rotation::new(&key(), DIM).unwrap());
    let stacks = vec![rotation, cells(&corpus, 200)];
    let report = run(&corpus, stacks, adversaries![Naive, Leaked(64), Leaked(1_000)]);
    let exact = values(&report, "exact_match");
    assert!(exact[0] < 0.1 && exact[1] > 0.95 && exact[2] > 0.95, "{exact:?}");
    assert!(exact[4] < 0.85 && exact[5] > 0.95, "{exact:?}");
    let names = &report.rows[5].map;
    assert!(names.as_deref().is_some_and(|name| name.contains("procrustes")), "{names:?}");
}

/// Noise after the cells is removed as behind a rotation, and averaged releases carry less of it.
#[test]
fn noise_after_the_cells_is_removed_too() {
    let corpus = Corpus::records(1_200, 4);
    let noisy = |stack: Stack| stack.with(GaussianNoise::new(0.08).unwrap());
    let rotation = Stack::new().with(Rotation::new(&key(), DIM).unwrap());
    let stacks = vec![noisy(rotation), noisy(cells(&corpus, 300))];
    let report = run(&corpus, stacks, adversaries![Leaked(1_000), Averaging::new(16).leaked(1_000)]);
    let cosine = values(&report, "restored_cosine");
    assert!(cosine[2] > cosine[0] - 0.05 && cosine[3] > cosine[2] + 0.02, "{cosine:?}");
}

/// An attacker without pairs has a cloud for each cell, and too few vectors in a small one.
#[test]
fn clouds_are_as_large_as_cells() {
    let corpus = Corpus::records(1_200, 6);
    let rotation = Stack::new().with(Rotation::new(&key(), DIM).unwrap());
    let stacks = vec![rotation, cells(&corpus, 40)];
    let report = run(&corpus, stacks, adversaries![Unpaired(1_200)]);
    let exact = values(&report, "exact_match");
    assert!(exact[0] > 0.8 && exact[1] < 0.5, "{exact:?}");
}
