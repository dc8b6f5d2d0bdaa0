//! The evaluation from beginning to end, with an embedder and an attack that need no model.
#![allow(clippy::float_cmp)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use embosk::attacks::{self, Attack, Inversion, Ranking, Resources};
use embosk::embedder::{ByRole, Described, EmbeddingCache, Identity, Normalizer};
use embosk::evaluate::adversaries::{
    self, Adversary, Argument, Averaging, Informed, Knowledge, KnownDefense, Leaked, Mapped, Naive,
    NamedAdversary, Needs, Registry, Restored, Retrained, Room, Unpaired,
};
use embosk::evaluate::records::{Split, generate};
use embosk::evaluate::retrieval::average_precision;
use embosk::evaluate::statistics::proportion;
use embosk::evaluate::{Corpus, Evaluation, Metric, Report, Row, training_imitation};
use embosk::{
    BoxError, Defense, Embedder, Error, GaussianNoise, Guarantee, Key, Permutation, Quantization, Rng, Role,
    Rotation, Stack,
};
use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2, Axis, concatenate, s};
use serde_json::Value;

use crate::common::lookup::{Lookup, best};
use crate::common::words;

const DIM: usize = 48;

/// A unit vector of each text's words, lower-cased. The weights are no small whole numbers: these would tie.
#[derive(Default)]
struct Words(AtomicUsize);

impl Embedder for Words {
    fn embed(&self, _: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self.0.fetch_add(texts.len(), Ordering::Relaxed);
        Ok(words::vectors(texts, DIM, |_| 1.0))
    }
}

/// An attack that knows every text, and forgets the case that embedders of words drop.
fn knowing(corpus: &Corpus) -> Lookup {
    Lookup(corpus.texts().iter().map(|text| text.to_uppercase()).collect())
}

fn evaluation(corpus: &Corpus) -> Evaluation<Arc<Words>> {
    Evaluation::new(Arc::new(Words::default()))
        .corpus(corpus.clone())
        .normalizer(Normalizer::lowercase())
        .samples(40)
        .seed(5)
}

fn attacked(corpus: &Corpus) -> Evaluation<Arc<Words>> {
    evaluation(corpus).attack(knowing(corpus))
}

fn rotation() -> Stack {
    Stack::new().with(Rotation::new(&Key::from_bytes([7; 32]), DIM).unwrap())
}

fn json(report: &Report) -> Value {
    serde_json::from_str(&report.to_json().unwrap()).unwrap()
}

/// [`Words`], with something to say.
struct Cautious(Words);

impl Embedder for Cautious {
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self.0.embed(role, texts)
    }

    fn caveats(&self) -> Vec<String> {
        vec!["it is searched otherwise".into()]
    }
}

#[test]
fn what_an_embedder_cautions_of_is_among_the_warnings() {
    let corpus = Corpus::records(60, 1);
    let evaluation = Evaluation::new(Cautious(Words::default())).corpus(corpus.clone()).samples(20).seed(5);
    let report = evaluation.attack(knowing(&corpus)).defense(Stack::new()).adversary(Naive).run().unwrap();
    assert!(report.warnings.contains(&"it is searched otherwise".to_owned()), "{:?}", report.warnings);
    let told =
        Evaluation::new(Cautious(Words::default())).corpus(corpus.clone()).samples(20).caveat("take care");
    let report = told.attack(knowing(&corpus)).defense(Stack::new()).adversary(Naive).run().unwrap();
    assert!(report.warnings.contains(&"take care".to_owned()), "{:?}", report.warnings);
}

#[test]
fn a_rotation_stops_the_naive_and_not_the_one_with_pairs() {
    let corpus = Corpus::records(300, 1);
    let report = attacked(&corpus)
        .defense(Stack::new())
        .defense(rotation())
        .adversary(Naive)
        .adversary(Leaked(100))
        .run()
        .unwrap();
    let report = json(&report);
    assert_eq!(report["conclusive"][0], "leak");
    let rows = report["rows"].as_array().unwrap();
    let value = |row: usize, name: &str| rows[row][name]["value"].as_f64().unwrap();
    let names: Vec<_> = rows.iter().map(|row| row["adversary"].as_str().unwrap()).collect();
    assert_eq!(names, ["naive", "leaked(100)", "naive", "leaked(100)"]);
    assert_eq!([0, 1, 2, 3].map(|row| value(row, "exact_match") > 0.9), [true, true, false, true]);
    assert_eq!(
        [0, 1, 2, 3].map(|row| rows[row]["map"].as_str()),
        [None, Some("identity"), None, Some("procrustes")]
    );
    // a guess among 300 texts is right now and then
    assert!(value(0, "leak") == 1.0 && value(2, "exact_match") < 0.1);
    assert!(value(2, "leak").abs() < 0.1 && value(3, "leak") > 0.9, "{report:#}");
    assert!(value(0, "cosine") > 0.999 && value(2, "cosine") < 0.9);
    let restored = [0, 1, 2, 3].map(|row| value(row, "restored_cosine"));
    assert!(restored[0] > 0.9999 && restored[2].abs() < 0.5 && restored[3] > 0.9999, "{restored:?}");
    let [clean, turned] = [0, 2].map(|row| value(row, "ndcg_at_10"));
    assert!((clean - turned).abs() < 1e-3, "{clean} {turned}");
    assert!(value(0, "entity_recall") > 0.9 && value(2, "entity_recall") < 0.5);
    assert!(value(2, "bleu") < value(0, "bleu"));
}

/// An attacker who knows the defense fits a regression to noise on own pairs, and undoes no rotation without its
/// key.
#[test]
fn own_pairs_fit_noise_and_no_key() {
    let corpus = Corpus::records(600, 1);
    let report = attacked(&corpus)
        .defense("gaussian(sigma=0.1)".parse().unwrap())
        .defense(rotation())
        .adversary(Informed(500))
        .run()
        .unwrap();
    let report = json(&report);
    let value = |row: usize, name: &str| report["rows"][row][name]["value"].as_f64().unwrap();
    let map = report["rows"][0]["map"].as_str().unwrap();
    assert!(map.starts_with("ridge("), "{map}");
    assert!(value(0, "exact_match") > 0.8, "the map fits: {report:#}");
    assert!(value(1, "leak").abs() < 0.1 && value(1, "exact_match") < 0.1, "{report:#}");
}

