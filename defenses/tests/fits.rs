//! What was fitted on a sample, as bytes and in files: goldens, refusals, and specs that name it.

#![allow(clippy::unwrap_used)]

#[path = "common/damage.rs"]
mod damage;

use std::io::Write as _;

use embosk_defenses::{
    Defense, Error, Key, Microaggregation, ProductQuantization, Quantization, Rng, Role, Stack,
};
use ndarray::{Array2, Array3, array};

/// From `tests/golden/fits.py`. Stored fits are read by these: they never change.
const GOLDENS: &str = include_str!("data/fits-v1.txt");

fn goldens() -> Vec<Vec<u8>> {
    let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    GOLDENS.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
}

fn fits() -> (Quantization, Quantization, ProductQuantization) {
    let codebook = Array3::from_shape_vec((2, 3, 1), vec![0.5, -0.5, 0.1, 1.0, -0.0, 1e30]).unwrap();
    (
        Quantization::per_dimension(8, &[0.25, 1.0, 0.0, 3e-8]).unwrap(),
        Quantization::per_dimension(1, &[0.03125, 0.1]).unwrap(),
        ProductQuantization::new(codebook).unwrap(),
    )
}

#[test]
fn the_bytes_are_those_that_were_stored() {
    let (eight, one, product) = fits();
    let goldens = goldens();
    let found = [eight.to_bytes().unwrap(), one.to_bytes().unwrap(), product.to_bytes()];
    assert_eq!(found, goldens[..3]);
    // groups are made of vectors, never of means, so these are written as they were read
    assert_eq!(Microaggregation::from_bytes(&goldens[3]).unwrap().to_bytes(), goldens[3]);
}

#[test]
fn what_was_stored_is_read() {
    let (eight, one, product) = fits();
    let [scales, signs, codebook, groups] = goldens().try_into().unwrap();
    assert_eq!(Quantization::from_bytes(&scales).unwrap(), eight);
    assert_eq!(Quantization::from_bytes(&signs).unwrap(), one);
    assert_eq!(ProductQuantization::from_bytes(&codebook).unwrap(), product);
    let groups = Microaggregation::from_bytes(&groups).unwrap();
    assert_eq!(groups.size(), (2, 3));
    let near = array![[-0.8, 0.3], [0.4, 0.1], [0.2, 0.9]];
    let stored = groups.protect_owned(Role::Document, near, &mut Rng::seeded(0)).unwrap();
    assert_eq!(stored, array![[-1.0, 3e-8], [0.5, 0.0], [0.1, 1.0]]);
}

#[test]
fn a_fit_is_read_as_it_was() {
    let sample =
        Array2::from_shape_fn((40, 12), |(row, place)| ((row * 7 + place * 5) % 23) as f32 / 9.0 - 1.2);
    for bits in [8, 4, 1] {
        let fitted = Quantization::fit(bits, sample.view(), 0.9).unwrap();
        assert_eq!(Quantization::from_bytes(&fitted.to_bytes().unwrap()).unwrap(), fitted);
    }
    let product = ProductQuantization::fit(sample.view(), 3, 5, 1).unwrap();
    assert_eq!(ProductQuantization::from_bytes(&product.to_bytes()).unwrap(), product);
}

#[test]
fn there_is_nothing_to_store_without_a_fit_and_a_dither_is_left_out() {
    let rounding = Quantization::new(8).unwrap();
    assert_eq!(rounding.to_bytes(), None);
    assert_eq!(rounding.scale(0.2).unwrap().to_bytes(), None);
    let (fitted, _, _) = fits();
    let dithered = fitted.clone().dither(&Key::generate().unwrap()).unwrap();
    assert_eq!(Quantization::from_bytes(&dithered.to_bytes().unwrap()).unwrap(), fitted);
}

fn reads(bytes: &[u8]) -> [Result<(), Error>; 3] {
    [
        Quantization::from_bytes(bytes).map(drop),
        ProductQuantization::from_bytes(bytes).map(drop),
        Microaggregation::from_bytes(bytes).map(drop),
    ]
}

#[test]
fn every_damage_is_refused() {
    for golden in goldens() {
        let refused = |bytes: &[u8], what: &str| {
            assert!(reads(bytes).iter().all(|read| matches!(read, Err(Error::Fit(_)))), "{what}");
        };
        damage::each(&golden, refused);
    }
}

/// Bytes as somebody makes them who knows the format.
fn made(line: &str, sides: &[u32], numbers: &[f32]) -> Vec<u8> {
    use sha2::Digest as _;

    let mut bytes = line.as_bytes().to_vec();
    bytes.extend(sides.iter().flat_map(|side| side.to_le_bytes()));
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    let sum = sha2::Sha256::digest(&bytes);
    bytes.extend(&sum[..8]);
    bytes
}

