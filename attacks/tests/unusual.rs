//! Equal vectors, zero vectors, constant columns, duplicate texts and texts of one word: each map and guided search
//! answers as the table in `docs/understand/limitations.md` states.

#![allow(clippy::unwrap_used)]

use embosk_attacks::alignment::{Alignment, CloudMap, Denoiser, Procrustes};
use embosk_attacks::guided::Guided;
use embosk_attacks::structure::linkage::recall_at_1;
use embosk_attacks::structure::{FoundPermutation, FoundScaling};
use embosk_attacks::{Attack, BoxError, OwnTexts, Resources};
use ndarray::{Array2, ArrayView2};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const ROWS: usize = 60;
const DIM: usize = 5;

fn usual() -> Array2<f32> {
    Array2::from_shape_fn((ROWS, DIM), |(row, column)| ((37 * row + 11 * column * column) as f32).sin())
}

fn unusual() -> [(&'static str, Array2<f32>); 3] {
    let mut constant = usual();
    constant.column_mut(2).fill(0.5);
    constant.column_mut(4).fill(0.0);
    let equal = usual().row(1).broadcast((ROWS, DIM)).unwrap().to_owned();
    [("equal vectors", equal), ("zero vectors", Array2::zeros((ROWS, DIM))), ("constant columns", constant)]
}

/// Pairs of which at least one side is unusual.
fn pairs() -> Vec<(String, Array2<f32>, Array2<f32>)> {
    let of = |(name, rows): (&str, Array2<f32>)| {
        [
            (format!("{name} on both sides"), rows.clone(), rows.clone()),
            (format!("protected {name}"), rows.clone(), usual()),
            (format!("clean {name}"), usual(), rows),
        ]
    };
    unusual().into_iter().flat_map(of).collect()
}

#[track_caller]
fn is_finite(name: &str, restored: &Array2<f32>) {
    assert!(restored.iter().all(|value| value.is_finite()), "{name}");
}

type Fitted = (Array2<f32>, &'static str);

/// What each map makes of vectors, small and large, that it was not fitted on.
fn restored(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Vec<Fitted> {
    let unseen = usual() * 1e3;
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let alignment = Alignment::fit_linear(protected, clean).unwrap();
    let clouds = CloudMap::fit(protected, clean, rng).unwrap();
    assert!(clouds.score().is_finite() && clouds.expected().is_finite(), "{clouds}");
    vec![
        (Procrustes::fit(protected, clean).unwrap().apply(unseen.view()).unwrap(), "procrustes"),
        (alignment.apply(unseen.view()).unwrap(), "alignment"),
        (alignment.observed(unseen.view()).unwrap(), "alignment, observed"),
        (Denoiser::fit(protected, clean, 0).unwrap().apply(unseen.view()).unwrap(), "denoiser"),
        (clouds.apply(unseen.view()).unwrap(), "clouds"),
        (FoundPermutation::fit(protected, clean).unwrap().apply(unseen.view()).unwrap(), "permutation"),
    ]
}

#[test]
fn each_map_is_finite() {
    for (name, protected, clean) in pairs() {
        for (restored, map) in restored(protected.view(), clean.view()) {
            is_finite(&format!("{map}: {name}"), &restored);
        }
        let is_zero = |rows: &Array2<f32>| rows.iter().all(|value| *value == 0.0);
        let scaling = FoundScaling::fit(protected.view(), clean.view());
        assert_eq!(scaling.is_err(), is_zero(&protected) || is_zero(&clean), "{name}: {scaling:?}");
        let linked = recall_at_1(protected.view(), clean.view()).unwrap();
        assert!((0.0..=1.0).contains(&linked), "{name}: {linked}");
    }
}

#[test]
fn a_map_of_zero_vectors_restores_zero_vectors() {
    let zeros = Array2::zeros((ROWS, DIM));
    let alignment = Alignment::fit_linear(zeros.view(), zeros.view()).unwrap();
    assert_eq!(alignment.apply(zeros.view()).unwrap(), zeros);
    assert!(alignment.is_identity(), "{alignment}");
}

/// Counts letters. Texts without letters have zero vectors.
#[allow(clippy::unnecessary_wraps, reason = "an oracle may fail")]
fn letters(texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    Ok(Array2::from_shape_fn((texts.len(), 26), |(row, letter)| {
        texts[row].bytes().filter(|byte| *byte == b'a' + letter as u8).count() as f32
    }))
}

/// Gives all texts one vector.
#[allow(clippy::unnecessary_wraps, reason = "an oracle may fail")]
fn one_vector(texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    Ok(Array2::from_shape_fn((texts.len(), 26), |(_, column)| if column < 2 { 0.6 } else { 0.0 }))
}

type Embed = fn(&[&str]) -> Result<Array2<f32>, BoxError>;

#[test]
fn guided_search_answers_for_duplicates_single_words_and_equal_vectors() {
    let word = |row: usize| format!("{}x", char::from(b'a' + (row % 20) as u8));
    let sentence = |row: usize| format!("{} {} {}", word(row), word(row + 7), word(3 * row + 1));
    let kinds: [(&str, Embed, Vec<String>); 5] = [
        ("duplicate texts", letters, vec![sentence(4); ROWS]),
        ("texts that are there twice", letters, (0..ROWS).map(|row| sentence(row / 2)).collect()),
        ("texts of one word", letters, (0..ROWS).map(word).collect()),
        ("texts without a vector", letters, (0..ROWS).map(|row| format!("{row} {}", row % 9)).collect()),
        ("equal vectors", one_vector, (0..ROWS).map(sentence).collect()),
    ];
    for (name, embed, own) in kinds {
        let texts: Vec<&str> = own.iter().map(String::as_str).collect();
        let vectors = embed(&texts).unwrap();
        let resources = Resources::new(&embed).own_texts(OwnTexts::new(&own, vectors.view()).unwrap());
        let mut targets = letters(&["ax", "bx hx nx", "cx cx", "7"]).unwrap();
        let equal = targets.row(1).to_owned();
        targets.row_mut(2).assign(&equal);
        let found = Guided::new().queries(60).invert(targets.view(), &resources).unwrap();
        assert_eq!(found.len(), 4, "{name}");
        for inversion in &found {
            assert!(inversion.cosine.is_finite() && inversion.queries <= 60, "{name}: {}", inversion.cosine);
        }
        assert_eq!(found[1].output, found[2].output, "{name}: equal vectors get one text");
        assert!(found[3].cosine.abs() < 1e-6, "{name}: a zero vector is like no text");
    }
}

#[test]
fn guided_search_finds_the_text_of_one_word() {
    let own: Vec<String> = (0..ROWS).map(|row| format!("{}x", char::from(b'a' + (row % 20) as u8))).collect();
    let texts: Vec<&str> = own.iter().map(String::as_str).collect();
    let vectors = letters(&texts).unwrap();
    let oracle: Embed = letters;
    let resources = Resources::new(&oracle).own_texts(OwnTexts::new(&own, vectors.view()).unwrap());
    let found = Guided::new().queries(60).invert(letters(&["kx"]).unwrap().view(), &resources).unwrap();
    assert_eq!(found[0].output, "kx");
}