/// Sixteen releases of fresh noise are worth a quarter of its sigma. Noise that a key determines is the
/// same in each, and averaging it gains nothing.
#[test]
fn averaging_undoes_fresh_noise_and_not_keyed_noise() {
    let corpus = Corpus::records(300, 1);
    let noise = |key: bool, sigma| {
        let keyed = || GaussianNoise::keyed(&Key::from_bytes([3; 32]), sigma);
        Stack::new().with(if key { keyed() } else { GaussianNoise::new(sigma) }.unwrap())
    };
    let report = attacked(&corpus)
        .defense(noise(false, 0.4))
        .defense(noise(true, 0.4))
        .defense(noise(false, 0.1))
        .adversary(Informed(1000))
        .adversary(Averaging::new(16))
        .run()
        .unwrap();
    let leak = |row: usize| report.rows[row].score("leak").unwrap().value;
    let [fresh, averaged, keyed, keyed_averaged, quarter] = [0, 1, 2, 3, 4].map(leak);
    assert!(averaged > fresh + 0.2, "{fresh} {averaged}");
    assert!((averaged - quarter).abs() < 0.1, "{averaged} {quarter}");
    assert!(
        (keyed - fresh).abs() < 0.15 && keyed_averaged < keyed + 0.05,
        "{fresh} {keyed} {keyed_averaged}"
    );
}

/// Leaked pairs undo the key, and noise is left: own pairs remove it, and releases average it out.
#[test]
fn behind_a_key_noise_is_worth_what_it_is_worth_without() {
    let corpus = Corpus::records(600, 1);
    let noise = |sigma| GaussianNoise::new(sigma).unwrap();
    let report = attacked(&corpus)
        .defense(Stack::new().with(noise(0.3)))
        .defense(rotation().with(noise(0.3)))
        .adversary(Informed(1000))
        .adversary(Leaked(400))
        .adversary(Averaging::new(16).leaked(400))
        .run()
        .unwrap();
    let leak = |row: usize| report.rows[row].score("leak").unwrap().value;
    let [without, _, _, blind, leaked, averaged] = [0, 1, 2, 3, 4, 5].map(leak);
    assert!(blind < 0.2, "{blind}");
    assert!(leaked > without - 0.15, "{leaked} {without}");
    assert!(averaged > leaked + 0.15, "{averaged} {leaked}");
}

/// Without a pair, the clouds undo the key: of averaged vectors, where there are several releases.
#[test]
fn behind_a_key_averaged_vectors_are_laid_by_clouds() {
    let corpus = Corpus::records(1500, 1);
    let noise = || GaussianNoise::new(0.06).unwrap();
    let keyed =
        Stack::new().with(GaussianNoise::keyed(&Key::from_bytes([3; 32]), 0.06).unwrap()).with(noise());
    let report = attacked(&corpus)
        .attacker_texts("own", own(1500))
        .defense(rotation().with(noise()))
        .defense(keyed)
        .adversary(Unpaired(1500))
        .adversary(Averaging::new(8))
        .run()
        .unwrap();
    let restored = |row: usize| report.rows[row].score("restored_cosine").unwrap().value;
    let map = |row: usize| report.rows[row].map.as_deref().unwrap();
    assert!(map(1).starts_with("unpaired("), "{}", map(1));
    assert!(restored(1) > 0.9 && restored(1) > restored(0), "{} {}", restored(0), restored(1));
    assert!(report.rows[1].score("leak").unwrap().value > 0.8);
    // a key that does not turn the space leaves nothing to lay on anything
    assert!(!map(3).contains("unpaired"), "{}", map(3));
}

/// Vectors that span a part of their space, as many embedders' do: a map from noisy to clean ones is then more
/// than the turn that it undoes. A key that turns nothing must not make the attacker weaker.
#[test]
fn noise_under_a_key_is_learnt_as_well_as_fresh_noise() {
    let corpus = Corpus::records(400, 1);
    let padded = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
        let vectors = Words::default().embed(Role::Document, texts)?;
        Ok(concatenate![Axis(1), vectors, Array2::zeros((texts.len(), DIM))])
    };
    let noise = |key: bool| {
        let keyed = || GaussianNoise::keyed(&Key::from_bytes([3; 32]), 0.1);
        Stack::new().with(if key { keyed() } else { GaussianNoise::new(0.1) }.unwrap())
    };
    let report = Evaluation::new(padded)
        .corpus(corpus.clone())
        .normalizer(Normalizer::lowercase())
        .attack(knowing(&corpus))
        .samples(40)
        .defense(noise(false))
        .defense(noise(true))
        .adversary(Naive)
        .adversary(Informed(1000))
        .adversary(Leaked(200))
        .run()
        .unwrap();
    let restored: Vec<f64> =
        report.rows.iter().map(|row| row.score("restored_cosine").unwrap().value).collect();
    for (fresh, keyed) in restored[..3].iter().zip(&restored[3..]) {
        assert!((fresh - keyed).abs() < 0.04, "{restored:?}");
    }
    assert!(restored[1] > restored[0] + 0.1 && restored[2] > restored[0] + 0.1, "{restored:?}");
}

/// A map learnt on texts of another kind makes the vectors worse, and real pairs show it.
#[test]
fn leaked_pairs_show_that_own_texts_are_of_another_kind() {
    let corpus = Corpus::records(300, 1);
    let rents: Vec<String> =
        (0..200).map(|n| format!("Tenant {n} paid a rent of {} euros", n * 37)).collect();
    let report = attacked(&corpus)
        .attacker_texts("rents", rents)
        .defense(Stack::new().with(GaussianNoise::new(0.05).unwrap()))
        .adversary(Naive)
        .adversary(Informed(200))
        .adversary(Leaked(40))
        .run()
        .unwrap();
    let report = json(&report);
    let restored = [0, 1, 2].map(|row| report["rows"][row]["restored_cosine"]["value"].as_f64().unwrap());
    assert!(restored[1] < restored[0] - 0.03 && restored[2] > restored[0] - 0.02, "{restored:?}");
}

/// With fewer own texts than lie between pairs that are held out together, there is one draw of each.
#[test]
fn a_handful_of_own_texts_is_enough_to_try() {
    let corpus = Corpus::records(100, 1);
    let keyed = GaussianNoise::keyed(&Key::from_bytes([3; 32]), 0.05).unwrap();
    let report = attacked(&corpus)
        .attacker_texts("own", own(5))
        .defense(Stack::new().with(keyed))
        .adversary(Informed(5))
        .adversary(Averaging::new(2))
        .run()
        .unwrap();
    let restored: Vec<f64> =
        report.rows.iter().map(|row| row.score("restored_cosine").unwrap().value).collect();
    assert!(restored.len() == 2 && restored.iter().all(|&cosine| cosine > 0.5), "{restored:?}");
}

