//! Every defense of the crate keeps the contract, and what is particular to some.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use embosk_defenses::{
    Dcpe, Defense, Error, GaussianNoise, Guarantee, Key, Microaggregation, Permutation, Precision,
    ProductQuantization, Projection, ProjectionFit, Quantization, Rerank, Rng, Role, Rotation, Scaling,
    Stack, contract,
};
use ndarray::{Array2, ArrayView2};

const DIM: usize = 12;

fn every_defense() -> Vec<Arc<dyn Defense>> {
    let key = || Key::from_bytes([7; 32]);
    let rotation = || Rotation::new(&key(), DIM).unwrap();
    let projection = || Projection::fit(batch(30, DIM).view(), 5).unwrap();
    let noise = || GaussianNoise::new(0.1).unwrap();
    let rounding = |bits| Quantization::new(bits).unwrap();
    vec![
        Arc::new(noise()),
        Arc::new(GaussianNoise::new(0.0).unwrap()),
        Arc::new(noise().on(Role::Query).renormalize(true)),
        Arc::new(noise().renormalize(true)),
        Arc::new(GaussianNoise::keyed(&key(), 0.1).unwrap()),
        Arc::new(GaussianNoise::keyed(&key(), 0.1).unwrap().on(Role::Document).renormalize(true)),
        Arc::new(rounding(8)),
        Arc::new(rounding(4)),
        Arc::new(rounding(1)),
        Arc::new(rounding(8).scale(0.7).unwrap()),
        Arc::new(rounding(1).scale(0.7).unwrap().dither(&key()).unwrap()),
        Arc::new(Quantization::fit(4, batch(9, DIM).view(), 0.9).unwrap()),
        Arc::new(ProductQuantization::fit(batch(9, DIM).view(), 3, 4, 1).unwrap()),
        Arc::new(Microaggregation::fit(batch(30, DIM).view(), 3).unwrap()),
        Arc::new(projection()),
        Arc::new(Projection::fit(batch(30, DIM).view(), DIM).unwrap()),
        Arc::new(ProjectionFit::new(5).whiten(true).fit(batch(30, DIM).view()).unwrap()),
        Arc::new(Projection::keyed(&key(), 5).unwrap()),
        Arc::new(Projection::keyed(&key(), DIM).unwrap()),
        Arc::new(Stack::new().with(projection()).with(Rotation::deferred(&key())).with(noise())),
        Arc::new(Stack::new().with(projection()).with(GaussianNoise::keyed(&key(), 0.1).unwrap())),
        Arc::new(Stack::new().with(noise()).with(Projection::keyed(&key(), 5).unwrap()).with(rounding(8))),
        Arc::new(rotation()),
        Arc::new(Rotation::deferred(&key())),
        Arc::new(Rotation::hadamard(&key(), DIM).unwrap()),
        Arc::new(Rotation::deferred_hadamard(&key())),
        Arc::new(Permutation::new(&key(), DIM).unwrap()),
        Arc::new(Permutation::deferred(&key())),
        Arc::new(Scaling::new(&key())),
        Arc::new(Dcpe::new(&key(), 0.4).unwrap()),
        Arc::new(Dcpe::new(&key(), 0.0).unwrap()),
        Arc::new(Rerank::default()),
        Arc::new(Rerank::new(50).unwrap().key(&key()).precision(Precision::F16)),
        Arc::new(Stack::new().with(noise()).with(Rerank::default())),
        Arc::new(Stack::new()),
        Arc::new(
            Stack::new().with(rotation()).with(Permutation::deferred(&key())).with(Scaling::new(&key())),
        ),
        Arc::new(Stack::new().with(rounding(4))),
        Arc::new(Stack::new().with(rotation()).with(noise()).with(rounding(8))),
        Arc::new(Stack::new().with(Stack::new().with(noise())).with(Stack::new())),
        Arc::new(Box::new(noise()) as Box<dyn Defense>),
    ]
}

#[test]
fn keeps_the_contract() {
    for index in 0..every_defense().len() {
        contract::check(DIM, || every_defense().swap_remove(index));
    }
}

#[test]
fn what_has_no_inverse_is_refused_by_name() {
    let key = Key::from_bytes([7; 32]);
    let stack = Stack::new().with(GaussianNoise::new(0.1).unwrap()).with(Rotation::deferred(&key));
    let error = stack.unprotect(batch(2, DIM).view_mut()).unwrap_err();
    assert!(
        matches!(&error, Error::NotInvertible { defense, .. } if defense == "gaussian(sigma=0.1)"),
        "{error}"
    );
    assert!(
        error.to_string().starts_with("`gaussian(sigma=0.1)` cannot be undone: it adds noise"),
        "{error}"
    );
    // nothing was bound by what was refused
    stack.protect(Role::Document, batch(2, DIM + 1).view_mut(), &mut Rng::seeded(1)).unwrap();
    for defense in every_defense() {
        let kept = matches!(defense.guarantee(), Guarantee::Isometry);
        let printed = defense.to_string();
        let scales = printed.contains("scaling") || printed.contains("beta=0)");
        let undone = defense.unprotect(Array2::zeros((0, 1)).view_mut()).is_ok();
        assert_eq!(undone, kept || scales, "{defense}");
    }
}

