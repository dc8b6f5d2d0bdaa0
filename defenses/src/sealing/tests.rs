#![allow(clippy::unwrap_used)]

use ndarray::{Array1, array};

use super::*;
use crate::{GaussianNoise, Rotation};

/// Rows that `tests/golden/sealed.py` sealed with another implementation. They are never regenerated.
const GOLDEN: &str = include_str!("../../tests/data/sealed-v1.txt");

fn key(byte: u8) -> Key {
    Key::from_bytes([byte; 32])
}

/// The nonce of the golden rows.
fn nonce(first: u8) -> [u8; NONCE_BYTES] {
    std::array::from_fn(|at| first + at as u8)
}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(bytes)
}

#[test]
fn rows_are_the_bytes_of_an_independent_implementation() {
    let plain = Sealer::new(&key(7));
    let rotated = Sealer::new(&key(7)).bound_to(&Rotation::new(&key(7), 4).unwrap());
    let vector: Array1<f32> = array![0.5, -0.25, 0.1, 0.0];
    let of = |sealer: &Sealer, precision: Precision, id: &str, first| {
        let content = precision.encode(vector.view()).unwrap();
        let place = Place { kind: precision.kind(), field: "", id: id.as_bytes() };
        hex(&sealer.seal(place, &content, &nonce(first)).unwrap())
    };
    let text = |field, text: &str, first| {
        let place = Place { kind: Kind::Text, field, id: b"row 1" };
        hex(&rotated.seal(place, text.as_bytes(), &nonce(first)).unwrap())
    };
    let ours = [
        of(&plain, Precision::Int8, "row 1", 0),
        of(&rotated, Precision::Int8, "row 1", 1),
        of(&rotated, Precision::F16, "row 2", 2),
        of(&rotated, Precision::F32, "row 3", 3),
        text("chunk", "Ann Lee owes 420 €.", 4),
        text("", "", 5),
    ];
    let golden: Vec<&str> = GOLDEN.lines().collect();
    assert_eq!(ours.to_vec(), golden);
}

#[test]
fn what_is_sealed_is_what_is_opened() {
    let vectors = Array2::from_shape_fn((5, 33), |(row, at)| ((row * 33 + at) as f32).sin());
    let ids = ["a", "b", "c", "d", "e"];
    for (precision, off) in [(Precision::F32, 0.0), (Precision::F16, 5e-4), (Precision::Int8, 4e-3)] {
        let sealer = Sealer::new(&key(1)).precision(precision);
        let sealed = sealer.seal_vectors(&ids, vectors.view()).unwrap();
        assert!(sealed.iter().all(|row| row.len() == precision.sealed_bytes(33)), "{precision}");
        let opened = Sealer::new(&key(1)).open_vectors(&ids, &sealed).unwrap();
        let worst = (&opened - &vectors).iter().fold(0.0_f32, |worst, x| worst.max(x.abs()));
        assert!(worst <= off, "{precision}: {worst}");
        let mut rounded = vectors.row(2).to_vec();
        precision.round(&mut rounded).unwrap();
        assert_eq!(opened.row(2).to_vec(), rounded, "{precision}");
        for number in [f32::NAN, f32::INFINITY] {
            let refused = precision.round(&mut [0.5, number]);
            assert!(matches!(refused, Err(Error::NotFinite { row: 0 })), "{precision}: {refused:?}");
        }
    }
    let text = Sealer::new(&key(1)).seal_text("a", "title", "übermorgen").unwrap();
    assert_eq!(*Sealer::new(&key(1)).open_text("a", "title", &text).unwrap(), "übermorgen");
}