/// The attack is for `Words`; the defended embedder is another one, of more dimensions.
#[test]
fn pairs_carry_the_attack_to_another_embedder() {
    let corpus = Corpus::records(600, 1);
    let other = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
        let halves: Vec<String> = texts.iter().map(|text| text.replace(' ', " other")).collect();
        let halves: Vec<&str> = halves.iter().map(String::as_str).collect();
        let (first, second) = (
            Words::default().embed(Role::Document, texts)?,
            Words::default().embed(Role::Document, &halves)?,
        );
        Ok(ndarray::concatenate(Axis(1), &[first.view(), second.view()])?)
    };
    let evaluation = || {
        Evaluation::new(other)
            .corpus(corpus.clone())
            .surrogate(Words::default())
            .attack(knowing(&corpus))
            .normalizer(Normalizer::lowercase())
            .samples(40)
    };
    let report = evaluation().adversary(Leaked(4)).adversary(Leaked(500)).run().unwrap();
    let leak = |row: usize| report.rows[row].score("leak").unwrap().value;
    assert!(leak(0) < 0.5 && leak(1) > 0.9, "{} {}", leak(0), leak(1));
    // the ceiling is what the best of them gets of undefended vectors, not the surrogate's own
    assert!((leak(1) - 1.0).abs() < 1e-9);
    let short = evaluation().adversary(Leaked(2)).run().unwrap();
    assert!(short.rows[0].score("leak").is_none(), "two pairs carry nothing over");
    let message = evaluation().adversary(Naive).run().unwrap_err().to_string();
    assert!(message.contains("the attack is on a surrogate's"), "{message}");
    let of_equal_dimension = attacked(&corpus).surrogate(Words::default()).adversary(Naive);
    assert!(of_equal_dimension.run().is_err());
    let defaults = evaluation().run().unwrap();
    assert!(defaults.rows.iter().all(|row| row.adversary != "naive"));
}

#[test]
fn a_retrained_attack_takes_the_protected_vectors() {
    let corpus = Corpus::records(300, 1);
    let report = |retrained: Lookup, defense: Stack| {
        let evaluation = attacked(&corpus).defense(defense).retrained(retrained);
        evaluation.adversary(Naive).adversary(Retrained::new()).run().unwrap()
    };
    let working = report(knowing(&corpus), rotation());
    assert!(working.is_conclusive(), "it fails under the key, and not without");
    let [naive, retrained] = &working.rows[..] else { panic!() };
    assert_eq!((retrained.adversary.as_str(), &retrained.map), ("retrained", &None));
    assert_eq!(naive.texts, retrained.texts);
    // one that fails undefended says nothing of a defense
    let damaged = report(Lookup(vec!["nothing of the kind".into()]), Stack::new());
    let [naive, retrained] = &damaged.rows[..] else { panic!() };
    assert!(
        naive.score("leak").unwrap().value == 1.0 && retrained.score("exact_match").unwrap().value == 0.0
    );
    let leak = &damaged.strengths[0];
    assert!(!damaged.conclusive.contains(&leak.leak) && leak.to_string().contains("the retrained attack"));
    assert!(naive.conclusive.contains(&leak.leak) && !retrained.conclusive.contains(&leak.leak));
    let message = attacked(&corpus).adversary(Retrained::new()).run().unwrap_err().to_string();
    assert!(message.contains("trained on protected vectors"), "{message}");
}

/// Knows texts by their vectors under a stack with a key of the attacker's own, and no other vectors.
#[derive(Debug)]
struct Trained(Lookup, Stack);

impl std::fmt::Display for Trained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "trained({})", self.0)
    }
}

impl Attack for Trained {
    fn invert(
        &self,
        vectors: ArrayView2<'_, f32>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, attacks::Error> {
        let protected = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
            let mut vectors = resources.oracle.embed(texts)?;
            let imitation = training_imitation(&self.1).unwrap();
            imitation.protect(Role::Document, vectors.view_mut(), &mut Rng::seeded(1))?;
            Ok(vectors)
        };
        self.0.invert(vectors, &resources.with_oracle(&protected))
    }
}

/// It fails under another key than its own, and undefended; that says something of the key all the same.
#[test]
fn an_attack_that_works_under_its_own_key_is_alive() {
    let corpus = Corpus::records(300, 1);
    let trained = || Trained(knowing(&corpus), rotation());
    let report = |defense: Stack| {
        let evaluation = attacked(&corpus).defense(defense).retrained(trained());
        evaluation.adversary(Retrained::new()).run().unwrap()
    };
    let keyed = report(rotation());
    assert!(keyed.is_conclusive(), "{:?}", keyed.reason);
    assert!(keyed.rows[0].score("leak").unwrap().value.abs() < 0.1);
    // for a stack without a key it has not shown that it works
    let other = report("gaussian(sigma=0.01)".parse().unwrap());
    let leak = &other.strengths[0];
    assert!(!other.conclusive.contains(&leak.leak) && leak.to_string().contains("gaussian(sigma=0.01)"));
}

/// Pairs undo the key, and what was trained on noise is left with noise.
#[test]
fn a_retrained_attack_follows_the_map_of_another() {
    let corpus = Corpus::records(300, 1);
    let report = attacked(&corpus)
        .defense(rotation().with(GaussianNoise::new(0.05).unwrap()))
        .retrained(knowing(&corpus))
        .adversary(Retrained::new())
        .adversary(Retrained::after(Leaked(100)))
        .adversary(Leaked(100))
        .run()
        .unwrap();
    let leak = |row: usize| report.rows[row].score("leak").unwrap().value;
    assert!(leak(0).abs() < 0.1 && leak(1) > 0.8, "{} {}", leak(0), leak(1));
    let row = &report.rows[1];
    assert_eq!((row.adversary.as_str(), row.map.as_deref()), ("retrained(leaked(100))", Some("clouds")));
    // the retrained attack reads vectors with their noise
    let restored = |row: usize| report.rows[row].score("restored_cosine").unwrap().value;
    assert!(restored(1) < restored(2), "{} {}", restored(1), restored(2));
}

/// Else the ordinary attack would be run under the name of the retrained one.
#[test]
fn an_attack_behind_a_map_needs_to_be_retrained_and_the_vectors_for_the_map() {
    let corpus = Corpus::records(300, 1);
    let refused = |spec: &str, evaluation: Evaluation<Arc<Words>>| {
        evaluation
            .defense(rotation())
            .adversary(adversaries::parse(spec).unwrap())
            .run()
            .unwrap_err()
            .to_string()
    };
    let without = refused("retrained(leaked(100))", attacked(&corpus));
    assert!(without.contains("`retrained(leaked(100))` needs an attack that was trained"), "{without}");
    let too_few = refused("retrained(unpaired(5))", attacked(&corpus).retrained(knowing(&corpus)));
    assert!(too_few.contains("`retrained(unpaired(5))` needs 50 vectors"), "{too_few}");
    assert!(adversaries::parse("retrained(retrained(leaked(5)))").is_err());
}

