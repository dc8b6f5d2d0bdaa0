//! Large batches are cut into pieces, for several threads where the feature `rayon` is on. What a row
//! becomes does not depend on it, bit for bit.

#![allow(clippy::unwrap_used)]

use embosk_defenses::{
    Dcpe, Defense, Error, GaussianNoise, Key, Permutation, ProductQuantization, Quantization, Rng, Role,
    Rotation, Scaling, Stack,
};
use ndarray::{Array2, Axis, s};

/// Enough for several pieces, and the last ones not full.
const ROWS: usize = 1741;
const DIM: usize = 99;

fn key() -> Key {
    Key::from_bytes([7; 32])
}

fn batch() -> Array2<f32> {
    let mut rng = Rng::seeded(1);
    let mut normals = rng.standard_normals();
    Array2::from_shape_simple_fn((ROWS, DIM), || normals.draw() as f32 / 10.0)
}

fn bits(vectors: &Array2<f32>) -> Vec<u32> {
    vectors.iter().map(|x| x.to_bits()).collect()
}

/// `vectors` protected in calls of so many rows each, one after the other.
fn protected(defense: &dyn Defense, vectors: &Array2<f32>, rows: usize) -> Array2<f32> {
    let (mut vectors, mut rng) = (vectors.clone(), Rng::seeded(2));
    for piece in vectors.axis_chunks_iter_mut(Axis(0), rows) {
        defense.protect(Role::Document, piece, &mut rng).unwrap();
    }
    vectors
}

#[test]
fn a_batch_becomes_what_its_rows_become() {
    let sample = batch().slice_move(s![..300, ..]);
    let defenses: [Box<dyn Defense>; 11] = [
        Box::new(Rotation::new(&key(), DIM).unwrap()),
        Box::new(Rotation::hadamard(&key(), DIM).unwrap()),
        Box::new(Permutation::new(&key(), DIM).unwrap()),
        Box::new(Scaling::new(&key())),
        Box::new(Dcpe::new(&key(), 0.5).unwrap()),
        Box::new(GaussianNoise::keyed(&key(), 0.1).unwrap().renormalize(true)),
        Box::new(Quantization::new(8).unwrap()),
        Box::new(Quantization::fit(4, sample.view(), 0.9).unwrap().dither(&key()).unwrap()),
        Box::new(Quantization::new(1).unwrap()),
        Box::new(ProductQuantization::fit(sample.view(), 11, 16, 1).unwrap()),
        Box::new(Stack::new().with(Rotation::new(&key(), DIM).unwrap()).with(Quantization::new(8).unwrap())),
    ];
    for defense in defenses {
        let together = protected(&*defense, &batch(), ROWS);
        for rows in [1, 13, 700] {
            assert_eq!(
                bits(&protected(&*defense, &batch(), rows)),
                bits(&together),
                "{defense}, {rows} rows"
            );
        }
    }
}

/// A block of the sampler is of 512 numbers, so calls of 512 rows draw the numbers that one call draws.
#[test]
fn fresh_noise_of_a_batch_is_that_of_its_parts() {
    let noise = GaussianNoise::new(0.1).unwrap();
    assert_eq!(bits(&protected(&noise, &batch(), 512)), bits(&protected(&noise, &batch(), ROWS)));
}

#[test]
fn the_generator_goes_on_where_a_batch_has_left_it() {
    let defenses: [Box<dyn Defense>; 2] =
        [Box::new(GaussianNoise::new(0.1).unwrap()), Box::new(Dcpe::new(&key(), 0.5).unwrap())];
    for defense in defenses {
        let ends = [ROWS, 512].map(|rows| {
            let (mut vectors, mut rng) = (batch(), Rng::seeded(2));
            for piece in vectors.axis_chunks_iter_mut(Axis(0), rows) {
                defense.protect(Role::Document, piece, &mut rng).unwrap();
            }
            rng.standard_normals().draw()
        });
        assert!(ends[0].to_bits() == ends[1].to_bits(), "{defense}");
    }
}

#[test]
fn restoring_is_the_same_in_pieces() {
    for rotation in [Rotation::new(&key(), DIM).unwrap(), Rotation::hadamard(&key(), DIM).unwrap()] {
        let (mut together, mut alone) = (batch(), batch());
        rotation.restore(together.view_mut()).unwrap();
        alone.axis_chunks_iter_mut(Axis(0), 1).for_each(|row| rotation.restore(row).unwrap());
        assert_eq!(bits(&together), bits(&alone), "{rotation}");
    }
}

#[test]
fn ids_and_codes_stay_with_their_rows() {
    let ids: Vec<_> = (0..ROWS).map(|row| row.to_string()).collect();
    let ids: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
    let rng = &mut Rng::seeded(0);
    let keyed = GaussianNoise::keyed(&key(), 0.1).unwrap();
    let mut together = batch();
    keyed.protect_with_ids(Role::Document, &ids, together.view_mut(), rng).unwrap();
    let coder = Quantization::new(8).unwrap();
    let codes = coder.encode(together.view()).unwrap();
    let decoded = coder.decode(&codes).unwrap();
    for row in [0, 1, 400, 1024, ROWS - 1] {
        let one = s![row..=row, ..];
        let mut alone = batch().slice_move(one);
        keyed.protect_with_ids(Role::Document, &ids[row..=row], alone.view_mut(), rng).unwrap();
        assert_eq!(alone, together.slice(one));
        let code = coder.encode(alone.view()).unwrap();
        assert_eq!((code.bytes(), code.scales()), (codes.bytes().slice(one), &codes.scales()[row..=row]));
        assert_eq!(coder.decode(&code).unwrap(), decoded.slice(one));
    }
}

#[test]
fn the_first_bad_row_is_named_whichever_piece_it_is_in() {
    for rows in [[3, ROWS - 1], [900, 1200], [ROWS - 2, ROWS - 1]] {
        let mut vectors = batch();
        for row in rows {
            vectors[[row, 5]] = f32::NAN;
        }
        let before = bits(&vectors);
        for refused in [
            Scaling::new(&key()).protect(Role::Query, vectors.view_mut(), &mut Rng::seeded(0)),
            Quantization::new(8).unwrap().encode(vectors.view()).map(drop),
        ] {
            assert!(matches!(refused, Err(Error::NotFinite { row }) if row == rows[0]), "{refused:?}");
        }
        assert_eq!(bits(&vectors), before);
    }
}
