//! Quantization: its laws, its packed codes, and the codes that stored data depends on.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use embosk_defenses::{Codes, Defense, Error, Key, ProductQuantization, Quantization, Rng, Role};
use ndarray::{Array2, Array3, array, s};
use proptest::prelude::*;

fn key() -> Key {
    Key::from_bytes(std::array::from_fn(|place| place as u8))
}

fn protected(defense: &dyn Defense, vectors: &Array2<f32>) -> Array2<f32> {
    let mut vectors = vectors.clone();
    defense.protect(Role::Document, vectors.view_mut(), &mut Rng::seeded(0)).unwrap();
    vectors
}

fn bits(vectors: &Array2<f32>) -> Array2<u32> {
    vectors.mapv(f32::to_bits)
}

/// One of each kind of scale, with and without dither, for rows of `sample`'s dimension.
fn every_kind(sample: &Array2<f32>) -> Vec<Quantization> {
    let kinds = |width| {
        let new = || Quantization::new(width).unwrap();
        let fitted = || Quantization::fit(width, sample.view(), 0.9).unwrap();
        let fixed = || new().scale(0.4).unwrap();
        [new(), fixed(), fitted(), fixed().dither(&key()).unwrap(), fitted().dither(&key()).unwrap()]
    };
    [8, 4, 1].into_iter().flat_map(kinds).collect()
}