/// An adversary as a user writes one: what it does with what it is handed is a function.
struct Own {
    name: &'static str,
    needs: Needs,
    restore: fn(&mut Knowledge<'_>) -> Result<Restored, Error>,
}

impl Adversary for Own {
    fn needs(&self) -> Needs {
        self.needs
    }

    fn restore(&self, knowledge: &mut Knowledge<'_>) -> Result<Restored, Error> {
        (self.restore)(knowledge)
    }
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl std::fmt::Display for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The defense turns every vector around, and this adversary turns them back.
#[test]
fn an_adversary_of_ones_own_has_its_row() {
    #[derive(Debug, Clone)]
    struct Opposite;
    impl std::fmt::Display for Opposite {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("opposite")
        }
    }
    impl Defense for Opposite {
        fn protect(
            &self,
            _: Role,
            mut vectors: ArrayViewMut2<'_, f32>,
            _: &mut Rng,
        ) -> Result<(), embosk::defenses::Error> {
            vectors.mapv_inplace(|value| -value);
            Ok(())
        }

        fn guarantee(&self) -> Guarantee {
            Guarantee::None
        }
    }
    let corpus = Corpus::records(300, 1);
    let turning = || Own {
        name: "turning",
        needs: Needs::default(),
        restore: |knowledge| Ok(Restored::same(Mapped::by("turned back", -knowledge.attacked()?))),
    };
    let shared: Arc<dyn Adversary> = Arc::new(turning());
    let report = attacked(&corpus)
        .defense(Stack::new().with(Opposite))
        .adversary(Naive)
        .adversary(turning())
        .adversary(Arc::clone(&shared))
        .adversary(Box::new(turning()) as Box<dyn Adversary>)
        .run()
        .unwrap();
    let names: Vec<&str> = report.rows.iter().map(|row| row.adversary.as_str()).collect();
    assert_eq!(names, ["naive", "turning"], "the name is the identity");
    assert_eq!(report.rows[1].map.as_deref(), Some("turned back"));
    let leak = |row: usize| report.rows[row].score("leak").unwrap().value;
    assert!(leak(0) < 0.1 && (leak(1) - 1.0).abs() < 1e-9, "{} {}", leak(0), leak(1));
}

/// Pairs belong together and are not attacked, releases are averaged, and the keys of own pairs are undone.
#[test]
fn knowledge_hands_out_what_an_adversary_needs() {
    fn distance(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
        (a - b).mapv(|difference| difference * difference).mean().unwrap().sqrt()
    }
    fn look(knowledge: &mut Knowledge<'_>) -> Result<Restored, Error> {
        // 0.1 by 16 releases
        let is_noise = |it: f32| (it - 0.025).abs() < 0.003;
        let (attacked, stored) = (knowledge.attacked()?, knowledge.stored(60)?);
        if attacked.nrows() > 40 {
            // those of the store, for membership
            return Ok(Restored::same(attacked));
        }
        assert_eq!((attacked.dim(), stored.dim()), ((40, DIM), (60, DIM)));
        // the same documents, of another draw
        let drift = distance(&stored.slice(s![..40, ..]).to_owned(), &attacked);
        assert!(drift > 0.0 && drift < 0.05, "{drift}");
        let leaked = knowledge.leaked_pairs(30)?;
        let is_attacked = |row: ArrayView1<'_, f32>| attacked.rows().into_iter().any(|it| it == row);
        assert!(!leaked.protected.rows().into_iter().any(is_attacked));
        let is_keyed = knowledge.defense().is_keyed();
        assert_eq!(is_noise(distance(&leaked.protected, &leaked.clean)), !is_keyed);
        let own = knowledge.own_pairs(120)?;
        assert!(is_noise(distance(&own.pairs.protected, &own.pairs.clean)), "no key is left");
        assert_eq!(
            (own.pairs.clean.nrows(), own.is_keyed, own.is_turned),
            (100 + 100 + 120, is_keyed, is_keyed)
        );
        assert_eq!(own.pairs.clean.slice(s![200.., ..]), knowledge.own_clean().slice(s![..120, ..]));
        assert_eq!((knowledge.defense().draws()?, knowledge.defense().turns()?), (true, is_keyed));
        Ok(Restored::same(attacked))
    }
    let corpus = Corpus::records(300, 1);
    let noise = || Stack::new().with(GaussianNoise::new(0.1).unwrap());
    let needs = Needs::default().leaked_pairs(30).own_texts(200).releases(16);
    let report = attacked(&corpus)
        .attacker_texts("own", own(200))
        .defense(noise())
        .defense(Stack::new().with(Permutation::new(&Key::from_bytes([7; 32]), DIM).unwrap()).with(noise()))
        .adversary(Own { name: "looking", needs, restore: look })
        .run()
        .unwrap();
    assert_eq!(report.rows.len(), 2);
}

#[test]
fn an_adversary_who_asks_for_too_much_or_returns_too_little_is_refused() {
    type Restore = fn(&mut Knowledge<'_>) -> Result<Restored, Error>;
    let corpus = Corpus::records(100, 1);
    let cases: [(Restore, &str); 3] = [
        (
            |it| Ok(Restored::same(it.leaked_pairs(61)?.protected)),
            "asked for 61 leaked pairs, and there are 60",
        ),
        (|it| Ok(Restored::same(it.own_pairs(1)?.pairs.protected)), "asked for 1 texts of their own"),
        (|it| Ok(Restored::same(it.stored(50)?)), "`own` restored an array of shape (50, 48)"),
    ];
    for (restore, part) in cases {
        let own = Own { name: "own", needs: Needs::default(), restore };
        let message = attacked(&corpus).adversary(own).run().unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_registry_says_who_attacks_where_nobody_is_named() {
    #[derive(Debug)]
    struct Idle;
    impl std::fmt::Display for Idle {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("idle")
        }
    }
    impl Adversary for Idle {
        fn needs(&self) -> Needs {
            Needs::default()
        }

        fn restore(&self, knowledge: &mut Knowledge<'_>) -> Result<Restored, Error> {
            Ok(Restored::same(knowledge.attacked()?))
        }

        fn can_gain(&self, defense: &KnownDefense<'_>) -> Result<bool, Error> {
            Ok(defense.is_keyed())
        }
    }
    impl NamedAdversary for Idle {
        const NAME: &'static str = "idle";
        const USAGE: &'static str = "idle";
        const SUMMARY: &'static str = "does nothing";

        fn parse(argument: &Argument<'_>) -> Result<Self, Error> {
            argument.nothing().map(|()| Self)
        }

        fn all(_: &Room) -> Vec<Self> {
            vec![Self]
        }
    }
    let registry = Registry::default().with::<Idle>();
    assert_eq!(registry.parse("idle").unwrap().to_string(), "idle");
    assert!(registry.help().ends_with("`idle` does nothing"));
    let corpus = Corpus::records(100, 1);
    let names = |evaluation: Evaluation<Arc<Words>>| {
        let report = evaluation.attacker_texts("few", own(10)).registry(registry.clone()).run().unwrap();
        report.rows.iter().map(|row| row.adversary.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(attacked(&corpus)), "naive informed(10) leaked(60)");
    let all = "naive informed(10) leaked(8) leaked(32)";
    assert_eq!(names(attacked(&corpus).every_adversary()), all);
    assert_eq!(names(attacked(&corpus).every_adversary().defense(rotation())), format!("{all} idle"));
}

#[test]
fn every_adversary_that_the_corpus_has_room_for_is_run() {
    let corpus = Corpus::records(300, 1);
    let [noise, rounding] = ["gaussian(sigma=0.1)", "quantization(bits=4)"].map(|spec| spec.parse().unwrap());
    let all = attacked(&corpus).every_adversary().attacker_texts("few", own(200));
    let both = rotation().with(GaussianNoise::new(0.1).unwrap());
    let report = all.defense(rounding).defense(noise).defense(rotation()).defense(both).run().unwrap();
    let of = |defense: &str| {
        let rows = report.rows.iter().filter(|row| match row.defense.split_once(" | ") {
            Some(_) => defense == "both",
            None => row.defense.starts_with(defense),
        });
        rows.map(|row| row.adversary.as_str()).collect::<Vec<_>>().join(" ")
    };
    let common = "naive informed(200) leaked(8) leaked(32) leaked(128)";
    assert_eq!(of("quantization"), common);
    assert_eq!(of("gaussian"), format!("{common} averaging(4) averaging(16) averaging(64)"));
    assert_eq!(of("rotation"), format!("{common} unpaired(200)"));
    let both = format!("{common} unpaired(200) averaging(4) averaging(16) averaging(64) averaging(16, 96)");
    assert_eq!(of("both"), both);
    // a rotation keeps the neighbourhood by which a vector is known, noise does not
    for row in &report.rows {
        let linked = row.score("linkage_recall_at_1").map(|linkage| linkage.value > 0.9);
        assert_eq!(linked, row.defense.starts_with("rotation").then_some(!row.defense.contains("gaussian")));
    }
    assert_eq!(report.signature["attacker_texts"], "few:200");
}

/// Knows texts, and takes the one that ranks best.
#[derive(Debug)]
struct Ranked(Vec<String>);

impl std::fmt::Display for Ranked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ranked({})", self.0.len())
    }
}

impl Attack for Ranked {
    fn invert(
        &self,
        vectors: ArrayView2<'_, f32>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, attacks::Error> {
        self.invert_ranked_by(vectors, &Ranking::by(vectors), resources)
    }

    fn invert_ranked_by(
        &self,
        _: ArrayView2<'_, f32>,
        &Ranking { targets, image, .. }: &Ranking<'_>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, attacks::Error> {
        let texts: Vec<&str> = self.0.iter().map(String::as_str).collect();
        let vectors = resources.oracle.embed(&texts).map_err(attacks::Error::Oracle)?;
        let images = image.map(|image| image(vectors.view())).transpose().map_err(attacks::Error::Oracle)?;
        let best = targets.rows().into_iter().map(|target| {
            best(&texts, |text| {
                let image = images.as_ref().map(|images| images.row(text));
                Ranking::likeness(target, vectors.row(text), image)
            })
        });
        Ok(best.collect())
    }
}

/// Rounding has no key: of texts that differ in a word, one that is rounded to the stored vector is taken.
#[test]
fn an_attacker_who_knows_the_rounding_ranks_texts_through_it() {
    let corpus = Corpus::records(100, 1);
    let variants = |text: &String| {
        let words: Vec<&str> = text.split(' ').collect();
        let without = |left: usize| [&words[..left], &words[left + 1..]].concat().join(" ");
        std::iter::once(text.clone()).chain((0..words.len()).map(without)).collect::<Vec<_>>()
    };
    // no coordinate is 0, whose sign would be anybody's guess
    let dense = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
        let mut vectors = Words::default().embed(Role::Document, texts)?;
        let turn = Rotation::new(&Key::from_bytes([8; 32]), DIM)?;
        turn.protect(Role::Document, vectors.view_mut(), &mut Rng::seeded(0))?;
        Ok(vectors)
    };
    let rounding = || Quantization::new(1).unwrap();
    let report = Evaluation::new(dense)
        .corpus(corpus.clone())
        .samples(40)
        .attack(Ranked(corpus.texts().iter().flat_map(variants).collect()))
        .defense(Stack::new().with(rounding()))
        .defense(rotation().with(rounding()))
        .adversary(Naive)
        .adversary(Informed(200))
        .attacker_texts("own", own(200))
        .examples(40)
        .run()
        .unwrap();
    let code = |text: &str| dense(&[text]).unwrap().mapv(|value| value >= 0.0);
    let explained = |row: &embosk::evaluate::Row| {
        row.examples.iter().filter(|it| code(&it.text) == code(&it.recovered)).count()
    };
    let explained: Vec<usize> = report.rows.iter().map(explained).collect();
    assert!(explained[0] < 30 && explained[1] == 40, "{explained:?}");
    assert!(explained[2] < 5 && explained[3] < 5, "{explained:?}: nobody has the key");
}

/// Records of the training split.
fn own(n: usize) -> Vec<String> {
    generate(Split::Train, 9).take(n).map(|record| record.text).collect()
}

#[test]
fn the_json_has_the_fields_that_scripts_read() {
    let corpus = Corpus::records(100, 2);
    let report = json(&attacked(&corpus).adversary(Naive).note("embedder", "words").run().unwrap());
    let row = &report["rows"][0];
    assert_eq!((&row["defense"], &row["n"]), (&Value::from("none"), &Value::from(40)));
    for score in
        "exact_match bleu token_f1 rouge_l word_recall word_f1 entity_recall cosine restored_cosine floor leak \
         word_leak ndcg_at_10 recall_at_10 mrr_at_10"
            .split(' ')
    {
        let [value, low, high] = ["value", "low", "high"].map(|end| row[score][end].as_f64().unwrap());
        assert!(low <= value && value <= high, "{score}: {row}");
    }
    for setting in
        "embosk embedder corpus corpus_sha256 seed samples normalizer attack metrics queries".split(' ')
    {
        assert!(!report["signature"][setting].is_null(), "{setting}");
    }
    assert!(report["ceiling"]["bleu"]["value"].as_f64() > report["floor"]["bleu"]["value"].as_f64());
    assert!(report["floor"]["exact_match"]["value"].as_f64() < Some(0.1));
}

#[test]
fn equal_settings_give_an_equal_report_and_equal_vectors_one_attack() {
    let corpus = Corpus::records(120, 3);
    let naive = |e: Evaluation<Arc<Words>>| e.adversary(Naive).run().unwrap().to_json().unwrap();
    let noisy = || attacked(&corpus).defense("gaussian(sigma=0.1)".parse().unwrap());
    assert_eq!(naive(noisy()), naive(noisy()));
    let embedder = Arc::new(Words::default());
    let lookup = knowing(&corpus);
    let evaluation = Evaluation::new(Arc::clone(&embedder)).corpus(corpus.clone()).attack(lookup).samples(40);
    evaluation
        .guess_candidates(0)
        .adversary(Naive)
        .defense(Stack::new())
        .defense(Stack::new())
        .run()
        .unwrap();
    let queries = corpus.queries().len();
    // documents and queries once, and 4 documents again; the attack's texts and its outputs (upper-cased) once, from the
    // cache after that
    assert!(embedder.0.load(Ordering::Relaxed) <= 120 + queries + 4 + 120 + 40);
}

#[test]
fn an_adversary_named_twice_attacks_once() {
    let corpus = Corpus::records(100, 1);
    let evaluation = attacked(&corpus).adversary(Leaked(9)).adversary(Naive);
    let report = evaluation.adversary(Leaked(9)).run().unwrap();
    let names: Vec<&str> = report.rows.iter().map(|row| row.adversary.as_str()).collect();
    assert_eq!(names, ["leaked(9)", "naive"]);
}

#[test]
fn an_attack_that_does_not_work_undefended_proves_nothing() {
    let corpus = Corpus::records(100, 4);
    let report = evaluation(&corpus)
        .attack(Lookup(vec!["nothing of the kind".into()]))
        .adversary(Naive)
        .run()
        .unwrap();
    assert!(report.rows[0].score("leak").is_none() && report.rows[0].score("word_leak").is_none());
    assert!(report.strengths.iter().take(2).all(|leak| leak.to_string().contains("the attack is too weak")));
}

#[test]
fn what_was_not_measured_is_null() {
    let report = json(&evaluation(&Corpus::records(100, 5)).run().unwrap());
    let row = &report["rows"][0];
    assert_eq!((&row["adversary"], &row["n"]), (&Value::from("none"), &Value::from(0)));
    assert!(row["bleu"].is_null() && row["leak"].is_null() && row["ndcg_at_10"]["value"].is_number());
    assert!(report["ceiling"].is_null() && report["reason"].is_null());
    let passages: Vec<String> = Corpus::records(100, 5).texts().to_vec();
    let report = json(&attacked(&Corpus::passages("mine", passages)).adversary(Naive).run().unwrap());
    let row = &report["rows"][0];
    assert!(
        row["ndcg_at_10"].is_null() && row["entity_recall"].is_null() && row["bleu"]["value"].is_number()
    );
}

#[test]
fn settings_that_cannot_be_run_are_refused() {
    let corpus = Corpus::records(100, 6);
    let few = Corpus::passages("few", vec!["one passage".into()]);
    let [same, blank] = [("same", "one passage"), ("blank", "")]
        .map(|(name, text)| Corpus::passages(name, vec![text.into(); 3]));
    let passages = Corpus::passages("passages", corpus.texts().to_vec());
    let cases = [
        (attacked(&corpus).adversary(Leaked(61)).run(), "or the pairs, or take a larger"),
        (attacked(&corpus).samples(1).adversary(Naive).run(), "`samples` must be at least 2"),
        (attacked(&corpus).samples(usize::MAX).adversary(Leaked(2)).run(), "corpus holds 100"),
        (
            attacked(&corpus).attacker_texts("mine", own(30)).adversary(Informed(31)).run(),
            "needs 31 texts of the attacker's own, and there are 30",
        ),
        (
            attacked(&corpus).attacker_texts("mine", own(200)).adversary(Unpaired(101)).run(),
            "100 different documents",
        ),
        (attacked(&passages).adversary(Informed(61)).run(), "there are 60"),
        (attacked(&passages).adversary(Unpaired(51)).run(), "50 different documents"),
        (evaluation(&few).run(), "nothing to measure"),
        (attacked(&few).adversary(Naive).run(), "few has 1 passage; at least 2 different ones are needed"),
        (attacked(&same).adversary(Naive).run(), "same has 3 equal passages; at least 2 "),
        (attacked(&blank).adversary(Naive).run(), "the corpus is empty"),
        (evaluation(&Corpus::passages("none", vec![])).run(), "the corpus is empty"),
    ];
    for (result, part) in cases {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    assert!(attacked(&corpus).adversary(Leaked(60)).run().is_ok());
    let narrow = Stack::new().with(Rotation::new(&Key::from_bytes([7; 32]), DIM + 1).unwrap());
    let message = evaluation(&corpus).defense(narrow).run().unwrap_err().to_string();
    assert!(message.contains("dimension 49"), "{message}");
}

#[test]
fn scores_text_by_text_are_what_the_means_are_of() {
    let corpus = Corpus::records(120, 7);
    let report = attacked(&corpus)
        .defense("gaussian(sigma=0.1)".parse().unwrap())
        .defense(rotation())
        .adversary(Naive)
        .run()
        .unwrap();
    let mean = |scores: Vec<f64>| scores.iter().sum::<f64>() / scores.len() as f64;
    let close = |score: Option<embosk::evaluate::statistics::Score>, scores: Vec<f64>| {
        assert!((score.unwrap().value - mean(scores)).abs() < 1e-9);
    };
    let [ceiling, floor] = [&report.ceiling, &report.floor].map(|scores| scores.as_ref().unwrap());
    let undefended = &report.undefended;
    for row in &report.rows {
        assert_eq!((row.texts.len(), row.queries.len()), (row.n, undefended.queries.len()));
        for metric in ["exact_match", "bleu", "cosine", "entity_recall", "restored_cosine"] {
            close(row.score(metric), row.texts.values(metric));
        }
        for metric in ["ndcg_at_10", "mrr_at_10"] {
            close(row.score(metric), row.queries.values(metric));
        }
        close(row.score("floor"), row.unrelated.values("bleu"));
        let mean_of = |score: Option<embosk::evaluate::statistics::Score>| score.unwrap().value;
        let [bleu, floor, ceiling] =
            [row.score("bleu"), row.score("floor"), ceiling.score("bleu")].map(mean_of);
        assert!((mean_of(row.score("leak")) - (bleu - floor) / (ceiling - floor)).abs() < 1e-9);
    }
    close(ceiling.score("bleu"), undefended.texts.values("bleu"));
    close(floor.score("bleu"), undefended.unrelated.values("bleu"));
    assert!(!report.to_json().unwrap().contains("unrelated\":"));
}

#[test]
fn a_full_report_is_read_as_it_was() {
    let corpus = Corpus::records(120, 7);
    let report = attacked(&corpus)
        .defense("gaussian(sigma=0.1)".parse().unwrap())
        .defense(rotation())
        .adversary(Naive)
        .adversary(Leaked(60))
        .run()
        .unwrap();
    let full = report.to_json_full().unwrap();
    let read = Report::from_json(&full).unwrap();
    assert!(read.to_json_full().unwrap() == full && read.to_json().unwrap() == report.to_json().unwrap());
    assert!(read.metrics == report.metrics && read.undefended == report.undefended);
    let same = |(read, row): (&Row, &Row)| {
        read.texts == row.texts && read.unrelated == row.unrelated && read.queries == row.queries
    };
    assert!(read.rows.iter().zip(&report.rows).all(same));
    assert!(!corpus.texts().iter().any(|text| full.to_lowercase().contains(&text.to_lowercase())));
    // what is printed is read too, without the scores text by text
    let printed = Report::from_json(&report.to_json().unwrap()).unwrap();
    assert!(printed.to_json().unwrap() == report.to_json().unwrap());
    assert!(printed.rows[0].texts.is_empty() && printed.rows[0].score("bleu").is_some());
    for text in ["", "[]", "{\"rows\": []}", &full[..full.len() / 2]] {
        assert!(Report::from_json(text).unwrap_err().to_string().contains("this is not a report"), "{text}");
    }
}

/// The first word of the output is that of the text.
fn first_word() -> Metric {
    let first = |text: &str| text.split_whitespace().next().map(str::to_owned);
    Metric::share("first_word", move |pair| Some(first(pair.output)? == first(pair.truth)?))
        .signature("first-of-whitespace-words")
}

#[test]
fn a_metric_of_ones_own_is_measured_beside_the_others() {
    let corpus = Corpus::records(120, 7);
    let noisy = || attacked(&corpus).defense("gaussian(sigma=0.3)".parse().unwrap()).adversary(Naive);
    let plain = noisy().run().unwrap();
    let report = noisy()
        .metric(first_word())
        .metric(Metric::leak_of("first_word_leak", "first_word"))
        .metric(Metric::floor_of("first_word_floor", "first_word"))
        .metric(Metric::retrieval("map_at_50", |found| average_precision(found, 50)).depth(50))
        .run()
        .unwrap();
    let row = &report.rows[0];
    let value = |name: &str| row.score(name).unwrap().value;
    let hits = row.texts.values("first_word").iter().filter(|hit| **hit == 1.0).count();
    assert_eq!(row.score("first_word"), Some(proportion(hits, row.n)));
    let ceiling = report.ceiling.as_ref().unwrap().score("first_word").unwrap().value;
    let (score, floor) = (value("first_word"), value("first_word_floor"));
    assert!((value("first_word_leak") - (score - floor) / (ceiling - floor)).abs() < 1e-9);
    assert!(value("map_at_50") > 0.0 && row.queries.values("map_at_50").len() == row.queries.len());
    let json = json(&report);
    assert_eq!(json["signature"]["metrics"]["first_word"], "first-of-whitespace-words");
    assert!(json["rows"][0]["first_word_leak"]["low"].is_number());
    // the others are not touched
    assert!(plain.rows[0].scores.iter().all(|(name, score)| row.score(name) == score));
    let message = noisy().metric(Metric::mean("bleu", |_| None)).run().unwrap_err().to_string();
    assert!(message.contains("two metrics `bleu`"), "{message}");
    let message = noisy().metric(Metric::mean("words", |_| Some(7.0))).run().unwrap_err().to_string();
    assert!(message.contains("`words` scored 7, and its range is 0 to 1"), "{message}");
}

/// [`Words`], of which everything is known.
struct Known(Words);

impl Embedder for Known {
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self.0.embed(role, texts)
    }

    fn normalizer(&self) -> Option<Normalizer> {
        Some(Normalizer::lowercase())
    }

    fn identity(&self) -> Option<Identity> {
        Some(Identity::new("words", "0a1b"))
    }

    fn has_unit_norm(&self) -> Option<bool> {
        Some(true)
    }
}

/// `knowing` brings texts back in capitals: what `Words` embeds alike.
#[test]
fn an_embedder_of_which_nothing_is_known_is_compared_without_case_and_warned_of() {
    let corpus = Corpus::records(100, 1);
    let run = |evaluation: Evaluation<Box<dyn Embedder>>| {
        let evaluation = evaluation.corpus(corpus.clone()).samples(20).attack(knowing(&corpus));
        evaluation.adversary(Naive).run().unwrap()
    };
    let exact = |report: &Report| report.rows[0].score("exact_match").unwrap().value;
    let normalizer = |report: &Report| report.signature["normalizer"].as_str().unwrap().to_owned();
    let closure = || {
        let closure = |texts: &[&str]| Words::default().embed(Role::Document, texts);
        Evaluation::new(Box::new(closure) as Box<dyn Embedder>)
    };

    let assumed = run(closure());
    assert!(exact(&assumed) > 0.9, "{}", exact(&assumed));
    assert_eq!(normalizer(&assumed), "lowercase (assumed)|sides:both");
    assert!(!assumed.signature.contains_key("embedder"));
    let [case, identity] = assumed.warnings.as_slice() else { panic!("{:?}", assumed.warnings) };
    assert!(case.contains("without regard to case (assumed)") && identity.contains("which one it is"));
    assert_eq!(json(&assumed)["warnings"][0], case.as_str());

    let strict = run(closure().normalizer(Normalizer::none()).note("embedder", "words"));
    assert!(exact(&strict) < 0.1, "{}", exact(&strict));
    assert_eq!((normalizer(&strict).as_str(), strict.warnings.len()), ("none|sides:both", 0));

    let known = run(Evaluation::new(Box::new(Known(Words::default())) as Box<dyn Embedder>));
    assert!(exact(&known) > 0.9 && known.warnings.is_empty(), "{:?}", known.warnings);
    assert_eq!(normalizer(&known), "lowercase|sides:both");
    assert_eq!(known.signature["embedder"], "words");
    assert_eq!(known.signature["embedder_sha256"], "0a1b");
    assert_eq!(json(&known)["rows"], json(&assumed)["rows"]);
}

#[test]
fn a_surrogate_says_how_texts_are_compared_and_is_named() {
    let corpus = Corpus::records(300, 1);
    let evaluation =
        Evaluation::new(Words::default()).corpus(corpus.clone()).samples(20).attack(knowing(&corpus));
    let report = evaluation.surrogate(Known(Words::default())).adversary(Leaked(200)).run().unwrap();
    assert_eq!(report.signature["normalizer"], "lowercase|sides:both");
    assert_eq!(report.signature["surrogate"], "words");
    assert_eq!(report.signature["surrogate_sha256"], "0a1b");
    assert!(
        report.warnings.len() == 1 && report.warnings[0].contains("which one it is"),
        "{:?}",
        report.warnings
    );
}

#[test]
fn an_embedder_whose_norms_are_not_what_it_says_is_warned_of() {
    let long = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
        Ok(Words::default().embed(Role::Document, texts)? * 3.0)
    };
    let run = |unit_norm| {
        let embedder = Described::new(long).identity(Identity::new("long", "1")).unit_norm(unit_norm);
        Evaluation::new(embedder).corpus(Corpus::records(100, 1)).run().unwrap().warnings
    };
    let warnings = run(true);
    assert!(warnings.len() == 1 && warnings[0].contains("norm 1, but they do not"), "{warnings:?}");
    assert!(run(false).is_empty());
}

