//! Defenses whose strength is meant for vectors of norm 1.

#![allow(clippy::unwrap_used)]

use std::fmt;

use embosk_defenses::{
    Dcpe, Defense, Error, GaussianNoise, Guarantee, Key, Norms, OtherNorms, Quantization, Rng, Role,
    Rotation, Stack, check_finite,
};
use ndarray::{Array2, ArrayViewMut2, array};

const ROLES: [Role; 2] = [Role::Document, Role::Query];

/// A user's own defense: shifts every coordinate.
#[derive(Debug)]
struct Shift;

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shift(by=0.1)")
    }
}

impl Defense for Shift {
    fn protect(&self, _: Role, mut vectors: ArrayViewMut2<'_, f32>, _: &mut Rng) -> Result<(), Error> {
        check_finite(&vectors)?;
        vectors += 0.1;
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::None
    }

    fn assumes_unit_norm(&self, _: Role) -> bool {
        true
    }
}

fn noise() -> GaussianNoise {
    GaussianNoise::new(0.1).unwrap()
}

/// One half with norm 0.5 and one with 1.5: a mean of 1.
fn mixed() -> Array2<f32> {
    array![[0.3, 0.4], [0.9, 1.2], [-0.5, 0.0], [0.0, 1.5]]
}

#[test]
fn noise_assumes_norm_1_for_vectors_that_it_is_added_to() {
    let key = Key::from_bytes([7; 32]);
    let stack =
        |part: GaussianNoise| Stack::new().with(Stack::new().with(part)).with(Rotation::deferred(&key));
    let table: [(Box<dyn Defense>, [bool; 2]); 10] = [
        (Box::new(noise()), [true, true]),
        (Box::new(noise().on(Role::Document)), [true, false]),
        (Box::new(GaussianNoise::keyed(&key, 0.1).unwrap()), [true, true]),
        (Box::new(GaussianNoise::new(0.0).unwrap()), [false, false]),
        (Box::new(Dcpe::new(&key, 0.5).unwrap()), [true, true]),
        (Box::new(Dcpe::new(&key, 0.0).unwrap()), [false, false]),
        (Box::new(Rotation::deferred(&key)), [false, false]),
        (Box::new(Quantization::new(8).unwrap()), [false, false]),
        (Box::new(stack(noise().on(Role::Query))), [false, true]),
        (Box::new(Stack::new()), [false, false]),
    ];
    for (defense, expected) in table {
        assert_eq!(ROLES.map(|role| defense.assumes_unit_norm(role)), expected, "{defense}");
    }
}

#[test]
fn norms_that_are_1_only_in_the_mean_are_warned_of() {
    let stack = Stack::new().with(Quantization::new(8).unwrap()).with(noise().on(Role::Document));
    let norms = Norms::of(&mixed()).unwrap();
    let warning = norms.warning(&stack, Role::Document).unwrap();
    assert!(warning.contains("mean norm of 1.000 (from 0.500 to 1.500)"), "{warning}");
    assert!(warning.contains("`gaussian(sigma=0.1, on=documents)`"), "{warning}");
    assert_eq!(norms.warning(&stack, Role::Query), None);
    assert_eq!(norms.warning(&Stack::new(), Role::Document), None);
    assert_eq!(Norms::of(&Array2::eye(3)).unwrap().warning(&stack, Role::Document), None);
    assert_eq!(Norms::of(&Array2::zeros((0, 3))), None);
}

#[test]
fn a_defense_of_ones_own_is_warned_of_and_named() {
    for own in [Stack::new().with(Shift), Stack::new().with(Box::new(Shift) as Box<dyn Defense>)] {
        let warning = Norms::of(&mixed()).unwrap().warning(&own, Role::Query).unwrap();
        assert!(warning.contains("the strength of `shift(by=0.1)`"), "{warning}");
    }
}

#[test]
fn norms_of_batches_are_those_of_all_rows() {
    let (one, other) = (array![[0.3_f32, 0.4]], array![[3.0_f32, 4.0], [0.0, 0.0], [1.0, 0.0]]);
    let together = Norms::of(&one).unwrap().and(Norms::of(&other).unwrap());
    assert_eq!((together.rows, together.least, together.largest), (4, 0.0, 5.0));
    assert!((together.mean - 1.625).abs() < 1e-7, "{together:?}");
    for (value, norm) in [(1e30_f32, 2e30), (1e-30, 2e-30), (f32::from_bits(1), 2.802_596_928_649_634e-45)] {
        let found = Norms::of(&Array2::from_elem((1, 4), value)).unwrap();
        assert!((found.mean / norm - 1.0).abs() < 1e-6, "{value}: {found:?}");
    }
}

#[test]
fn a_refusal_says_which_row_and_what_to_do() {
    let stack = Stack::new().with(noise());
    let check = |vectors: &Array2<f32>| OtherNorms::Refuse.check(&stack, Role::Document, vectors);
    let vectors = array![[1.0, 0.0], [0.0, 1.05], [6.0, 8.0]];
    let refused = check(&vectors).unwrap_err();
    assert!(matches!(refused, Error::OtherNorm { row: 2, .. }), "{refused:?}");
    assert_eq!(
        refused.to_string(),
        "row 2 (counted from 0) has norm 10.000, and the strength of `gaussian(sigma=0.1)` is meant for vectors of norm 1; \
         scale the vectors to norm 1, or choose `normalize` in place of `refuse`"
    );
    assert!(check(&array![[0.0, 0.0]]).is_err());
    assert!(matches!(check(&array![[f32::NAN, 0.0]]), Err(Error::NotFinite { row: 0 })));
    assert_eq!(check(&Array2::eye(2)).unwrap(), Norms::of(&Array2::eye(2)));
    let rotation = Stack::new().with(Rotation::deferred(&Key::from_bytes([1; 32])));
    for (norms, stack) in [(OtherNorms::Refuse, &rotation), (OtherNorms::Accept, &stack)] {
        assert_eq!(norms.check(stack, Role::Document, &vectors).unwrap(), Norms::of(&vectors));
    }
}

#[test]
fn only_rows_of_another_norm_are_scaled() {
    let stack = Stack::new().with(noise().on(Role::Document));
    let clean = array![[0.6_f32, 0.8], [3.0, 4.0], [0.0, 0.0], [0.0, -1e-30]];
    let mut scaled = clean.clone();
    assert_eq!(OtherNorms::Normalize.scale(&stack, Role::Document, scaled.view_mut()), 2);
    assert_eq!(scaled, array![[0.6, 0.8], [0.6, 0.8], [0.0, 0.0], [0.0, -1.0]]);
    for (norms, role) in [
        (OtherNorms::Normalize, Role::Query),
        (OtherNorms::Accept, Role::Document),
        (OtherNorms::Refuse, Role::Document),
    ] {
        let mut kept = clean.clone();
        assert_eq!((norms.scale(&stack, role, kept.view_mut()), &kept), (0, &clean));
    }
}
