//! The published loop against a reference in Python on transformers' T5 (`tests/golden/vec2text.py` writes
//! the files), and the default mode against the published loop.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use embosk_models::linear::Precision;
use ndarray::Array2;
use serde_json::Value;

use super::*;
use crate::vec2text::Vec2Text;
use crate::{Attack, Resources};

const DIM: usize = 48;
/// How many words the embedder reads: those that fit, with the end token, into the longest text.
const WORDS: usize = 11;
const STEPS: usize = 5;
const BEAMS: [usize; 3] = [1, 2, 4];

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/paper")
}

fn attack(beams: usize) -> Vec2Text {
    Vec2Text::load(data()).unwrap().steps(STEPS).beam_width(beams)
}

fn paper(beams: usize) -> Vec2Text {
    attack(beams).paper(true).paper_length(16)
}

/// For each text, what the reference did with its vector.
fn courses() -> Vec<Value> {
    let lines = fs::read_to_string(data().join("courses.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn targets(courses: &[Value]) -> Array2<f32> {
    embed(&courses.iter().map(|course| course["text"].as_str().unwrap()).collect::<Vec<_>>())
}

/// The stand-in for an embedder: a bag of words and of neighbours, in whole numbers.
fn embed(texts: &[&str]) -> Array2<f32> {
    let mut vectors = Array2::zeros((texts.len(), DIM));
    for (text, mut vector) in texts.iter().zip(vectors.rows_mut()) {
        let words: Vec<&str> = text.split_whitespace().take(WORDS).collect();
        for word in &words {
            vector.scaled_add(3.0 / 64.0, &part(word));
        }
        for pair in words.windows(2) {
            vector.scaled_add(2.0 / 64.0, &part(&pair.join(" ")));
        }
    }
    vectors
}

fn part(text: &str) -> Array1<f32> {
    let mix = |state: u32, byte: u8| (state ^ u32::from(byte)).wrapping_mul(16_777_619);
    let mut state = text.bytes().fold(2_166_136_261, mix);
    let values = (0..DIM).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 24) % 17) as f32 - 8.0
    });
    values.collect()
}

#[test]
fn the_loop_equals_the_reference_token_for_token() {
    let mut texts = HashSet::new();
    for beams in BEAMS {
        texts.extend(compared(&paper(beams), beams, &beams.to_string()));
    }
    assert!(texts.len() > 80, "{} texts are too few to tell anything", texts.len());
}

/// Texts that both models cut are kept without an end token.
#[test]
fn the_loop_equals_the_reference_where_texts_are_cut() {
    let mut attack = paper(2).paper_length(6);
    attack.max_length = 6;
    compared(&attack, 2, "cut");
}

/// Compares all hypotheses that are kept, with their tokens and cosines, at each step; returns the best texts.
fn compared(attack: &Vec2Text, beams: usize, name: &str) -> HashSet<String> {
    let courses = courses();
    assert!(courses.len() >= 30);
    let targets = targets(&courses);
    let mut texts = HashSet::new();
    {
        let oracle = |texts: &[&str]| Ok(embed(texts));
        let ranking = crate::Ranking::by(targets.view());
        let mut search = Search { attack, oracle: &oracle, ranking: &ranking, known: HashMap::new() };
        let mut rows = begin(&mut search, targets.view(), targets.view()).unwrap();
        for step in 0..=STEPS {
            if step > 0 {
                correct(&mut search, &mut rows, step == STEPS).unwrap();
            }
            for (row, course) in rows.iter().zip(&courses) {
                let expected = &course["courses"][name][step];
                let tokens: Vec<Vec<u32>> = row.hypotheses.iter().map(|it| fed_back(&it.candidate)).collect();
                assert_eq!(serde_json::json!(tokens), expected["tokens"], "beams {beams}, step {step}");
                for (ours, theirs) in row.hypotheses.iter().zip(expected["cosines"].as_array().unwrap()) {
                    assert!((f64::from(ours.cosine) - theirs.as_f64().unwrap()).abs() < 1e-5);
                }
                assert_eq!(row.hypotheses[0].text, expected["text"].as_str().unwrap());
                texts.insert(row.hypotheses[0].text.clone());
            }
        }
    }
    texts
}

/// Every vector's cosine is at least the loop's. With the local search bounded to two queries, the default takes at
/// most half of the loop's queries over all vectors.
#[test]
fn the_default_mode_is_never_behind_the_loop() {
    let targets = targets(&courses());
    let oracle = |texts: &[&str]| Ok(embed(texts));
    let invert = |attack: Vec2Text| attack.invert(targets.view(), &Resources::new(&oracle)).unwrap();
    let queries = |found: &[Inversion]| found.iter().map(|it| it.queries).sum::<usize>();
    for beams in BEAMS {
        let published = invert(paper(beams));
        assert_eq!(queries(&published), published.len() * (1 + beams + (STEPS - 1) * beams * beams));
        let ours = invert(attack(beams).local_queries(2));
        assert!(2 * queries(&ours) <= queries(&published), "beams {beams}: {} queries", queries(&ours));
        for ours in [ours, invert(attack(beams))] {
            for (row, (ours, published)) in ours.iter().zip(&published).enumerate() {
                let (ours, published) = (ours.cosine, published.cosine);
                assert!(ours >= published - 1e-6, "beams {beams}, row {row}: {ours} and {published}");
            }
        }
    }
}

#[test]
fn narrow_weights_recover_nearly_as_much() {
    let targets = targets(&courses());
    let oracle = |texts: &[&str]| Ok(embed(texts));
    let mean = |attack: Vec2Text| {
        let found = attack.invert(targets.view(), &Resources::new(&oracle)).unwrap();
        found.iter().map(|it| it.cosine).sum::<f32>() / found.len() as f32
    };
    let full = mean(paper(2));
    for (precision, name) in [(Precision::Bf16, "bf16"), (Precision::Q8, "q8")] {
        let narrow = paper(2).precision(precision).unwrap();
        assert!(narrow.to_string().ends_with(&format!("paper, length=16, weights={name})")), "{narrow}");
        let narrow = mean(narrow);
        assert!((full - narrow).abs() < 0.03, "{name}: {narrow}, and {full} in full");
    }
}