#[test]
fn noise_that_is_meant_for_other_norms_is_warned_of_once() {
    let told = |factor: f32, attacks: bool, defenses: [&str; 2]| {
        let scaled = move |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
            Ok(Words::default().embed(Role::Document, texts)? * factor)
        };
        let evaluation = Evaluation::new(scaled).corpus(Corpus::records(100, 1)).samples(20);
        let evaluation = if attacks { evaluation.adversary(Naive) } else { evaluation };
        let stacks = defenses.map(|spec| spec.parse::<Stack>().unwrap());
        let report = stacks.into_iter().fold(evaluation, Evaluation::defense).run().unwrap();
        report.warnings.into_iter().filter(|warning| warning.contains("mean norm")).collect::<Vec<_>>()
    };
    for attacks in [false, true] {
        let noisy = ["gaussian(sigma=0.1)", "gaussian(sigma=0.2)"];
        let [warning]: [String; 1] = told(3.0, attacks, noisy).try_into().unwrap();
        assert!(warning.contains("of 3.000") && warning.contains("`gaussian(sigma=0.1)`"), "{warning}");
        let [of_queries]: [String; 1] =
            told(3.0, attacks, ["none", "gaussian(sigma=0.1, on=queries)"]).try_into().unwrap();
        assert!(of_queries.contains("mean norm of 3.000"), "{of_queries}");
        assert!(told(1.0, attacks, noisy).is_empty());
        assert!(told(3.0, attacks, ["none", "quantization(bits=8)"]).is_empty());
    }
}

