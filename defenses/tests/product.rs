//! Product quantization: its laws, and what it refuses.

#![allow(clippy::unwrap_used)]

use embosk_defenses::{Codes, Defense, Error, ProductQuantization, Rng, Role};
use ndarray::{Array2, Array3, ArrayView1, array, s};
use proptest::prelude::*;

fn normals(rows: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::seeded(seed);
    let mut normals = rng.standard_normals();
    Array2::from_shape_simple_fn((rows, dim), || normals.draw() as f32)
}

fn protected(defense: &dyn Defense, vectors: &Array2<f32>) -> Array2<f32> {
    let mut vectors = vectors.clone();
    defense.protect(Role::Document, vectors.view_mut(), &mut Rng::seeded(0)).unwrap();
    vectors
}

fn square_distance(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
}

/// The sum of the squared errors of `vectors`' reconstruction.
fn error(product: &ProductQuantization, vectors: &Array2<f32>) -> f64 {
    let restored = protected(product, vectors);
    vectors.rows().into_iter().zip(restored.rows()).map(|(a, b)| square_distance(a, b)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_code_is_the_nearest_centroid(rows in 4..30_usize, width in 1..6_usize, seed: u64) {
        let vectors = normals(rows, 3 * width, seed);
        let product = ProductQuantization::fit(vectors.view(), 3, 4, seed).unwrap();
        let codes = product.encode(vectors.view()).unwrap();
        prop_assert_eq!(codes.bytes().dim(), (rows, 3));
        for ((row, subspace), &code) in codes.bytes().indexed_iter() {
            let piece = vectors.slice(s![row, subspace * width..(subspace + 1) * width]);
            let book = product.codebook();
            let book = book.index_axis(ndarray::Axis(0), subspace);
            let distances: Vec<_> = book.outer_iter().map(|centroid| square_distance(piece, centroid)).collect();
            prop_assert!(distances.iter().all(|distance| distances[usize::from(code)] <= *distance));
        }
    }

    #[test]
    fn decoding_gives_what_protecting_gives_and_twice_changes_nothing(seed: u64, exponent in -30..30_i32) {
        let vectors = normals(20, 12, seed) * 10_f32.powi(exponent);
        let product = ProductQuantization::fit(vectors.view(), 4, 5, seed).unwrap();
        let once = protected(&product, &vectors);
        prop_assert_eq!(&product.decode(&product.encode(vectors.view()).unwrap()).unwrap(), &once);
        prop_assert_eq!(&protected(&product, &once), &once);
    }

    /// Lloyd's algorithm ends in a local optimum, so a centroid more may by chance be no better; four
    /// times as many are.
    #[test]
    fn more_centroids_do_not_come_off_worse(seed: u64) {
        let vectors = normals(128, 8, seed);
        let errors = [1, 4, 16, 64, 128]
            .map(|centroids| error(&ProductQuantization::fit(vectors.view(), 2, centroids, 1).unwrap(), &vectors));
        prop_assert!(errors.is_sorted_by(|more, fewer| more >= fewer), "{:?}", errors);
        prop_assert!(errors[4] <= 0.0, "a centroid for each point: {}", errors[4]);
    }

    #[test]
    fn any_codes_are_decoded_or_refused(
        dim in prop_oneof![0..9_usize, any::<usize>()], rows in 0..4_usize, width in 0..5_usize, byte: u8, scales in 0..3_usize
    ) {
        let product = ProductQuantization::new(Array3::ones((2, 3, 4))).unwrap();
        let codes = Codes::new(dim, Array2::from_elem((rows, width), byte), vec![1.0; scales]);
        let fits = width == 2 && scales == 0 && (rows == 0 || (dim == 8 && byte < 3));
        prop_assert_eq!(product.decode(&codes).is_ok(), fits);
    }
}

#[test]
fn finds_the_clusters_that_are_there() {
    let vectors = Array2::from_shape_fn((90, 4), |(row, column)| {
        (row % 3 * 10 + column) as f32 + ((row * 7 + column * 3) % 5) as f32 / 50.0
    });
    let product = ProductQuantization::fit(vectors.view(), 1, 3, 5).unwrap();
    assert!((&protected(&product, &vectors) - &vectors).iter().all(|x| x.abs() < 0.1));
}

/// A seed gives these centroids on every machine: what was fitted can be fitted again.
#[test]
fn a_seed_gives_the_same_codebook() {
    let vectors =
        Array2::from_shape_fn((64, 6), |(row, column)| ((row * 6 + column) * 7919 % 2001) as f32 / 1000.0);
    let fit = |seed| ProductQuantization::fit(vectors.view(), 2, 16, seed).unwrap();
    assert_eq!(fit(3), fit(3));
    assert_ne!(fit(3), fit(4));
    let golden = "product_quantization(subspaces=2, centroids=16, codebook=fit:8c131d85)";
    assert_eq!(fit(3).to_string(), golden);
    assert_eq!(format!("{:?}", fit(3)), format!("ProductQuantization({golden})"));
}

#[test]
fn equal_points_make_equal_centroids() {
    let product = ProductQuantization::fit(Array2::ones((5, 4)).view(), 2, 5, 0).unwrap();
    assert_eq!(product.codebook(), Array3::ones((2, 5, 2)));
    assert_eq!(product.encode(array![[1.0, 2.0, 3.0, 4.0]].view()).unwrap().bytes(), array![[0, 0]]);
}

#[test]
fn shapes_that_make_no_sense_are_refused() {
    let sample = normals(10, 12, 1);
    let table = [
        (0, 4, "subspaces"),
        (5, 4, "subspaces"),
        (13, 4, "subspaces"),
        (usize::MAX, 4, "subspaces"),
        (3, 0, "centroids"),
        (3, 257, "centroids"),
        (3, 11, "sample"),
    ];
    for (subspaces, centroids, expected) in table {
        let refusal = ProductQuantization::fit(sample.view(), subspaces, centroids, 0).unwrap_err();
        assert!(matches!(refusal, Error::Setting { name, .. } if name == expected), "{refusal}");
    }
    for shape in [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 257, 1)] {
        let refusal = ProductQuantization::new(Array3::zeros(shape)).unwrap_err();
        assert!(matches!(refusal, Error::Setting { name: "codebook", .. }), "{refusal}");
    }
    for value in [f32::NAN, f32::INFINITY, 2e30] {
        assert!(ProductQuantization::new(Array3::from_elem((1, 1, 1), value)).is_err());
    }
    let mut bad = sample.clone();
    bad[[3, 3]] = f32::NAN;
    assert!(matches!(ProductQuantization::fit(bad.view(), 3, 4, 0), Err(Error::NotFinite { row: 3 })));
}

#[test]
fn codes_of_others_are_refused() {
    let product = ProductQuantization::new(Array3::ones((2, 3, 4))).unwrap();
    let codes = |dim, bytes: Array2<u8>| product.decode(&Codes::new(dim, bytes, Vec::new())).unwrap_err();
    assert!(matches!(codes(7, array![[0, 0]]), Error::Dimension { expected: 8, found: 7 }));
    assert!(matches!(codes(8, array![[0, 0, 0]]), Error::CodeLength { expected: 2, found: 3 }));
    assert!(matches!(codes(8, array![[0, 2], [0, 3]]), Error::CodeRange { row: 1 }));
    assert!(matches!(product.encode(Array2::ones((1, 7)).view()), Err(Error::Dimension { .. })));
}
