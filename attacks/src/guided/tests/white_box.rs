//! Search with gradients, on a model in which a word counts by its place.

use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{CowArray, Ix2, s};

use super::*;
use crate::guided::gradient::{Pieces, Split};
use crate::guided::words::Vocabulary;
use crate::rows::normalized;
use crate::{Gradient, Oracle, WhiteBox, cosine, cosine_gradient};

/// Pieces that the model reads of a text.
const PLACES: usize = 64;

/// The sum of the pieces' embeddings, each with the signs of its place. A word of the sentences is one piece, and words
/// with a hyphen between them are several.
struct Placed {
    /// `[pieces, DIM]`. The last piece is any other word.
    table: Array2<f32>,
    /// `[PLACES, DIM]`.
    signs: Array2<f32>,
    /// How often gradients were asked for.
    calls: AtomicUsize,
}

impl Placed {
    fn new() -> Self {
        let rows = |name: &str, count: usize| {
            let mut rows = Array2::zeros((count, DIM));
            for (at, mut row) in rows.rows_mut().into_iter().enumerate() {
                row.assign(&direction(&format!("{name}{at}")));
            }
            rows
        };
        let signs = rows("place", PLACES).mapv(f32::signum);
        Self { table: rows("w", WORDS + 1), signs, calls: AtomicUsize::new(0) }
    }

    fn at(&self, place: usize, piece: u32) -> Array1<f32> {
        &self.signs.row(place) * &self.table.row(piece as usize)
    }

    fn vector(&self, pieces: &[u32]) -> Array1<f32> {
        pieces.iter().enumerate().fold(Array1::zeros(DIM), |sum, (place, &piece)| sum + self.at(place, piece))
    }

    fn vectors(&self, texts: &[String]) -> Array2<f32> {
        self.embed(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Oracle for Placed {
    fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        let mut vectors = Array2::zeros((texts.len(), DIM));
        for (text, mut row) in texts.iter().zip(vectors.rows_mut()) {
            row.assign(&self.vector(&self.tokens(text)?));
        }
        Ok(normalized(vectors.view()))
    }

    fn white_box(&self) -> Option<&dyn WhiteBox> {
        Some(self)
    }
}

impl WhiteBox for Placed {
    fn tokens(&self, text: &str) -> Result<Vec<u32>, BoxError> {
        let number = |part: &str| part.strip_prefix('w')?.parse::<u32>().ok();
        let other = WORDS as u32;
        let parts = words::units(text).flat_map(|word| word.split('-'));
        Ok(parts.map(|part| number(part).map_or(other, |number| number.min(other))).take(PLACES).collect())
    }

    fn text(&self, tokens: &[u32]) -> Result<String, BoxError> {
        Ok(tokens.iter().map(|token| format!("w{token}")).collect::<Vec<_>>().join(" "))
    }

    fn table(&self) -> Result<CowArray<'_, f32, Ix2>, BoxError> {
        Ok(self.table.view().into())
    }

    fn special(&self) -> Vec<u32> {
        vec![WORDS as u32]
    }

    fn gradients(
        &self,
        hypotheses: &[&[u32]],
        targets: ArrayView2<'_, f32>,
    ) -> Result<Vec<Gradient>, BoxError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let of_each = hypotheses.iter().zip(targets.rows()).map(|(pieces, target)| {
            let (similarity, by_vector) = cosine_gradient(&self.vector(pieces), &target.to_owned());
            Gradient::new(similarity, &self.signs.slice(s![..pieces.len(), ..]) * &by_vector)
        });
        Ok(of_each.collect())
    }
}