/// Documents and queries are embedded as such, and the attacker's oracle embeds documents.
#[test]
fn every_text_is_embedded_in_its_role() {
    let corpus = Corpus::records(120, 1);
    let asked = Arc::new(Mutex::new([BTreeSet::new(), BTreeSet::new()]));
    let embedder = {
        let asked = Arc::clone(&asked);
        ByRole(move |role: Role, texts: &[&str]| {
            let mut asked = asked.lock().unwrap();
            asked[usize::from(role == Role::Query)].extend(texts.iter().map(ToString::to_string));
            Words::default().embed(role, texts)
        })
    };
    let report = Evaluation::new(embedder)
        .corpus(corpus.clone())
        .samples(20)
        .attack(knowing(&corpus))
        .attacker_texts("own", own(60))
        .adversary(Informed(50))
        .run()
        .unwrap();
    assert!(report.rows[0].score("exact_match").unwrap().value > 0.9);
    let [documents, queries] = &*asked.lock().unwrap();
    let set = |texts: &[String]| texts.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(*queries, set(corpus.queries()));
    assert!(set(corpus.texts()).is_subset(documents) && set(&own(60)[..50]).is_subset(documents));
    assert!(set(&knowing(&corpus).0).is_subset(documents), "the oracle's");
}

/// Texts, their vectors, and more texts without.
type OwnTexts = (Vec<String>, Array2<f32>, Vec<String>);