#[test]
fn texts_of_several_rows_are_sealed_at_once() {
    let (sealer, ids, texts) = (Sealer::new(&key(1)), ["a", "b"], ["a letter", ""]);
    let sealed = sealer.seal_texts(&ids, "chunk", &texts).unwrap();
    for ((id, text), sealed) in ids.iter().zip(texts).zip(&sealed) {
        assert_eq!(*sealer.open_text(id, "chunk", sealed).unwrap(), text);
    }
    assert!(sealer.open_text("a", "chunk", &sealed[1]).is_err() && sealed[0][21..45] != sealed[1][21..45]);
    assert!(sealer.seal_texts(&[""; 0], "chunk", &[""; 0]).unwrap().is_empty());
    let refused = sealer.seal_texts(&["a", ""], "chunk", &texts);
    assert!(matches!(refused, Err(Error::EmptyId { row: 1 })), "{refused:?}");
    let refused = sealer.seal_texts(&["a"], "chunk", &texts);
    assert!(matches!(refused, Err(Error::RowIds { rows: 2, ids: 1 })), "{refused:?}");
}

#[test]
fn a_row_is_sealed_anew_each_time() {
    let sealer = Sealer::new(&key(1));
    let vector: Array1<f32> = array![1.0, 2.0];
    let once = || sealer.seal_vector("a", vector.view()).unwrap();
    assert_ne!(once(), once());
    let both = sealer.seal_vectors(&["a", "b"], array![[1.0, 2.0], [1.0, 2.0]].view()).unwrap();
    assert_ne!(both[0][21..45], both[1][21..45], "each row has its own nonce");
}

