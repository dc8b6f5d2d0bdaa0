//! The fingerprint of a stack: its text, and what it notices.

#![allow(clippy::unwrap_used)]

use std::fmt;

use embosk_defenses::{
    Dcpe, Defense, Difference, Error, GaussianNoise, Guarantee, Key, Permutation, ProductQuantization,
    Quantization, Rerank, Rng, Role, Rotation, Scaling, Stack,
};
use ndarray::{Array2, ArrayViewMut2, array};
use proptest::prelude::*;

const DIM: usize = 4;

fn key(byte: u8) -> Key {
    Key::from_bytes([byte; 32])
}

fn rotation(byte: u8) -> Rotation {
    Rotation::new(&key(byte), DIM).unwrap()
}

fn noise() -> GaussianNoise {
    GaussianNoise::new(0.1).unwrap()
}

fn rounding() -> Quantization {
    Quantization::new(8).unwrap()
}

fn stack(defense: impl Defense) -> Stack {
    Stack::new().with(defense)
}

/// The fingerprint of a defense of somebody's own is what it prints.
#[derive(Debug)]
struct Own(&'static str);

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Defense for Own {
    fn protect(&self, _: Role, _: ArrayViewMut2<'_, f32>, _: &mut Rng) -> Result<(), Error> {
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::None
    }
}

fn scales() -> Quantization {
    Quantization::fit(8, array![[0.5_f32, -1.0], [0.25, 0.5]].view(), 1.0).unwrap()
}

fn codebook() -> ProductQuantization {
    ProductQuantization::new(ndarray::Array3::from_shape_fn((2, 3, 2), |(a, b, c)| (a + b + c) as f32))
        .unwrap()
}

/// Fingerprints are stored: these texts do not change. A fit's digits begin the SHA-256 of its numbers, `f32` in
/// little-endian, as Python's `hashlib` gives it.
#[test]
fn the_text_for_every_defense_is_the_golden_one() {
    let table: Vec<(Stack, &str)> = vec![
        (Stack::new(), "embosk2 none"),
        (stack(rotation(7)), "embosk2 rotation(key=c0f8b5c2, kind=haar, dim=4)"),
        (
            stack(Rotation::hadamard(&key(7), DIM).unwrap()),
            "embosk2 rotation(key=c0f8b5c2, kind=hadamard, dim=4)",
        ),
        (stack(Rotation::deferred(&key(7))), "embosk2 rotation(key=c0f8b5c2, kind=haar)"),
        (stack(Permutation::new(&key(7), DIM).unwrap()), "embosk2 permutation(key=c0f8b5c2, dim=4)"),
        (stack(Permutation::deferred(&key(7))), "embosk2 permutation(key=c0f8b5c2)"),
        (stack(Scaling::new(&key(7))), "embosk2 scaling(key=c0f8b5c2)"),
        (stack(Rerank::default().key(&key(7))), "embosk2 rerank(key=c0f8b5c2)"),
        (stack(rotation(7)).with(Rerank::default()), "embosk2 rotation(key=c0f8b5c2, kind=haar, dim=4)"),
        (stack(Dcpe::new(&key(7), 0.5).unwrap()), "embosk2 dcpe(key=c0f8b5c2)"),
        (stack(noise()), "embosk2 none"),
        (
            stack(GaussianNoise::keyed(&key(7), 0.1).unwrap().renormalize(true)),
            "embosk2 gaussian(renormalize=true)",
        ),
        (stack(GaussianNoise::keyed(&key(7), 0.1).unwrap()), "embosk2 none"),
        (stack(rounding()), "embosk2 none"),
        (stack(rounding().scale(0.2).unwrap()), "embosk2 quantization(bits=8, scale=0.2)"),
        (
            stack(rounding().scale(0.2).unwrap().dither(&key(7)).unwrap()),
            "embosk2 quantization(bits=8, scale=0.2, dither=c0f8b5c2)",
        ),
        (stack(scales()), "embosk2 quantization(bits=8, scale=96124474)"),
        (stack(codebook()), "embosk2 product_quantization(subspaces=2, centroids=3, codebook=c903f024)"),
        (
            stack(rotation(7)).with(noise()).with(Scaling::new(&key(7))).with(rounding()),
            "embosk2 rotation(key=c0f8b5c2, kind=haar, dim=4) | scaling(key=c0f8b5c2)",
        ),
        (stack(Own("own")), "embosk2 own()"),
        (stack(Own("own(a=1, key=fingerprint:c0f8b5c2)")), "embosk2 own(a=1, key=c0f8b5c2)"),
        (
            stack(Own("größe | (ä, \"b\")\n")),
            r#"embosk2 gr(printed="gr\\u{f6}\\u{df}e | (\\u{e4}, \"b\")\\n")"#,
        ),
    ];
    for (stack, expected) in table {
        assert_eq!(stack.fingerprint(), expected, "{stack}");
        assert_eq!(stack.check_fingerprint(&format!(" {expected}\n")).unwrap().warning(), None, "{stack}");
        // wherever a stack is nested, its parts count
        assert_eq!(Stack::new().with(Stack::new()).with(stack).fingerprint(), expected);
    }
}

#[test]
fn every_difference_is_named() {
    let text = |value: &str| value.to_owned();
    let [one, seven] = [1, 7].map(|byte| key(byte).fingerprint());
    let swapped =
        || Difference::Order { stored: text("rotation | scaling"), found: text("scaling | rotation") };
    let setting = |defense, name, stored: Option<&str>, found: Option<&str>| Difference::Setting {
        defense: text(defense),
        name: text(name),
        stored: stored.map(text),
        found: found.map(text),
    };
    let other = |defense, stored: &str, found: &str| Difference::Key {
        defense: Some(text(defense)),
        stored: text(stored),
        found: text(found),
    };
    let fixed = |scale| rounding().scale(scale).unwrap();
    let table = [
        (stack(rotation(1)), stack(rotation(7)), other("rotation", &one, &seven)),
        (
            stack(noise()).with(Scaling::new(&key(1))),
            stack(Scaling::new(&key(7))),
            other("scaling", &one, &seven),
        ),
        (
            stack(rotation(7)),
            stack(Rotation::hadamard(&key(7), DIM).unwrap()),
            setting("rotation", "kind", Some("haar"), Some("hadamard")),
        ),
        (
            stack(rotation(7)),
            stack(Rotation::new(&key(7), 5).unwrap()),
            Difference::Dimension { defense: text("rotation"), stored: text("4"), found: text("5") },
        ),
        (
            stack(rotation(7)).with(Scaling::new(&key(7))),
            stack(Scaling::new(&key(1))).with(rotation(7)),
            swapped(),
        ),
        (
            stack(rotation(7)).with(rotation(1)),
            stack(rotation(1)).with(rotation(7)),
            Difference::Order { stored: text("rotation | rotation"), found: text("rotation | rotation") },
        ),
        (
            stack(rotation(7)),
            stack(Permutation::new(&key(7), DIM).unwrap()),
            Difference::Defenses { stored: text("rotation"), found: text("permutation") },
        ),
        (
            stack(rotation(7)).with(noise()),
            stack(noise()),
            Difference::Defenses { stored: text("rotation"), found: text("none") },
        ),
        (stack(fixed(0.2)), stack(fixed(0.3)), setting("quantization", "scale", Some("0.2"), Some("0.3"))),
        (
            stack(fixed(0.2).dither(&key(7)).unwrap()),
            stack(fixed(0.2)),
            setting("quantization", "dither", Some(&seven), None),
        ),
        (
            stack(fixed(0.2)),
            stack(fixed(0.2).dither(&key(7)).unwrap()),
            setting("quantization", "dither", None, Some(&seven)),
        ),
    ];
    for (stored, stack, expected) in table {
        let refusal = stack.check_fingerprint(&stored.fingerprint());
        let Err(Error::OtherSpace(difference)) = refusal else { panic!("{stored}, {stack}: {refusal:?}") };
        assert_eq!(difference, expected, "{stored}, {stack}");
    }
    let refusal = stack(rotation(7)).check_fingerprint(&stack(rotation(1)).fingerprint()).unwrap_err();
    let expected = format!(
        "the stored vectors were protected under another key: in `rotation`, theirs is {one}, this stack's is \
         {seven}; search them with queries that the same stack protected"
    );
    assert_eq!(refusal.to_string(), expected);
}

/// What the check is for: under the same key in another kind a search finds nothing, and nothing else would say
/// so. Where fingerprints match, documents and queries meet.
#[test]
fn stacks_that_do_not_meet_have_other_fingerprints() {
    let under = |byte| -> Vec<Stack> {
        vec![
            stack(Rotation::new(&key(byte), 64).unwrap()),
            stack(Rotation::hadamard(&key(byte), 64).unwrap()),
            stack(Permutation::new(&key(byte), 64).unwrap()),
            stack(Scaling::new(&key(byte))),
            stack(Dcpe::new(&key(byte), 0.2).unwrap()),
            stack(Rotation::new(&key(byte), 64).unwrap())
                .with(GaussianNoise::keyed(&key(byte), 0.01).unwrap()),
            stack(Rotation::deferred(&key(byte))).with(rounding()),
            stack(GaussianNoise::keyed(&key(byte), 0.01).unwrap().renormalize(true)),
            stack(GaussianNoise::new(0.02).unwrap().on(Role::Document)),
        ]
    };
    let stacks: Vec<_> = under(1).into_iter().chain(under(2)).collect();
    let protected = |stack: &Stack, role| {
        let mut rng = Rng::seeded(5);
        let mut normals = rng.standard_normals();
        let mut vectors = Array2::from_shape_simple_fn((1, 64), || normals.draw() as f32);
        vectors /= vectors.iter().map(|x| x * x).sum::<f32>().sqrt();
        stack.protect(role, vectors.view_mut(), &mut Rng::seeded(6)).unwrap();
        vectors.row(0).to_owned()
    };
    for stored in &stacks {
        for queries in &stacks {
            let (a, b) = (protected(stored, Role::Document), protected(queries, Role::Query));
            let cosine = a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt();
            let matches = queries.check_fingerprint(&stored.fingerprint()).is_ok();
            assert!(cosine > 0.9 || !matches, "{stored} and {queries} have a cosine of {cosine}");
            assert!(matches || stored.fingerprint() != queries.fingerprint());
        }
    }
}

#[test]
fn an_unknown_dimension_matches_any() {
    let (deferred, bound) = (stack(Rotation::deferred(&key(7))), stack(rotation(7)));
    let early = deferred.fingerprint();
    assert!(bound.check_fingerprint(&early).is_ok());
    assert!(deferred.check_fingerprint(&bound.fingerprint()).is_ok());
    deferred.protect(Role::Document, Array2::ones((1, 5)).view_mut(), &mut Rng::seeded(0)).unwrap();
    assert!(deferred.check_fingerprint(&early).is_ok());
    let refusal = deferred.check_fingerprint(&bound.fingerprint());
    assert!(matches!(refusal, Err(Error::OtherSpace(Difference::Dimension { .. }))), "{refusal:?}");
}

#[test]
fn the_old_form_is_understood_with_a_warning() {
    let [one, two] = [1, 2].map(|byte| key(byte).fingerprint());
    let keyed = |byte| GaussianNoise::keyed(&key(byte), 0.1).unwrap();
    let table = [
        (Stack::new(), "none".to_owned()),
        (stack(noise()), "none".to_owned()),
        (stack(rotation(1)), one.clone()),
        (stack(Rotation::deferred(&key(1))).with(keyed(1)), one.clone()),
        (stack(rotation(1)).with(Stack::new().with(noise()).with(rotation(1))), one.clone()),
        (stack(rotation(1)).with(keyed(2)), format!("{one},{two}")),
        (stack(rotation(2)).with(rotation(1)), format!("{two},{one}")),
    ];
    for (stack, stored) in &table {
        let checked = stack.check_fingerprint(&format!(" {stored}\n")).unwrap();
        let warning = checked.warning().unwrap();
        assert!(warning.contains(&stack.fingerprint()) && warning.contains("keys alone"), "{warning}");
        for (_, other) in table.iter().filter(|(_, other)| other != stored) {
            let refusal = stack.check_fingerprint(other);
            let Err(Error::OtherSpace(Difference::Key { defense: None, stored: of, found })) = refusal else {
                panic!("{stack}: {refusal:?}");
            };
            assert_eq!((of, found), (other.clone(), stored.clone()));
        }
    }
}

#[test]
fn what_is_not_a_fingerprint_is_refused_without_repeating_it() {
    let stack = stack(rotation(1));
    let secret = key(9).to_text();
    for text in [
        "",
        "bece91f",
        "BECE91FF",
        "bece91ff,",
        "fingerprint:bece91ff",
        "ä",
        &*secret,
        "embosk2",
        "embosk2 rotation(key=bece91ff",
        "embosk3 rotation(key=bece91ff)",
        &format!("embosk2 rotation(key={})", *secret),
    ] {
        let refusal = stack.check_fingerprint(text).unwrap_err();
        assert!(
            matches!(refusal, Error::Setting { name: "the stored fingerprint", .. }),
            "{text:?}: {refusal:?}"
        );
        assert!(text.len() < 10 || !refusal.to_string().contains(&text[8..]), "{refusal}");
    }
    assert!(stack.check_fingerprint("embosk3 rotation()").unwrap_err().to_string().contains("this version"));
}

proptest! {
    #[test]
    fn any_text_is_checked(stored in "(embosk2 )?[ -~ä]{0,40}") {
        let _ = stack(rotation(1)).check_fingerprint(&stored);
    }
}
