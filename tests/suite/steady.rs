//! Embedders that give other vectors each time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use embosk::embedder::{EmbeddingCache, Identity};
use embosk::evaluate::adversaries::{Leaked, Naive};
use embosk::evaluate::{Corpus, Evaluation, Report};
use embosk::{BoxError, Defense, Embedder, Error, GaussianNoise, Rng, Role};
use ndarray::Array2;

use crate::common::letters::letters;
use crate::common::lookup::Lookup;

/// [`letters`], whose vectors of norm 1 have other noise in each answer, as with dropout.
struct Noisy {
    /// About how long the noise is.
    length: f64,
    /// How many texts were embedded.
    asked: AtomicU64,
}

impl Noisy {
    fn new(length: f64) -> Arc<Self> {
        Arc::new(Self { length, asked: AtomicU64::new(0) })
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Embedder for Noisy {
    fn embed(&self, _: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        let before = self.asked.fetch_add(texts.len() as u64, Ordering::Relaxed);
        let mut vectors = letters(texts)?;
        let noise = GaussianNoise::new(self.length / 64_f64.sqrt())?;
        noise.protect(Role::Document, vectors.view_mut(), &mut Rng::seeded(before))?;
        Ok(vectors)
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::new("noisy", "0a1b"))
    }
}

fn corpus() -> Corpus {
    Corpus::records(300, 1)
}

fn evaluation(embedder: &Arc<Noisy>) -> Evaluation<Arc<Noisy>> {
    Evaluation::new(Arc::clone(embedder)).corpus(corpus())
}

fn warned(report: &Report) -> bool {
    report.warnings.iter().any(|warning| warning.contains("slightly different vectors each time"))
}

#[track_caller]
fn refused(report: Result<Report, Error>) {
    let message = report.unwrap_err().to_string();
    assert!(message.contains("gives other vectors each time: 4 texts"), "{message}");
    assert!(message.contains("0.99 is needed") && message.contains("turn off dropout"), "{message}");
}

#[test]
fn a_steady_embedder_passes_a_nearly_steady_one_is_warned_of_and_a_noisy_one_refused() {
    for (length, warns) in [(0.0, false), (0.003, false), (0.03, true)] {
        let embedder = Noisy::new(length);
        assert_eq!(warned(&evaluation(&embedder).run().unwrap()), warns, "{length}");
        let texts = 300 + corpus().queries().len() as u64;
        assert_eq!(embedder.asked(), texts + 4, "four texts are embedded again");
    }
    for length in [0.2, 0.5] {
        let embedder = Noisy::new(length);
        refused(evaluation(&embedder).run());
        assert_eq!(embedder.asked(), 300 + 4, "nothing more is asked of it");
    }
}

#[test]
fn a_noisy_surrogate_is_refused() {
    let attack = Lookup(corpus().texts().to_vec());
    let evaluation = evaluation(&Noisy::new(0.0)).attack(attack).samples(10).adversary(Leaked(20));
    refused(evaluation.surrogate(Noisy::new(0.5)).run());
}

/// Cached vectors ask nothing of an embedder, and a noisy one leaves none.
#[test]
fn the_first_texts_that_are_not_cached_show_the_noise() {
    let place = tempfile::tempdir().unwrap();
    let cached =
        |embedder: &Arc<Noisy>, place: &Path| evaluation(embedder).cache(EmbeddingCache::new(place).unwrap());
    for _ in 0..2 {
        refused(cached(&Noisy::new(0.5), place.path()).run());
    }
    cached(&Noisy::new(0.0), place.path()).run().unwrap();
    let noisy = Noisy::new(0.5);
    cached(&noisy, place.path()).run().unwrap();
    assert_eq!(noisy.asked(), 0, "everything is cached");
    let attacked = |length| {
        let new = corpus().texts().iter().map(|text| text.to_uppercase()).collect();
        let evaluation = cached(&Noisy::new(length), place.path()).guess_candidates(0);
        evaluation.attack(Lookup(new)).samples(10).adversary(Naive).run()
    };
    refused(attacked(0.5));
    assert!(warned(&attacked(0.03).unwrap()), "only the attack asked it");
}