fn refusal<T: fmt::Debug>(opened: Result<T, Error>) -> Refusal {
    match opened {
        Err(Error::Sealed { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn decoys_are_refused_by_name() {
    let sealer = Sealer::new(&key(1));
    let row = sealer.seal_vector("a", array![1.0, 2.0].view()).unwrap();
    let text = sealer.seal_text("a", "chunk", "a letter").unwrap();
    let vector = |sealer: &Sealer, id: &str, row: &[u8]| refusal(sealer.open_vector(id, row));

    let other = Refusal::OtherKey { sealed: key(1).fingerprint(), found: key(2).fingerprint() };
    assert_eq!(vector(&Sealer::new(&key(2)), "a", &row), other);
    assert_eq!(vector(&sealer, "b", &row), Refusal::Altered, "a swapped row");
    let bound = sealer.clone().bound_to(&Rotation::deferred(&key(1)));
    assert_eq!(vector(&bound, "a", &row), Refusal::OtherStack);
    for len in [0, 1, 20, 21, 44, 45, row.len() - 1] {
        let cut = vector(&sealer, "a", &row[..len]);
        let by_length = Refusal::Length { expected: row.len(), found: len };
        assert_eq!(cut, if len < 21 { Refusal::NotSealed } else { by_length }, "{len}");
    }
    let longer = [row.as_slice(), &[0]].concat();
    assert_eq!(vector(&sealer, "a", &longer), Refusal::Length { expected: row.len(), found: row.len() + 1 });
    let mut newer = row.clone();
    newer[3] = 2;
    assert_eq!(vector(&sealer, "a", &newer), Refusal::Version { found: 2 });

    assert_eq!(vector(&sealer, "a", &text), Refusal::Kind { expected: "a vector", found: "a text" });
    assert_eq!(
        refusal(sealer.open_text("a", "chunk", &row)),
        Refusal::Kind { expected: "a text", found: "a vector" }
    );
    assert_eq!(refusal(sealer.open_text("a", "title", &text)), Refusal::Altered, "a swapped field");
    assert_eq!(refusal(sealer.open_text("b", "chunk", &text)), Refusal::Altered);
}

/// Whichever bit an attacker flips, the row does not open. It does not open either if one field's end is moved into
/// another.
#[test]
fn no_flipped_bit_is_opened() {
    let sealer = Sealer::new(&key(1)).bound_to(&Rotation::deferred(&key(3)));
    let row = sealer.seal_vector("a", array![1.0, 2.0, 3.0].view()).unwrap();
    for bit in 0..8 * row.len() {
        let mut flipped = row.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        refusal(sealer.open_vector("a", &flipped));
    }
    let text = sealer.seal_text("bc", "a", "x").unwrap();
    assert_eq!(refusal(sealer.open_text("c", "ab", &text)), Refusal::Altered);
}

#[test]
fn noise_and_an_unknown_dimension_make_no_difference_to_what_opens() {
    let bound = |stack: &Stack| Sealer::new(&key(1)).bound_to(stack);
    let stored = Stack::new().with(Rotation::new(&key(2), 4).unwrap()).with(GaussianNoise::new(0.1).unwrap());
    let row = bound(&stored).seal_vector("a", array![1.0, 2.0, 3.0, 4.0].view()).unwrap();
    let later = Stack::new().with(Rotation::deferred(&key(2)));
    assert!(bound(&later).open_vector("a", &row).is_ok());
    let other = Stack::new().with(Rotation::deferred(&key(3)));
    assert_eq!(refusal(bound(&other).open_vector("a", &row)), Refusal::OtherStack);
}

#[test]
fn a_new_key_opens_the_same_numbers_and_the_old_one_nothing() {
    let (old, new) = (Sealer::new(&key(1)), Sealer::new(&key(2)).precision(Precision::F32));
    let row = old.seal_vector("a", array![0.3, -0.7].view()).unwrap();
    let again = old.rekey_vector(&new, "a", &row).unwrap();
    assert_eq!(*new.open_vector("a", &again).unwrap(), *old.open_vector("a", &row).unwrap());
    assert_eq!(again.len(), row.len(), "it is not rounded again");
    assert!(matches!(refusal(old.open_vector("a", &again)), Refusal::OtherKey { .. }));
    assert_eq!(refusal(old.rekey_vector(&new, "b", &row)), Refusal::Altered);

    let text = old.rekey_text(&new, "a", "f", &old.seal_text("a", "f", "x").unwrap()).unwrap();
    assert_eq!(*new.open_text("a", "f", &text).unwrap(), "x");
}

#[test]
fn the_row_that_does_not_open_is_named_and_settings_are_checked() {
    let sealer = Sealer::new(&key(1));
    let vectors: Array2<f32> = array![[1.0, 2.0], [3.0, 4.0]];
    let sealed = sealer.seal_vectors(&["a", "b"], vectors.view()).unwrap();
    let refused = sealer.open_vectors(&["a", "a"], &sealed);
    assert!(matches!(refused, Err(Error::Sealed { row: 1, refusal: Refusal::Altered })), "{refused:?}");
    let odd = [sealed[0].clone(), sealer.seal_vector("c", array![1.0].view()).unwrap()];
    let refused = refusal(sealer.open_vectors(&["a", "c"], &odd));
    assert_eq!(refused, Refusal::Dimension { expected: 2, found: 1 });
    assert_eq!(sealer.open_vectors(&[""; 0], &[[]; 0]).unwrap().dim(), (0, 0));

    assert!(matches!(sealer.seal_vectors(&["a"], vectors.view()), Err(Error::RowIds { rows: 2, ids: 1 })));
    assert!(matches!(sealer.seal_text("", "f", "x"), Err(Error::EmptyId { row: 0 })));
    assert!(matches!(sealer.seal_vectors(&["a", ""], vectors.view()), Err(Error::EmptyId { row: 1 })));
    assert!(matches!(sealer.seal_vector("a", array![f32::NAN].view()), Err(Error::NotFinite { row: 0 })));
    let half = sealer.clone().precision(Precision::F16);
    assert!(matches!(half.seal_vector("a", array![7e4].view()), Err(Error::Setting { .. })));
}

#[test]
fn nothing_shows_a_key_and_all_secrets_wipe_themselves() {
    fn wipes_itself(_: &impl zeroize::ZeroizeOnDrop) {}
    let sealer = Sealer::new(&key(1));
    wipes_itself(&sealer.cipher);
    wipes_itself(&sealer.open_vector("a", &sealer.seal_vector("a", array![1.0].view()).unwrap()).unwrap());
    wipes_itself(&Precision::Int8.encode(array![1.0].view()).unwrap());
    let shown = format!("{sealer:?}");
    assert!(shown.contains(&key(1).fingerprint()) && shown.len() < 120, "{shown}");
}