#[test]
fn a_batch_that_is_not_undone_is_unchanged() {
    let key = Key::from_bytes([7; 32]);
    let stack = Stack::new().with(Rotation::new(&key, DIM).unwrap()).with(Scaling::new(&key));
    let before = batch(2, DIM + 1);
    let mut after = before.clone();
    assert!(matches!(stack.unprotect(after.view_mut()), Err(Error::Dimension { .. })));
    assert_eq!(after, before);
}

fn batch(rows: usize, dim: usize) -> Array2<f32> {
    let mut rng = Rng::seeded(rows as u64);
    let mut vectors = Array2::zeros((rows, dim));
    vectors.iter_mut().zip(rng.standard_normals()).for_each(|(x, normal)| *x = normal as f32);
    vectors
}

fn protected(defense: &dyn Defense, vectors: &ArrayView2<'_, f32>) -> Array2<f32> {
    defense.protect_owned(Role::Document, vectors.to_owned(), &mut Rng::seeded(3)).unwrap()
}

#[test]
fn a_rotation_refuses_other_dimensions_and_changes_nothing() {
    let deferred = Rotation::deferred(&Key::from_bytes([1; 32]));
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
    let deferred = Rotation::deferred(&key);
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

/// What the contract allows to a user's own defense: to be unknown to the grammar, or to overflow.
#[test]
fn the_grammar_and_the_whole_range_are_known_to_all() {
    for defense in every_defense() {
        for value in [0.0, -0.0, f32::from_bits(1), f32::MIN_POSITIVE, 1e30, -4e37] {
            let vectors = Array2::from_elem((2, DIM), value);
            let done = defense.protect_owned(Role::Document, vectors, &mut Rng::seeded(3));
            // what makes some vectors longer may leave the range with the largest
            let is_scaled = defense.to_string().starts_with("projection(") && value < -1e37;
            assert!(done.is_ok() || is_scaled, "{defense}: {value}");
        }
        if let Err(error) = defense.to_string().parse::<Stack>() {
            assert!(error.to_string().contains("does not hold it"), "{defense}: {error}");
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

/// Inputs of the table in `docs/understand/limitations.md`, `[6, DIM]` each.
fn unusual() -> [(&'static str, Array2<f32>); 3] {
    let mut constant = batch(6, DIM);
    constant.column_mut(3).fill(0.5);
    constant.column_mut(5).fill(0.0);
    let equal = batch(1, DIM).broadcast((6, DIM)).unwrap().to_owned();
    [("zero rows", Array2::zeros((6, DIM))), ("equal rows", equal), ("constant columns", constant)]
}

fn is_finite(vectors: &Array2<f32>) -> bool {
    vectors.iter().all(|value| value.is_finite())
}

/// Whether rows of zeros come out as something else: noise gives them a direction, and fits and dither their own.
fn moves_zeros(defense: &dyn Defense, role: Role) -> bool {
    let printed = defense.to_string();
    let has = |part: &str| printed.contains(part);
    let groups = has("microaggregation") && role == Role::Document;
    let fitted = has("projection(fit=") || has("product_quantization") || has("dither=");
    defense.assumes_unit_norm(role) || fitted || groups
}

#[test]
fn zero_rows_equal_rows_and_constant_columns_come_out_as_stated() {
    for defense in every_defense() {
        for role in [Role::Document, Role::Query] {
            for (name, vectors) in unusual() {
                let after = defense.protect_owned(role, vectors, &mut Rng::seeded(3)).unwrap();
                assert!(is_finite(&after), "{defense}: {name}");
                let is_fresh = defense.spec().fresh_noise(role).is_some() && defense.assumes_unit_norm(role);
                let are_equal = after.rows().into_iter().all(|row| row == after.row(0));
                assert!(name == "constant columns" || are_equal != is_fresh, "{defense} {role:?}: {name}");
                let are_zero = after.iter().all(|value| *value == 0.0);
                let expected = name == "zero rows" && !moves_zeros(&*defense, role);
                assert_eq!(are_zero, expected, "{defense} {role:?}: {name}");
            }
        }
    }
}

#[test]
fn fits_on_zero_rows_equal_rows_and_constant_columns_are_finite() {
    for (name, sample) in unusual() {
        let sample = sample.view();
        let fits: [Arc<dyn Defense>; 5] = [
            Arc::new(Quantization::fit(4, sample, 0.9).unwrap()),
            Arc::new(ProductQuantization::fit(sample, 3, 4, 1).unwrap()),
            Arc::new(Projection::fit(sample, 3).unwrap()),
            Arc::new(ProjectionFit::new(3).whiten(true).fit(sample).unwrap()),
            Arc::new(Microaggregation::fit(sample, 3).unwrap()),
        ];
        for defense in fits {
            for vectors in unusual().map(|(_, vectors)| vectors).iter().chain([&batch(6, DIM)]) {
                let large = vectors * 1e3;
                let after = protected(&*defense, &large.view());
                assert!(is_finite(&after), "{defense} on {name}");
            }
        }
    }
}
