//! The search with untrained models: what it keeps, how long it goes on, what it may ask.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_nn::VarBuilder;
use embosk_models::linear::Precision;
use ndarray::Array2;

use super::super::config::Preset;
use super::super::inverter::Inverter;
use super::super::train::initial;
use super::*;
use crate::{Attack, Resources, cosine};

const DIM: usize = 6;
const TEXTS: [&str; 3] = ["rent is due in may", "ana pays the rent", "the may rent of ana is paid in june"];

/// A pair of random models.
fn attack() -> Vec2Text {
    let texts: Vec<String> = TEXTS.iter().cycle().take(30).map(|&text| text.into()).collect();
    let tokenizer = vocabulary::train(&texts, 60).unwrap();
    let size = vocabulary::size(&tokenizer);
    let preset = Preset { width: 16, feed_forward: 24, heads: 2, max_length: 10, ..Preset::TINY };
    let fresh = initial::inverter(&preset, size, DIM, 3).unwrap();
    let correcting = initial::corrector(&fresh.clone().into_iter().collect()).unwrap();
    let builder = |tensors: BTreeMap<String, Tensor>| {
        VarBuilder::from_tensors(tensors.into_iter().collect(), DType::F32, &Device::Cpu)
    };
    Vec2Text {
        inverter: Inverter::load(&builder(fresh)).unwrap(),
        corrector: Some(Corrector::load(&builder(correcting)).unwrap()),
        tokenizer,
        max_length: preset.max_length,
        dimension: DIM,
        hash: String::new(),
        embedder_hash: None,
        trained_on: Vec::new(),
        steps: 5,
        beam_width: 3,
        local_queries: 0,
        paper: false,
        longest: 12,
        batch_size: 2,
        precision: Precision::F32,
    }
}

/// Letters and their places, as a vector: different texts have different vectors.
fn embed(text: &str) -> Array1<f32> {
    let mut vector: Array1<f32> = Array1::zeros(DIM);
    for (place, byte) in text.bytes().enumerate() {
        vector[(byte as usize + place) % DIM] += 1.0 + (f32::from(byte) * (place as f32 + 1.7)).sin();
    }
    let norm: f32 = vector.dot(&vector).sqrt();
    vector / norm.max(1e-6)
}

fn embed_all(texts: &[&str]) -> Array2<f32> {
    let mut vectors = Array2::zeros((texts.len(), DIM));
    vectors.rows_mut().into_iter().zip(texts).for_each(|(mut row, text)| row.assign(&embed(text)));
    vectors
}

fn invert(attack: &Vec2Text) -> Vec<Inversion> {
    let oracle = |texts: &[&str]| Ok(embed_all(texts));
    attack.invert(embed_all(&TEXTS).view(), &Resources::new(&oracle)).unwrap()
}

fn cosines(row: usize, texts: &[String]) -> Vec<f32> {
    texts.iter().map(|text| cosine(embed(TEXTS[row]).view(), embed(text).view())).collect()
}

#[test]
fn the_best_ever_is_kept_and_a_row_stops_when_nothing_improves() {
    for (row, found) in invert(&attack().steps(50)).iter().enumerate() {
        let course = cosines(row, &found.steps);
        assert!(course.windows(2).all(|pair| pair[0] <= pair[1]), "{course:?}");
        assert!((found.cosine - cosines(row, std::slice::from_ref(&found.output))[0]).abs() < 1e-5);
        assert!(course.last().unwrap() - found.cosine < 1e-5);
        assert!(found.steps.len() < 51, "random models do not improve fifty times");
    }
}

#[test]
fn no_steps_leave_the_beam_of_the_inverter() {
    for found in invert(&attack().steps(0)) {
        assert_eq!(found.steps.len(), 1);
        assert!((1..=4).contains(&found.queries), "{}", found.queries);
    }
}

#[test]
fn the_loop_of_the_paper_makes_every_step_and_returns_the_last() {
    let paper = invert(&attack().steps(7).local_queries(100).paper(true));
    for found in &paper {
        assert_eq!(found.steps.len(), 8);
        assert_eq!(found.steps.last(), Some(&found.output));
        // the greedy guess, three of it, then nine each
        assert!(found.queries <= 1 + 3 + 6 * 9, "{}", found.queries);
    }
    let falls = |(row, found): (usize, &Inversion)| {
        cosines(row, &found.steps).windows(2).any(|pair| pair[0] > pair[1])
    };
    assert!(paper.iter().enumerate().any(falls), "without best-ever some step is worse than the one before");
}

#[test]
fn the_local_search_improves_within_its_budget() {
    let without = invert(&attack());
    let with = invert(&attack().local_queries(60));
    for (without, with) in without.iter().zip(&with) {
        assert!(with.cosine >= without.cosine);
        assert!(with.queries <= without.queries + 60, "{} {}", without.queries, with.queries);
        assert_eq!(with.steps, without.steps);
    }
    assert!(without.iter().zip(&with).any(|(without, with)| with.cosine > without.cosine + 0.01));
}

