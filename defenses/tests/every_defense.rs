//! What every defense of the crate has in common, checked on each in turn.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use embosk_defenses::{
    Dcpe, Defense, Error, GaussianNoise, Key, Permutation, Quantization, Rng, Role, Rotation, Scaling, Stack,
};
use ndarray::{Array2, ArrayView2, Axis, s};

const DIM: usize = 12;

fn every_defense() -> Vec<Arc<dyn Defense>> {
    let key = || Key::from_bytes([7; 32]);
    let rotation = || Rotation::new(&key(), DIM).unwrap();
    let noise = || GaussianNoise::new(0.1).unwrap();
    let rounding = |bits| Quantization::new(bits).unwrap();
    vec![
        Arc::new(noise()),
        Arc::new(GaussianNoise::new(0.0).unwrap()),
        Arc::new(rounding(8)),
        Arc::new(rounding(4)),
        Arc::new(rounding(1)),
        Arc::new(rotation()),
        Arc::new(Rotation::deferred(key())),
        Arc::new(Rotation::hadamard(&key(), DIM).unwrap()),
        Arc::new(Rotation::deferred_hadamard(key())),
        Arc::new(Permutation::new(&key(), DIM).unwrap()),
        Arc::new(Permutation::deferred(key())),
        Arc::new(Scaling::new(&key())),
        Arc::new(Dcpe::new(&key(), 0.4).unwrap()),
        Arc::new(Dcpe::new(&key(), 0.0).unwrap()),
        Arc::new(Stack::new()),
        Arc::new(Stack::new().with(rounding(4))),
        Arc::new(Stack::new().with(rotation()).with(noise()).with(rounding(8))),
        Arc::new(Stack::new().with(Stack::new().with(noise())).with(Stack::new())),
        Arc::new(Box::new(noise()) as Box<dyn Defense>),
    ]
}

fn batch(rows: usize, dim: usize) -> Array2<f32> {
    let mut rng = Rng::seeded(rows as u64);
    let mut vectors = Array2::zeros((rows, dim));
    vectors.iter_mut().zip(rng.standard_normals()).for_each(|(x, normal)| *x = normal as f32);
    vectors
}

fn protected(defense: &dyn Defense, vectors: &ArrayView2<'_, f32>) -> Array2<f32> {
    let mut vectors = vectors.to_owned();
    defense.protect(Role::Document, vectors.view_mut(), &mut Rng::seeded(3)).unwrap();
    vectors
}

#[test]
fn keeps_values_finite_and_rows_in_their_places() {
    let vectors = batch(5, DIM);
    for defense in every_defense() {
        let together = protected(&defense, &vectors.view());
        assert!(together.iter().all(|x| x.is_finite()), "{defense}");
        let first = protected(&defense, &vectors.slice(s![..1, ..]));
        let difference = (&first - &together.slice(s![..1, ..])).mapv(f32::abs);
        assert!(difference.iter().all(|x| *x < 1e-5), "{defense}");
    }
}

#[test]
fn keeps_values_finite_at_the_ends_of_the_range() {
    for defense in every_defense() {
        for value in [0.0, -0.0, f32::from_bits(1), f32::MIN_POSITIVE, 1e30, -4e37] {
            let vectors = Array2::from_elem((2, DIM), value);
            let out = protected(&defense, &vectors.view());
            assert!(out.iter().all(|x| x.is_finite()), "{defense} on {value}");
        }
    }
}

#[test]
fn takes_an_empty_batch_of_any_dimension() {
    for defense in every_defense() {
        for dim in [DIM, 3, 0] {
            assert_eq!(protected(&defense, &Array2::zeros((0, dim)).view()).dim(), (0, dim), "{defense}");
        }
        // It binds nothing: the dimension is still free, or the one that it was.
        assert_eq!(protected(&defense, &batch(1, DIM).view()).dim(), (1, DIM), "{defense}");
    }
}

#[test]
fn refuses_rows_that_are_not_finite_and_changes_nothing() {
    for defense in every_defense() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            let mut vectors = batch(4, DIM);
            vectors[[2, DIM - 1]] = bad;
            let before = vectors.mapv(f32::to_bits);
            let refusal = defense.protect(Role::Query, vectors.view_mut(), &mut Rng::seeded(3));
            assert!(matches!(refusal, Err(Error::NotFinite { row: 2 })), "{defense}: {refusal:?}");
            assert_eq!(vectors.mapv(f32::to_bits), before, "{defense}");
        }
    }
}

#[test]
fn treats_a_strided_view_as_its_copy() {
    let wide = batch(6, 2 * DIM);
    for defense in every_defense() {
        let expected = protected(&defense, &wide.slice(s![..;2, 1..;2]));
        let mut strided = wide.clone();
        defense.protect(Role::Document, strided.slice_mut(s![..;2, 1..;2]), &mut Rng::seeded(3)).unwrap();
        let difference = (&strided.slice(s![..;2, 1..;2]) - &expected).mapv(f32::abs);
        assert!(difference.iter().all(|x| *x < 1e-5), "{defense}");
        assert_eq!(strided.slice(s![1..;2, ..]), wide.slice(s![1..;2, ..]), "{defense}");
        assert_eq!(strided.slice(s![.., ..;2]), wide.slice(s![.., ..;2]), "{defense}");
    }
}