/// Keeps what it is given.
#[derive(Debug)]
struct Curious {
    wanted: usize,
    given: Arc<Mutex<Option<OwnTexts>>>,
}

impl std::fmt::Display for Curious {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("curious")
    }
}

impl Attack for Curious {
    fn invert(
        &self,
        vectors: ArrayView2<'_, f32>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, attacks::Error> {
        let own = resources.own.map(|own| (own.texts.to_vec(), own.vectors.to_owned()));
        let own = own.map(|(texts, vectors)| (texts, vectors, resources.language.to_vec()));
        *self.given.lock().unwrap() = own;
        Ok(vectors.rows().into_iter().map(|_| best(&["nothing"], |_| 0.0)).collect())
    }

    fn own_texts_wanted(&self) -> usize {
        self.wanted
    }
}

#[test]
fn an_attack_is_given_the_attackers_own_texts_with_their_vectors() {
    let corpus = Corpus::records(100, 1);
    let passages = Corpus::passages("passages", corpus.texts().to_vec());
    let given = |evaluation: Evaluation<Arc<Words>>, wanted: usize| {
        let given = Arc::default();
        let attack = Curious { wanted, given: Arc::clone(&given) };
        evaluation.attack(attack).adversary(Naive).run().unwrap();
        given.lock().unwrap().take()
    };
    let check = |(texts, vectors, _): OwnTexts| {
        let views: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(Words::default().embed(Role::Document, &views).unwrap(), vectors);
        texts
    };
    assert!(given(evaluation(&corpus), 0).is_none(), "nobody wants any");
    assert_eq!(check(given(evaluation(&corpus), 30).unwrap()).len(), 30);
    let named = evaluation(&corpus).attacker_texts("own", own(7));
    assert_eq!(check(given(named, 30).unwrap()), own(7));
    // what is not embedded teaches language
    let (texts, _, language) = given(evaluation(&corpus).attacker_texts("own", own(50)), 30).unwrap();
    assert_eq!((texts, language), (own(50)[..30].to_vec(), own(50)[30..].to_vec()));
    // documents that are not attacked
    assert_eq!(check(given(evaluation(&passages), 1).unwrap()).len(), 60);
}

#[test]
fn a_cache_serves_several_embedders_and_refuses_one_without_a_name() {
    let corpus = Corpus::records(100, 1);
    let place = tempfile::tempdir().unwrap();
    let run = |embedder: Arc<Known>| {
        let cache = EmbeddingCache::new(place.path()).unwrap();
        Evaluation::new(embedder).corpus(corpus.clone()).cache(cache).run().unwrap().to_json().unwrap()
    };
    let [first, second] = [(); 2].map(|()| Arc::new(Known(Words::default())));
    assert_eq!(run(Arc::clone(&first)), run(Arc::clone(&second)));
    assert!(first.0.0.load(Ordering::Relaxed) > 0 && second.0.0.load(Ordering::Relaxed) == 0);
    let unnamed = evaluation(&corpus).cache(EmbeddingCache::new(place.path()).unwrap()).run();
    let message = unnamed.unwrap_err().to_string();
    assert!(message.contains("cannot be cached"), "{message}");
}