#[test]
fn the_error_says_what_is_wrong() {
    let scales = |line, sides: &[u32], numbers: &[f32]| Quantization::from_bytes(&made(line, sides, numbers));
    let codebook =
        |sides: &[u32]| ProductQuantization::from_bytes(&made("embosk codebook v1\n", sides, &[0.5; 8]));
    let v1 = "embosk scales v1\n";
    assert!(scales(v1, &[8, 2], &[0.5; 2]).is_ok());
    assert!(codebook(&[2, 2, 2]).is_ok());
    let table = [
        (scales("embosk scales v2\n", &[8, 2], &[0.5; 2]).map(drop), "version that is not known"),
        (scales("embosk scales v11\n", &[8, 2], &[0.5; 2]).map(drop), "version that is not known"),
        (scales("embosk codebook v1\n", &[8, 2], &[0.5; 2]).map(drop), "fitted scales begin with"),
        (scales("", &[8, 2], &[0.5; 2]).map(drop), "fitted scales begin with"),
        (scales(v1, &[8, 3], &[0.5; 2]).map(drop), "as many numbers as its shape says"),
        (scales(v1, &[8, 1], &[0.5; 2]).map(drop), "as many numbers as its shape says"),
        (scales(v1, &[8], &[]).map(drop), "as many numbers as its shape says"),
        (scales(v1, &[3, 2], &[0.5; 2]).map(drop), "bits must be 8, 4 or 1"),
        (scales(v1, &[8, 2], &[0.5, -0.5]).map(drop), "scales must be"),
        (scales(v1, &[8, 2], &[0.5, f32::NAN]).map(drop), "scales must be"),
        (codebook(&[2, 2, 3]).map(drop), "as many numbers as its shape says"),
        (codebook(&[u32::MAX, u32::MAX, u32::MAX]).map(drop), "as many numbers as its shape says"),
        (codebook(&[0, 0, 8]).map(drop), "as many numbers as its shape says"),
        (
            ProductQuantization::from_bytes(&made("embosk codebook v1\n", &[1, 1, 1], &[f32::INFINITY]))
                .map(drop),
            "codebook must be",
        ),
    ];
    for (read, expected) in table {
        let error = read.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}, not: {expected}");
    }
}

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn a_spec_names_the_file_of_a_fit() {
    let (eight, _, product) = fits();
    let (scales, codebook) = (file(&eight.to_bytes().unwrap()), file(&product.to_bytes()));
    let read = |spec: &str| {
        let spec = spec.replace("SCALES", &scales.path().display().to_string());
        spec.replace("CODEBOOK", &codebook.path().display().to_string()).parse::<Stack>()
    };
    let table = [
        ("quantization(bits=8, scale=file:SCALES)", eight.to_string()),
        ("product_quantization(codebook=file:CODEBOOK)", product.to_string()),
        ("product_quantization(subspaces=2, centroids=3, codebook=file:CODEBOOK)", product.to_string()),
    ];
    for (spec, printed) in table {
        assert_eq!(read(spec).unwrap().to_string(), printed);
    }
    let wrong = [
        ("quantization(bits=4, scale=file:SCALES)", "fitted for 8 bits"),
        ("quantization(bits=8, scale=file:CODEBOOK)", &*format!("{}", codebook.path().display())),
        ("quantization(bits=8, scale=file:CODEBOOK)", "fitted scales begin with"),
        ("product_quantization(codebook=file:SCALES)", &*format!("{}", scales.path().display())),
        ("product_quantization(codebook=file:SCALES)", "a codebook begins with"),
        ("product_quantization(subspaces=3, codebook=file:CODEBOOK)", "the codebook has 2 subspaces"),
        ("product_quantization(centroids=2, codebook=file:CODEBOOK)", "the codebook has 3 centroids"),
        ("product_quantization(subspaces=2)", "needs `codebook="),
        ("product_quantization(codebook=CODEBOOK)", "is named as `file:PATH`"),
        ("quantization(bits=8, scale=file:SCALES-not)", "cannot be used"),
        ("quantization(bits=8, scale=file:/)", "not a regular file"),
    ];
    for (spec, expected) in wrong {
        let error = read(spec).unwrap_err().to_string();
        assert!(error.contains(expected), "{spec}: {error}");
    }
}

#[test]
fn a_key_in_the_place_of_a_file_is_refused_and_never_repeated() {
    let key = Key::generate().unwrap();
    let text = key.to_text();
    for spec in ["quantization(bits=8, scale=file:KEY)", "product_quantization(codebook=file:KEY)"] {
        let error = spec.replace("KEY", &text).parse::<Stack>().unwrap_err();
        assert!(matches!(error, Error::Spec { .. }), "{error:?}");
        assert!(!error.to_string().contains(&text[8..16]), "{error}");
    }
}