/// Rows of values from -1 to 1, many of them in the middle between two levels, in up to 200
/// dimensions: more and fewer than are rounded at a time.
fn batches() -> impl Strategy<Value = Array2<f32>> {
    let value =
        prop_oneof![4 => -1.0..=1.0_f32, 1 => (-127..=127_i32).prop_map(|n| (n as f32 + 0.5) / 127.5)];
    (1..4_usize, 1..200_usize).prop_flat_map(move |(rows, dim)| {
        let values = prop::collection::vec(value.clone(), rows * dim);
        values.prop_map(move |values| Array2::from_shape_vec((rows, dim), values).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn decoding_gives_what_protecting_gives(vectors in batches()) {
        for kind in every_kind(&vectors) {
            let decoded = kind.decode(&kind.encode(vectors.view()).unwrap()).unwrap();
            prop_assert_eq!(bits(&decoded), bits(&protected(&kind, &vectors)), "{}", kind);
        }
    }

    #[test]
    fn rounding_twice_changes_nothing(vectors in batches()) {
        for kind in every_kind(&vectors) {
            let once = protected(&kind, &vectors);
            prop_assert_eq!(bits(&protected(&kind, &once)), bits(&once), "{}", kind);
        }
    }

    /// Beyond the range too: with a fixed scale of 0.4 most of these are.
    #[test]
    fn the_error_is_at_most_half_a_step_within_the_range(vectors in batches()) {
        for (width, step) in [(8, 0.4 / 127.0), (4, 0.4 / 7.0), (1, 0.8)] {
            for kind in [
                Quantization::new(width).unwrap().scale(0.4).unwrap(),
                Quantization::new(width).unwrap().scale(0.4).unwrap().dither(&key()).unwrap(),
            ] {
                for (x, y) in vectors.iter().zip(&protected(&kind, &vectors)) {
                    let allowed = if x.abs() <= 0.4 { step / 2.0 } else { x.abs() - 0.4 + step / 2.0 };
                    prop_assert!((x - y).abs() <= allowed + 1e-6, "{}: {} became {}", kind, x, y);
                }
            }
        }
    }

    #[test]
    fn a_larger_coordinate_is_not_rounded_to_a_smaller_one(mut values in prop::collection::vec(-1.0..=1.0_f32, 2..150)) {
        values.sort_by(f32::total_cmp);
        let vectors = Array2::from_shape_vec((1, values.len()), values).unwrap();
        for width in [8, 4, 1] {
            for kind in [Quantization::new(width).unwrap(), Quantization::new(width).unwrap().scale(0.3).unwrap()] {
                let rounded = protected(&kind, &vectors);
                prop_assert!(rounded.iter().zip(rounded.iter().skip(1)).all(|(a, b)| a <= b), "{}", kind);
            }
        }
    }

    #[test]
    fn the_opposite_is_rounded_to_the_opposite(vectors in batches()) {
        let vectors = vectors.mapv(|x| if x == 0.0 { 0.5 } else { x }); // one bit has no opposite of zero
        for kind in every_kind(&vectors).iter().filter(|kind| !kind.to_string().contains("dither")) {
            prop_assert_eq!(protected(kind, &-&vectors), -protected(kind, &vectors), "{}", kind);
        }
    }

    /// The fast way, in `f32`, gives what plain `f64` gives.
    #[test]
    fn levels_are_those_of_exact_arithmetic(vectors in batches(), exponent in -45..38_i32) {
        let vectors = vectors * 10_f32.powi(exponent);
        let levels = Quantization::new(8).unwrap().encode(vectors.view()).unwrap().to_i8();
        for (row, levels) in vectors.rows().into_iter().zip(levels.rows()) {
            let largest = row.iter().fold(0.0, |largest: f64, &x| largest.max(f64::from(x).abs()));
            for (&x, &level) in row.iter().zip(levels) {
                prop_assert_eq!(level, (f64::from(x) * 127.0 / largest).round() as i8, "{} of {}", x, largest);
            }
        }
    }

    #[test]
    fn what_was_stored_is_read_again(vectors in batches()) {
        let fitted = Quantization::fit(4, vectors.view(), 0.8).unwrap();
        let again = Quantization::per_dimension(4, fitted.scales().unwrap()).unwrap();
        prop_assert_eq!(&again, &fitted);
        let codes = fitted.encode(vectors.view()).unwrap();
        let stored = Codes::new(codes.dim(), codes.bytes().to_owned(), codes.scales().to_vec());
        prop_assert_eq!(again.decode(&stored).unwrap(), fitted.decode(&codes).unwrap());
    }

    #[test]
    fn any_codes_are_decoded_or_refused(
        dim in prop_oneof![0..30_usize, any::<usize>()], rows in 0..4_usize, width in 0..30_usize,
        byte: u8, scales in prop::collection::vec(any::<f32>(), 0..4)
    ) {
        let codes = Codes::new(dim, Array2::from_elem((rows, width), byte), scales);
        for kind in every_kind(&Array2::ones((1, 3))) {
            if let Ok(vectors) = kind.decode(&codes) {
                prop_assert!(vectors.iter().all(|x| x.is_finite()));
            }
        }
    }
}

#[test]
fn codes_take_the_bytes_that_the_documentation_says() {
    let table =
        [(384, [384, 192, 48]), (768, [768, 384, 96]), (1536, [1536, 768, 192]), (3072, [3072, 1536, 384])];
    for (dim, bytes) in table {
        for (width, bytes) in [8, 4, 1].into_iter().zip(bytes) {
            let kind = Quantization::new(width).unwrap();
            let codes = kind.encode(Array2::ones((2, dim)).view()).unwrap();
            assert_eq!((kind.code_bytes(dim), codes.bytes().dim()), (bytes, (2, bytes)));
            assert_eq!((codes.dim(), codes.scales().len()), (dim, 2));
            assert!(codes.bytes().is_standard_layout());
        }
    }
    assert_eq!([7, 8, 9].map(|dim| Quantization::new(1).unwrap().code_bytes(dim)), [1, 1, 2]);
    assert_eq!([7, 8, 9].map(|dim| Quantization::new(4).unwrap().code_bytes(dim)), [4, 4, 5]);
}

#[test]
fn codes_that_do_not_fit_are_refused_with_what_they_take() {
    let kind = Quantization::new(4).unwrap();
    let codes = |dim, bytes, scales: &[f32]| Codes::new(dim, Array2::zeros((2, bytes)), scales.to_vec());
    let length = kind.decode(&codes(8, 3, &[1.0; 2])).unwrap_err();
    assert!(matches!(length, Error::CodeLength { expected: 4, found: 3 }), "{length}");
    let scales = kind.decode(&codes(8, 4, &[1.0])).unwrap_err();
    assert!(matches!(scales, Error::ScaleCount { expected: 2, found: 1 }), "{scales}");
    let nan = kind.decode(&codes(8, 4, &[1.0, f32::NAN])).unwrap_err();
    assert!(matches!(nan, Error::NotFinite { row: 1 }), "{nan}");
    let fixed = kind.scale(0.5).unwrap();
    assert!(matches!(
        fixed.decode(&codes(8, 4, &[1.0; 2])),
        Err(Error::ScaleCount { expected: 0, found: 2 })
    ));
    let fitted = Quantization::per_dimension(4, &[1.0; 7]).unwrap();
    assert!(matches!(fitted.decode(&codes(8, 4, &[])), Err(Error::Dimension { expected: 7, found: 8 })));
    assert!(matches!(fitted.encode(Array2::ones((1, 8)).view()), Err(Error::Dimension { .. })));
}

#[test]
fn a_batch_that_is_refused_leaves_no_codes() {
    let mut codes = Codes::default();
    let kind = Quantization::new(8).unwrap();
    kind.encode_into(Array2::ones((3, 4)).view(), &mut codes).unwrap();
    let refusal = kind.encode_into(array![[1.0, 2.0], [1.0, f32::NAN]].view(), &mut codes);
    assert!(matches!(refusal, Err(Error::NotFinite { row: 1 })), "{refusal:?}");
    assert_eq!(codes, Codes::default());
}

#[test]
fn views_are_encoded_as_their_copies() {
    let vectors =
        Array2::from_shape_fn((6, 140), |(row, column)| (row * 31 + column * 17) as f32 % 7.0 - 3.3);
    let view = vectors.slice(s![..;-2, ..;2]);
    for kind in every_kind(&view.to_owned()) {
        assert_eq!(kind.encode(view).unwrap(), kind.encode(view.to_owned().view()).unwrap(), "{kind}");
        let turned = view.reversed_axes();
        let unbound = kind.scales().is_none();
        assert_eq!(kind.encode(turned).is_ok(), unbound, "{kind}");
    }
}

#[test]
fn a_dimension_without_extent_becomes_zero() {
    let sample = array![[0.0_f32, 1.0], [0.0, -2.0]];
    for width in [8, 4, 1] {
        let kind = Quantization::fit(width, sample.view(), 1.0).unwrap();
        let rounded = protected(&kind, &array![[3.0, 3.0], [-3.0, 0.1]]);
        assert_eq!(rounded.column(0), array![0.0, 0.0], "{kind}");
        assert!(rounded[[0, 1]] > 1.0, "{kind}");
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let new = || Quantization::new(8).unwrap();
    let sample = Array2::ones((2, 2));
    let quantile = |quantile| Quantization::fit(8, sample.view(), quantile).unwrap_err();
    for refusal in [0.0, -1.0, 1.1, f64::NAN].map(quantile) {
        assert!(matches!(refusal, Error::Setting { name: "quantile", .. }), "{refusal}");
    }
    let empty = Quantization::fit(8, Array2::zeros((0, 2)).view(), 1.0).unwrap_err();
    assert!(matches!(empty, Error::Setting { name: "sample", .. }), "{empty}");
    assert!(matches!(new().dither(&key()), Err(Error::Setting { name: "dither", .. })));
    for scale in [0.0, -0.1, f32::NAN, f32::INFINITY, 2e30] {
        assert!(matches!(new().scale(scale), Err(Error::Setting { name: "scale", .. })), "{scale}");
    }
    for scale in [-0.1, f32::NAN, f32::INFINITY] {
        assert!(matches!(
            Quantization::per_dimension(8, &[scale]),
            Err(Error::Setting { name: "scales", .. })
        ));
    }
}

#[test]
fn fitted_scales_and_keys_are_named() {
    let fitted = Quantization::per_dimension(8, &[1.0, 2.0]).unwrap().dither(&key()).unwrap();
    let printed = fitted.to_string();
    assert!(printed.starts_with("quantization(bits=8, scale=fit:"), "{printed}");
    assert!(printed.ends_with(&format!(", dither={})", key())), "{printed}");
    assert_eq!(format!("{fitted:?}"), format!("Quantization({printed})"));
    let codes = fitted.encode(array![[1.0, 2.0]].view()).unwrap();
    assert_eq!(format!("{codes:?}"), "Codes { dim: 2, shape: [1, 2], scales: 0, .. }");
}

/// Only who has the key decodes; an imitation differs in the key alone.
#[test]
fn dither_depends_on_the_key() {
    let fixed = || Quantization::new(8).unwrap().scale(0.5).unwrap();
    assert!(fixed().imitation(&mut Rng::seeded(1)).is_none());
    let dithered = fixed().dither(&key()).unwrap();
    let imitation = dithered.imitation(&mut Rng::seeded(1)).unwrap();
    let vectors = array![[0.11_f32, 0.22, 0.33]];
    assert_ne!(protected(&*imitation, &vectors), protected(&dithered, &vectors));
    assert_ne!(imitation.to_string(), dithered.to_string());
    assert!(imitation.to_string().starts_with("quantization(bits=8, scale=0.5, dither=fingerprint:"));
}

/// Over the draw of the key the error is uniform, and does not depend on the coordinate
/// (Kolmogorov and Smirnov; 1.95 is exceeded once in a thousand times).
#[test]
fn dithered_errors_are_uniform() {
    let x = array![[0.0_f32, 0.031, 0.4, -0.217]];
    let mut errors = vec![Vec::new(); 4];
    for number in 0..2000_u16 {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_le_bytes());
        let kind = Quantization::new(4).unwrap().scale(0.7).unwrap().dither(&Key::from_bytes(bytes)).unwrap();
        let error = (protected(&kind, &x) - &x) / 0.1;
        errors.iter_mut().zip(error).for_each(|(all, error)| all.push(f64::from(error) + 0.5));
    }
    for mut errors in errors {
        errors.sort_by(f64::total_cmp);
        let n = errors.len() as f64;
        let gaps = errors.iter().enumerate().map(|(rank, x)| ((rank as f64 + 0.5) / n - x).abs());
        let distance = gaps.fold(0.0, f64::max) * n.sqrt();
        assert!(distance < 1.95, "{distance}");
    }
}

/// Stored codes outlive an upgrade: these bytes never change. `golden/codes.py` made them.
#[test]
fn codes_are_the_golden_ones() {
    let vectors = golden_vectors();
    let mut actual = String::new();
    for width in [8, 4, 1] {
        let new = || Quantization::new(width).unwrap();
        let fixed = || new().scale(0.5).unwrap();
        let fitted = Quantization::fit(width, vectors.view(), 0.75).unwrap();
        let dithered = fixed().dither(&key()).unwrap();
        for (name, kind) in [("vector", new()), ("fixed", fixed()), ("dither", dithered), ("fitted", fitted)]
        {
            let codes = kind.encode(vectors.view()).unwrap();
            show(&mut actual, &format!("{name} {width}"), &codes, &kind.decode(&codes).unwrap());
        }
    }
    let number = |place: usize| ((place * 104_729 % 2001) as f32 - 1000.0) / 1000.0;
    let book = Array3::from_shape_fn((3, 4, 4), |(book, row, column)| number(book * 16 + row * 4 + column));
    let product = ProductQuantization::new(book).unwrap();
    let codes = product.encode(vectors.slice(s![.., ..12])).unwrap();
    show(&mut actual, "product", &codes, &product.decode(&codes).unwrap());
    assert_eq!(actual, include_str!("data/codes-v1.txt"));
}

fn golden_vectors() -> Array2<f32> {
    let number = |place: usize| ((place * 7919 % 2001) as f32 - 1000.0) / 1000.0;
    let mut vectors = Array2::from_shape_fn((4, 13), |(row, column)| number(row * 13 + column));
    vectors.row_mut(3).iter_mut().enumerate().for_each(|(place, x)| *x = place as f32 - 6.5);
    vectors[[3, 0]] = 127.0;
    vectors
}

fn show(text: &mut String, name: &str, codes: &Codes, vectors: &Array2<f32>) {
    writeln!(text, "{name}").unwrap();
    for (code, vector) in codes.bytes().rows().into_iter().zip(vectors.rows()) {
        code.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text.push(' ');
        vector.iter().flat_map(|x| x.to_le_bytes()).for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text.push('\n');
    }
}

#[test]
fn codes_of_more_dimensions_than_an_array_can_have_are_refused() {
    let codes = Codes::new(usize::MAX, Array2::zeros((0, usize::MAX.div_ceil(8))), Vec::new());
    let refusal = Quantization::new(1).unwrap().decode(&codes);
    assert!(matches!(refusal, Err(Error::Setting { name: "dim", .. })), "{refusal:?}");
}
