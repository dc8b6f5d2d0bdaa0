mod white_box;

use std::cell::RefCell;

use ndarray::{Array1, Array2, Axis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::proposals::below;
use super::*;
use crate::{BoxError, Expected, OwnTexts};

const DIM: usize = 48;
const WORDS: usize = 60;

/// Each word has a direction, and each pair of neighbors a small one.
fn vector(text: &str) -> Array1<f32> {
    let mut sum = Array1::zeros(DIM);
    let words: Vec<&str> = words::units(text).collect();
    for word in &words {
        sum += &direction(word);
    }
    for pair in words.windows(2) {
        sum += &(direction(&pair.concat()) * 0.4);
    }
    let norm: f32 = sum.dot(&sum);
    if norm > 0.0 { sum / norm.sqrt() } else { sum }
}

fn direction(word: &str) -> Array1<f32> {
    let seed = word.bytes().fold(7, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array1::from_shape_simple_fn(DIM, || rng.next_u32() as f32 / 2_f32.powi(31) - 1.0)
}

fn embed(texts: &[&str]) -> Array2<f32> {
    let rows: Vec<Array1<f32>> = texts.iter().map(|text| vector(text)).collect();
    let views: Vec<_> = rows.iter().map(|row| row.view()).collect();
    ndarray::stack(Axis(0), &views).unwrap()
}

#[allow(clippy::unnecessary_wraps, reason = "an oracle may fail")]
fn oracle(texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    Ok(embed(texts))
}

/// Sentences in which the next word depends on the last.
fn sentences(count: usize, seed: u64) -> Vec<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let sentence = |_| {
        let mut word = below(WORDS, &mut rng);
        let words = (0..6).map(|_| {
            word = (word * 7 + below(4, &mut rng)) % WORDS;
            format!("w{word}")
        });
        words.collect::<Vec<_>>().join(" ")
    };
    (0..count).map(sentence).collect()
}

fn shared(a: &str, b: &str) -> usize {
    words::units(a).filter(|word| words::units(b).any(|other| other == *word)).count()
}

fn inverted(attack: &Guided, targets: &Array2<f32>, own: &[String]) -> Vec<Inversion> {
    let texts: Vec<&str> = own.iter().map(String::as_str).collect();
    let vectors = embed(&texts);
    let resources = Resources::new(&oracle).own_texts(OwnTexts::new(own, vectors.view()).unwrap());
    attack.invert(targets.view(), &resources).unwrap()
}

fn targets(texts: &[String]) -> Array2<f32> {
    embed(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn the_words_of_unseen_texts_come_back_from_queries_alone() {
    let (own, held_out) = (sentences(600, 1), sentences(12, 99));
    let found = inverted(&Guided::new().queries(600), &targets(&held_out), &own);
    let words: usize = held_out.iter().zip(&found).map(|(text, found)| shared(text, &found.output)).sum();
    assert!(words >= 60, "{words} of 72");
    for inversion in &found {
        assert!(
            inversion.queries <= 600 && inversion.cosine > 0.9,
            "{} {}",
            inversion.queries,
            inversion.cosine
        );
        assert_eq!(inversion.steps.last(), Some(&inversion.output));
    }
}

#[test]
fn texts_that_are_not_embedded_teach_language() {
    let (own, more) = (sentences(100, 1), sentences(1000, 2));
    let vectors = targets(&own);
    let attack = Guided::new();
    let fluency = |language| {
        let resources = Resources::new(&oracle).own_texts(OwnTexts::new(&own, vectors.view()).unwrap());
        let prepared = attack.prepared(&resources.language(language)).unwrap();
        let mut vocabulary = prepared.vocabulary.clone();
        let texts = more.iter().map(|text| prepared.language.fluency(&vocabulary.numbers(text)));
        texts.sum::<f32>() / more.len() as f32
    };
    let (without, with) = (fluency(&[]), fluency(&more));
    assert!(with > without + 0.2, "{with} after {without}");
}

#[test]
fn a_vector_gives_the_same_text_whatever_is_attacked_beside_it() {
    let (own, held_out) = (sentences(300, 1), sentences(3, 98));
    let together = inverted(&Guided::new().queries(150), &targets(&held_out), &own);
    let alone = inverted(&Guided::new().queries(150), &targets(&held_out[1..2]), &own);
    assert_eq!(together[1], alone[0]);
}

/// Finds the text but for one word.
#[derive(Debug)]
struct Nearly(Vec<String>, Mutex<usize>);

impl fmt::Display for Nearly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nearly")
    }
}

impl Attack for Nearly {
    fn invert(&self, _: ArrayView2<'_, f32>, _: &Resources<'_>) -> Result<Vec<Inversion>, Error> {
        let inversion = |text: &String| {
            let output = text.replacen('w', "x", 1);
            Inversion { steps: vec![output.clone()], output, cosine: 0.5, queries: 10, local_gain: 0.0 }
        };
        Ok(self.0.iter().map(inversion).collect())
    }

    fn refine(
        &self,
        _: ArrayView2<'_, f32>,
        hypotheses: &[&str],
        _: ArrayView2<'_, f32>,
    ) -> Result<Vec<Vec<String>>, Error> {
        *self.1.lock().unwrap() += hypotheses.len();
        Ok(vec![Vec::new(); hypotheses.len()])
    }
}

#[test]
fn it_starts_from_another_attack_and_lets_it_refine() {
    let (own, held_out) = (sentences(300, 1), sentences(8, 97));
    let nearly = Arc::new(Nearly(held_out.clone(), Mutex::default()));
    let attack = Guided::after(Arc::clone(&nearly)).queries(300);
    assert_eq!(attack.to_string(), "nearly + guided(version=2, queries=300, beam=8)");
    let found = inverted(&attack, &targets(&held_out), &own);
    let exact = held_out.iter().zip(&found).filter(|(text, found)| **text == found.output).count();
    assert!(exact >= 6, "{exact} of 8");
    assert!(*nearly.1.lock().unwrap() > 0, "hypotheses are refined");
    assert!(found.iter().all(|inversion| inversion.queries > 10 && inversion.steps.len() > 1));
}

#[test]
fn it_stops_where_more_fit_would_be_noise() {
    let (own, held_out) = (sentences(300, 1), sentences(4, 96));
    let clean = targets(&held_out);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let noisy = clean.mapv(|value| value + 0.2 * (rng.next_u32() as f32 / 2_f32.powi(31) - 1.0));
    let texts: Vec<&str> = own.iter().map(String::as_str).collect();
    let vectors = embed(&texts);
    let resources = Resources::new(&oracle).own_texts(OwnTexts::new(&own, vectors.view()).unwrap());
    let of_truth: Vec<f32> = clean
        .rows()
        .into_iter()
        .zip(noisy.rows())
        .map(|(clean, noisy)| clean.dot(&noisy) / noisy.dot(&noisy).sqrt())
        .collect();
    // how far the search goes beyond the limits, on average, and the queries of each row
    let search = |estimates: &Array2<f32>, expected, limits: &[f32]| {
        let ranking = Ranking { expected, ..Ranking::by(noisy.view()) };
        let attack = Guided::new().queries(2_000);
        let found = attack.invert_ranked_by(estimates.view(), &ranking, &resources).unwrap();
        let beyond: f32 = found.iter().zip(limits).map(|(found, limit)| found.cosine - limit).sum();
        (beyond / limits.len() as f32, found.iter().map(|found| found.queries).collect::<Vec<_>>())
    };
    let no_noise = Some(Expected { mean: 1.0, deviation: 0.0 });
    let stops = |estimates: &Array2<f32>, expected, limits: &[f32]| {
        let (beyond, queries) = search(estimates, expected, limits);
        // the last round may overshoot
        assert!(beyond < 0.05, "{beyond}");
        assert!(queries.iter().any(|queries| *queries < 1_900), "a row stops by itself: {queries:?}");
        let (beyond, queries) = search(estimates, no_noise, limits);
        assert!(beyond > 0.05, "who expects no noise fits it: {beyond}");
        assert!(queries.iter().all(|queries| *queries >= 1_900), "{queries:?}");
    };
    // who knows the clean vectors, and who knows how strong the noise is but has an estimate with much of it
    stops(&clean, None, &of_truth);
    let expected = Expected::of(of_truth.iter().copied()).unwrap();
    let estimates = &clean * 0.3 + &noisy * 0.7;
    stops(&estimates, Some(expected), &[expected.mean + expected.deviation; 4]);
}

#[test]
fn behind_a_rounding_hypotheses_are_ranked_by_their_images() {
    let (own, held_out) = (sentences(400, 1), sentences(6, 95));
    let clean = targets(&held_out);
    let signs =
        |vectors: ArrayView2<'_, f32>| -> Result<Array2<f32>, BoxError> { Ok(vectors.mapv(f32::signum)) };
    let observed = signs(clean.view()).unwrap();
    let texts: Vec<&str> = own.iter().map(String::as_str).collect();
    let vectors = embed(&texts);
    let resources = Resources::new(&oracle).own_texts(OwnTexts::new(&own, vectors.view()).unwrap());
    let ranking = Ranking { targets: observed.view(), image: Some(&signs), ..Ranking::by(observed.view()) };
    let found = Guided::new().queries(400).invert_ranked_by(observed.view(), &ranking, &resources).unwrap();
    let words: usize = held_out.iter().zip(&found).map(|(text, found)| shared(text, &found.output)).sum();
    assert!(words >= 24, "{words} of 36");
}

#[test]
fn too_few_own_texts_and_wrong_answers_are_refused() {
    let own = sentences(10, 1);
    let vectors = targets(&own);
    let refused =
        |resources: &Resources<'_>| Guided::new().invert(vectors.view(), resources).unwrap_err().to_string();
    assert!(refused(&Resources::new(&oracle)).contains("was given none"));
    let few = Resources::new(&oracle).own_texts(OwnTexts::new(&own, vectors.view()).unwrap());
    assert!(refused(&few).contains("there are 10"));
    let own_60 = sentences(60, 1);
    let of_60 = targets(&own_60);
    let resources = Resources::new(&oracle).own_texts(OwnTexts::new(&own_60, of_60.view()).unwrap());
    let narrow = Array2::ones((1, DIM - 1));
    let refused_narrow = Guided::new().invert(narrow.view(), &resources).unwrap_err().to_string();
    assert!(refused_narrow.contains("dimensions"), "{refused_narrow}");
    let calls = RefCell::new(0);
    let fickle = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
        *calls.borrow_mut() += 1;
        Ok(if *calls.borrow() > 1 { Array2::zeros((texts.len(), 2)) } else { embed(texts) })
    };
    let own = sentences(60, 1);
    let vectors = targets(&own);
    let resources = Resources::new(&fickle).own_texts(OwnTexts::new(&own, vectors.view()).unwrap());
    assert!(refused(&resources).contains("dimensions") || refused(&resources).contains("shape"));
}

#[test]
fn of_texts_longer_than_a_hypothesis_the_likeliest_words_are_listed() {
    let passage = |seed| sentences(12, seed).join(" ");
    let own: Vec<String> = (0..400).map(passage).collect();
    let held_out: Vec<String> = (1000..1004).map(passage).collect();
    for found in inverted(&Guided::new().queries(80), &targets(&held_out), &own) {
        let words: std::collections::HashSet<&str> = words::units(&found.output).collect();
        assert!(words.len() > search::LONGEST, "{} words", words.len());
    }
    let found = inverted(&Guided::new().queries(80), &targets(&sentences(4, 99)), &sentences(600, 1));
    assert!(found.iter().all(|found| words::units(&found.output).count() < 20), "sentences are no passages");
}