#[test]
fn takes_a_column_major_and_a_reversed_batch() {
    for defense in every_defense() {
        let vectors = batch(DIM, DIM);
        let expected = protected(&defense, &vectors.t());
        let mut turned = vectors.clone();
        defense.protect(Role::Document, turned.view_mut().reversed_axes(), &mut Rng::seeded(3)).unwrap();
        assert!((&turned.t() - &expected).iter().all(|x| x.abs() < 1e-5), "{defense}");

        let mut backwards = vectors;
        backwards.invert_axis(Axis(0));
        let expected = protected(&defense, &backwards.to_owned().view());
        assert!((&protected(&defense, &backwards.view()) - &expected).iter().all(|x| x.abs() < 1e-5));
    }
}

#[test]
fn a_rotation_refuses_other_dimensions_and_changes_nothing() {
    let deferred = Rotation::deferred(Key::from_bytes([1; 32]));
    assert_eq!(deferred.dim(), None);
    let mut bad = Array2::from_elem((1, 3), f32::NAN);
    assert!(deferred.protect(Role::Document, bad.view_mut(), &mut Rng::seeded(0)).is_err());
    assert_eq!(deferred.dim(), None, "a batch that is refused binds nothing");
    protected(&deferred, &batch(1, DIM).view());
    assert_eq!(deferred.dim(), Some(DIM));

    let bound = Rotation::new(&Key::from_bytes([1; 32]), DIM).unwrap();
    let late = Stack::new().with(GaussianNoise::new(0.1).unwrap()).with(bound);
    for defense in [&deferred as &dyn Defense, &late] {
        let mut vectors = batch(2, DIM + 1);
        let refusal = defense.protect(Role::Document, vectors.view_mut(), &mut Rng::seeded(0));
        assert!(matches!(refusal, Err(Error::Dimension { expected: DIM, found: 13 })), "{defense}");
        assert_eq!(vectors, batch(2, DIM + 1), "{defense}");
    }
}

#[test]
fn a_rotation_refuses_no_dimension_and_a_huge_one() {
    let key = Key::from_bytes([1; 32]);
    for dim in [0, 8193, usize::MAX] {
        assert!(matches!(Rotation::new(&key, dim), Err(Error::Setting { name: "dim", .. })));
        assert!(matches!(Rotation::hadamard(&key, dim), Err(Error::Setting { name: "dim", .. })));
        assert!(matches!(Permutation::new(&key, dim), Err(Error::Setting { name: "dim", .. })));
    }
    let deferred = Rotation::deferred(key);
    let refusal = deferred.protect(Role::Document, Array2::zeros((1, 0)).view_mut(), &mut Rng::seeded(0));
    assert!(matches!(refusal, Err(Error::Setting { name: "dim", .. })));
}

#[test]
fn settings_out_of_range_are_refused() {
    for sigma in [-0.1, f64::NAN, f64::INFINITY, 1e31] {
        assert!(matches!(GaussianNoise::new(sigma), Err(Error::Setting { name: "sigma", .. })), "{sigma}");
    }
    for beta in [-0.1, f64::NAN, f64::INFINITY, 1e31] {
        let refusal = Dcpe::new(&Key::from_bytes([1; 32]), beta);
        assert!(matches!(refusal, Err(Error::Setting { name: "beta", .. })), "{beta}");
    }
    for bits in [0, 2, 16] {
        assert!(matches!(Quantization::new(bits), Err(Error::Setting { name: "bits", .. })), "{bits}");
    }
}

#[test]
fn prints_what_parses_back() {
    for defense in every_defense() {
        let printed = defense.to_string();
        match printed.parse::<Stack>() {
            Ok(again) => {
                assert_eq!(again.to_string().replace(" | none", ""), printed.replace(" | none", ""));
            }
            Err(error) => {
                assert!(printed.contains("fingerprint:"), "{printed}: {error}");
                assert!(error.to_string().contains("does not hold it"), "{printed}: {error}");
            }
        }
    }
}

#[test]
fn debug_output_holds_no_coefficients() {
    let rotation = Rotation::new(&Key::from_bytes([1; 32]), 2).unwrap();
    let fingerprint = Key::from_bytes([1; 32]).fingerprint();
    assert_eq!(
        format!("{rotation:?}"),
        format!("Rotation {{ key: \"{fingerprint}\", kind: Haar, dim: Some(2), .. }}")
    );
}

#[test]
fn types_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Stack>();
    crosses::<Rotation>();
    crosses::<Key>();
    crosses::<Rng>();
    crosses::<Error>();
    crosses::<Arc<dyn Defense>>();
}