#[test]
fn what_is_read_and_what_is_ranked_by_may_differ() {
    let (targets, oracle) = (embed_all(&TEXTS), |texts: &[&str]| Ok(embed_all(texts)));
    let resources = Resources::new(&oracle);
    let estimates = embed_all(&["may", "the rent", "ana in june"]);
    let ranking = Ranking::by(targets.view());
    let found = attack().invert_ranked_by(estimates.view(), &ranking, &resources).unwrap();
    for (row, found) in found.iter().enumerate() {
        let own = cosines(row, std::slice::from_ref(&found.output))[0];
        assert!((found.cosine - own).abs() < 1e-5, "the cosine is to what was ranked by");
        assert!(cosines(row, &found.steps).windows(2).all(|pair| pair[0] <= pair[1]));
    }
    assert_ne!(found, invert(&attack()), "another first guess");
    let fewer = estimates.slice(ndarray::s![1.., ..]);
    assert!(matches!(attack().invert_ranked_by(fewer, &ranking, &resources), Err(Error::Setting(_))));
}

/// An attacker who can round a hypothesis compares the result with what they observed.
#[test]
fn hypotheses_are_ranked_by_their_images() {
    let round = |vectors: ArrayView2<'_, f32>| Ok(vectors.mapv(|value| (value * 2.0).round() / 2.0));
    let oracle = |texts: &[&str]| Ok(embed_all(texts));
    let resources = Resources::new(&oracle);
    let targets = round(embed_all(&TEXTS).view()).unwrap();
    let ranked = |image| {
        let attack = attack().local_queries(60);
        let ranking = Ranking { image, ..Ranking::by(targets.view()) };
        attack.invert_ranked_by(targets.view(), &ranking, &resources).unwrap()
    };
    let likeness = |row: usize, text: &str| {
        let vectors = embed_all(&[text]);
        let image = round(vectors.view()).unwrap();
        Ranking::likeness(targets.row(row), vectors.row(0), Some(image.row(0)))
    };
    let (through, directly) = (ranked(Some(&round)), ranked(None));
    for (row, (found, other)) in through.iter().zip(&directly).enumerate() {
        assert!((found.cosine - likeness(row, &found.output)).abs() < 1e-5);
        assert!(found.cosine >= likeness(row, &other.output) - 1e-5, "{found:?} {other:?}");
        assert!((likeness(row, TEXTS[row]) - 1.0).abs() < 1e-5);
    }
    assert_ne!(through, directly);
    let narrow = |vectors: ArrayView2<'_, f32>| Ok(vectors.slice(ndarray::s![.., 1..]).to_owned());
    let ranking = Ranking { image: Some(&narrow), ..Ranking::by(targets.view()) };
    let refused = attack().invert_ranked_by(targets.view(), &ranking, &resources);
    assert!(matches!(refused, Err(Error::Oracle(_))));
}

#[test]
fn no_text_is_asked_for_twice() {
    let asked = RefCell::new(Vec::new());
    let oracle = |texts: &[&str]| {
        asked.borrow_mut().extend(texts.iter().map(|&text| text.to_owned()));
        Ok(embed_all(texts))
    };
    attack().local_queries(60).invert(embed_all(&TEXTS).view(), &Resources::new(&oracle)).unwrap();
    let mut asked = asked.into_inner();
    let total = asked.len();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), total);
}

#[test]
fn an_oracle_that_answers_wrongly_is_an_error() {
    let with = |answer: Array2<f32>| {
        let oracle = |_: &[&str]| Ok(answer.clone());
        attack().invert(embed_all(&TEXTS[..1]).view(), &Resources::new(&oracle)).unwrap_err()
    };
    assert!(matches!(with(Array2::zeros((7, DIM))), Error::Oracle(_)));
    assert!(matches!(with(Array2::zeros((1, DIM + 1))), Error::Dimension { .. }));
    assert!(matches!(with(Array2::from_elem((1, DIM), f32::NAN)), Error::Oracle(_)));
    let offline = |_: &[&str]| Err("offline".into());
    let failing = attack().invert(embed_all(&TEXTS).view(), &Resources::new(&offline));
    assert!(matches!(failing, Err(Error::Oracle(_))));
}

/// A GPU, for many rows at once, decodes the same as a CPU that keeps keys and values.
#[test]
fn rows_decoded_together_are_those_decoded_one_by_one() {
    use super::super::generate::{greedy, greedy_together};

    let attack = attack();
    let vectors = embed_all(&TEXTS);
    let memory = attack.inverter.encode(&to_tensor(vectors.view()).unwrap()).unwrap();
    let one_by_one = greedy(&attack.inverter.t5, &memory, TEXTS.len(), 10).unwrap();
    assert!(one_by_one.iter().any(|tokens| !tokens.is_empty()));
    assert_eq!(greedy_together(&attack.inverter.t5, &memory, TEXTS.len(), 10).unwrap(), one_by_one);
}
