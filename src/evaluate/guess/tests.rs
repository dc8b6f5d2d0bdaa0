//! Decisions against SciPy's distances; tests/golden/guess.py writes the goldens.
#![allow(clippy::unwrap_used)]

use ndarray::{Array2, ArrayView2};
use serde_json::Value;

use super::likeness::Likeness;
use super::noise::{Noise, Residuals};
use super::{Question, Questions};
use crate::evaluate::facts::Fact;

fn matrix(rows: &Value) -> Array2<f32> {
    let rows: Vec<Vec<f32>> = serde_json::from_value(rows.clone()).unwrap();
    let dim = rows[0].len();
    Array2::from_shape_vec((rows.len(), dim), rows.concat()).unwrap()
}

fn cases() -> Vec<Value> {
    let golden: Value = serde_json::from_str(include_str!("../../../tests/data/guess.json")).unwrap();
    golden["decisions"].as_array().unwrap().clone()
}

fn questions(texts: &Value) -> Questions {
    let texts: Vec<Array2<f32>> = texts.as_array().unwrap().iter().map(matrix).collect();
    let views: Vec<ArrayView2<'_, f32>> = texts.iter().map(|rows| rows.view()).collect();
    let candidates = vec![String::new(); texts[0].nrows()];
    let question = || Question {
        document: 0,
        fact: Fact::new("name", 0..1),
        candidates: candidates.clone(),
        answer: 3,
        of_kind: 0,
    };
    Questions {
        of_texts: texts.iter().map(|_| Some(question())).collect(),
        vectors: ndarray::concatenate(ndarray::Axis(0), &views).unwrap(),
        candidates: candidates.len(),
        outside_window: 0,
    }
}

#[test]
fn decisions_equal_scipys() {
    for case in cases() {
        let (questions, observed) = (questions(&case["clean"]), matrix(&case["observed"]));
        let pairs = &case["pairs"];
        let pairs = Residuals { observed: matrix(&pairs["observed"]), clean: matrix(&pairs["clean"]) };
        let noise = Noise::estimate(&pairs).unwrap();
        assert_eq!(noise.is_diagonal(), case["name"] == "diagonal");
        for (name, likeness) in [
            ("cosine", Likeness::Cosine),
            ("distance", Likeness::Distance),
            ("noise", Likeness::Noise(&noise)),
        ] {
            let expected: Vec<Option<usize>> = serde_json::from_value(case[name].clone()).unwrap();
            let guesses = questions.guess(&observed, &likeness).unwrap();
            assert_eq!(guesses, expected, "{name}, {}", case["name"]);
            assert_eq!(questions.right(&guesses)[0], Some(expected[0] == Some(3)));
        }
    }
}

/// A text without a question has no vectors, and the others keep theirs.
#[test]
fn a_text_without_a_fact_is_passed_over() {
    let case = &cases()[0];
    let (mut questions, observed) = (questions(&case["clean"]), matrix(&case["observed"]));
    let all = questions.guess(&observed, &Likeness::Cosine).unwrap();
    questions.of_texts.remove(2);
    questions.of_texts.insert(2, None);
    let rows: Vec<usize> =
        (0..questions.vectors.nrows()).filter(|row| row / questions.candidates != 2).collect();
    questions.vectors = questions.vectors.select(ndarray::Axis(0), &rows);
    let without = questions.guess(&observed, &Likeness::Cosine).unwrap();
    assert_eq!((without[2], questions.right(&without)[2]), (None, None));
    assert!((0..all.len()).filter(|&at| at != 2).all(|at| without[at] == all[at]));
}

/// Isotropic noise has no metric of its own, nor has none, nor noise of which too little is known.
#[test]
fn isotropic_noise_is_not_taken_for_another() {
    let mut rng = embosk_defenses::Rng::seeded(4);
    let mut normals = rng.standard_normals();
    let mut draw = |rows: usize| Array2::from_shape_simple_fn((rows, 24), || normals.next().unwrap() as f32);
    let (clean, noise) = (draw(400), draw(400));
    let estimate = |observed: &Array2<f32>, rows: usize| {
        let part = |all: &Array2<f32>| all.slice(ndarray::s![..rows, ..]).to_owned();
        Noise::estimate(&Residuals { observed: part(observed), clean: part(&clean) })
    };
    let isotropic = &clean * 2.0 + &noise * 0.3;
    let mut uneven = noise.clone();
    uneven.column_mut(3).mapv_inplace(|value| value * 4.0);
    let uneven = &clean + &uneven;
    for rows in [48, 100, 400] {
        assert!(estimate(&isotropic, rows).is_none() && estimate(&clean, rows).is_none());
        assert!(estimate(&uneven, rows).is_some(), "{rows}");
    }
    assert!(estimate(&uneven, 47).is_none());
}