#[test]
fn a_swaps_score_is_the_slope_of_the_cosine_on_the_way_to_it() {
    let model = Placed::new();
    let mut vocabulary = Vocabulary::default();
    let hypothesis = vocabulary.numbers("w3 w14-w15 w9 other w2");
    let count = hypothesis.len() + vocabulary.numbers("w20 w21").len();
    let single = Pieces::new(&model, &vocabulary, count).unwrap();
    assert_eq!(single.units, [0, 2, 4, 5, 6], "units of one piece that is not special");
    let split = Split::of(&model, &vocabulary, &hypothesis).unwrap().unwrap();
    let target = model.vector(&[5, 6, 7, 8]);
    let swaps = single.swaps(&model, &[split], target.view().insert_axis(Axis(0))).unwrap().remove(0);
    let pieces = [3, 14, 15, 9, WORDS as u32, 2];
    let vector = model.vector(&pieces);
    for (unit, places) in [0..1, 1..3, 3..4, 4..5, 5..6].into_iter().enumerate() {
        for (column, piece) in [3, 9, 2, 20, 21].into_iter().enumerate() {
            let leaves = |way, place: usize| way - model.at(place, pieces[place]);
            let way = places.clone().fold(model.at(places.start, piece), leaves);
            let toward = |step: f32| cosine((&vector + &(&way * step)).view(), target.view());
            let slope = (toward(0.01) - toward(-0.01)) / 0.02;
            let score = swaps[[unit, column]];
            assert!((slope - score).abs() < 2e-3, "unit {unit} to w{piece}: {slope} {score}");
        }
    }
    assert!(swaps.iter().any(|score| *score > 0.02) && swaps.iter().any(|score| *score < -0.02), "{swaps}");
    let beyond = vec![hypothesis[0]; PLACES + 1];
    assert!(Split::of(&model, &vocabulary, &beyond).unwrap().is_none(), "it ends beyond the window");
}

#[test]
fn gradients_find_in_a_hundred_queries_what_queries_alone_do_not() {
    let (model, own, held_out) = (Placed::new(), sentences(300, 1), sentences(12, 99));
    let (vectors, targets) = (model.vectors(&own), model.vectors(&held_out));
    let resources = Resources::new(&model).own_texts(OwnTexts::new(&own, vectors.view()).unwrap());
    let words = |black_box: bool| -> usize {
        let attack = Guided::new().queries(100).black_box(black_box);
        let found = attack.invert(targets.view(), &resources).unwrap();
        held_out.iter().zip(&found).map(|(text, found)| shared(text, &found.output)).sum()
    };
    let without = words(true);
    assert_eq!(model.calls(), 0, "the black-box form leaves the weights alone");
    let with = words(false);
    assert!(model.calls() > 0);
    // with gradients of the wrong sign, it would be about 60
    assert!(with >= 66 && with > without + 5, "{with} of 72 with gradients, {without} without");
}

#[test]
fn behind_a_projection_hypotheses_are_ranked_in_its_space() {
    const KEPT: usize = 36;
    let (model, own, held_out) = (Placed::new(), sentences(300, 1), sentences(6, 95));
    let (vectors, clean) = (model.vectors(&own), model.vectors(&held_out));
    let first = |vectors: ArrayView2<'_, f32>| -> Result<Array2<f32>, BoxError> {
        Ok(vectors.slice(s![.., ..KEPT]).to_owned())
    };
    let observed = first(clean.view()).unwrap();
    let mut estimates = clean;
    estimates.slice_mut(s![.., KEPT..]).fill(0.0);
    let resources = Resources::new(&model).own_texts(OwnTexts::new(&own, vectors.view()).unwrap());
    let ranking = Ranking { space: Some(&first), ..Ranking::by(observed.view()) };
    let found = Guided::new().queries(400).invert_ranked_by(estimates.view(), &ranking, &resources).unwrap();
    assert!(
        model.calls() > 0,
        "gradients are those towards the estimates, which have the embedder's dimension"
    );
    let words: usize = held_out.iter().zip(&found).map(|(text, found)| shared(text, &found.output)).sum();
    assert!(words >= 30, "{words} of 36");
    for (inversion, target) in found.iter().zip(observed.rows()) {
        let there = first(model.embed(&[&inversion.output]).unwrap().view()).unwrap();
        let likeness = Ranking::likeness_in_space(target, there.row(0), None);
        assert!((inversion.cosine - likeness).abs() < 1e-4, "{} {likeness}", inversion.cosine);
    }
}
