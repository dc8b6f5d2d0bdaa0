//! Planted maps are found again, and noise is removed as far as a linear map can.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn random(rows: usize, columns: usize, rng: &mut ChaCha8Rng) -> Array2<f32> {
    Array2::from_shape_simple_fn((rows, columns), || rng.random_range(-1.0..1.0))
}

/// The product of `2 · dim` random Householder reflections.
fn rotation(dim: usize, rng: &mut ChaCha8Rng) -> Array2<f32> {
    let mut map = Array2::<f64>::eye(dim);
    for _ in 0..2 * dim {
        let axis = random(dim, 1, rng).mapv(f64::from);
        let length = axis.iter().map(|value| value * value).sum::<f64>();
        let along = axis.t().dot(&map);
        map = map - axis.dot(&along) * (2.0 / length);
    }
    map.mapv(|value| value as f32)
}

fn furthest(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_planted_rotation_is_found_with_one_pair_more_than_dimensions(seed: u64, dim in 2..40_usize) {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let (map, clean, unseen) = (rotation(dim, rng), random(dim + 1, dim, rng), random(9, dim, rng));
        let fitted = Procrustes::fit(clean.dot(&map).view(), clean.view()).unwrap();
        let restored = fitted.apply(unseen.dot(&map).view()).unwrap();
        prop_assert!(furthest(&restored, &unseen) < 1e-3);
    }

    #[test]
    fn the_map_is_orthogonal_and_right_on_the_pairs(seed: u64, dim in 2..30_usize, pairs in 1..10_usize) {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let (map, clean) = (rotation(dim, rng), random(pairs, dim, rng));
        let protected = clean.dot(&map);
        let fitted = Procrustes::fit(protected.view(), clean.view()).unwrap();
        let found = fitted.apply(Array2::eye(dim).view()).unwrap();
        prop_assert!(furthest(&found.t().dot(&found), &Array2::eye(dim)) < 1e-4);
        prop_assert!(furthest(&fitted.apply(protected.view()).unwrap(), &clean) < 1e-3);
    }
}

#[test]
fn zero_vectors_leave_an_orthogonal_map() {
    let zeros = Array2::zeros((4, 3));
    let fitted = Procrustes::fit(zeros.view(), zeros.view()).unwrap();
    let map = fitted.apply(Array2::eye(3).view()).unwrap();
    assert!(furthest(&map.t().dot(&map), &Array2::eye(3)) < 1e-6);
}

#[test]
fn pairs_that_do_not_fit_are_refused() {
    let [none, two, three, wide] = [(0, 3), (2, 3), (3, 3), (2, 4)].map(Array2::<f32>::zeros);
    let mut holed = two.clone();
    holed[(1, 2)] = f32::NAN;
    let fit = |a: &Array2<f32>, b: &Array2<f32>| Procrustes::fit(a.view(), b.view()).unwrap_err();
    assert!(matches!(fit(&none, &none), Error::Empty(_)));
    assert!(matches!(fit(&two, &three), Error::Setting(_)));
    assert!(matches!(fit(&wide, &two), Error::Dimension { expected: 3, found: 4 }));
    assert!(matches!(fit(&two, &holed), Error::NotFinite { row: 1 }));
    let map = Procrustes::fit(two.view(), two.view()).unwrap();
    assert!(matches!(map.apply(wide.view()), Err(Error::Dimension { expected: 3, found: 4 })));
}

/// Rows whose coordinates have these standard deviations, and as many rows of noise of deviation 1.
fn spread(rows: usize, deviations: &[f32], rng: &mut ChaCha8Rng) -> (Array2<f32>, Array2<f32>) {
    // a sum of twelve uniform numbers is close to normal, with variance 1
    let mut normal = || (0..12).map(|_| rng.random_range(-0.5..0.5)).sum::<f32>();
    let rows = Array2::from_shape_simple_fn((rows, deviations.len()), &mut normal);
    let noise = Array2::from_shape_simple_fn(rows.dim(), normal);
    (rows * ndarray::aview1(deviations), noise)
}

/// The mean squared error of `restored`.
fn error(restored: &Array2<f32>, clean: &Array2<f32>) -> f32 {
    (restored - clean).mapv(|difference| difference * difference).mean().unwrap()
}

#[test]
fn vectors_that_are_not_protected_stay_as_they_are() {
    let clean = random(40, 8, &mut ChaCha8Rng::seed_from_u64(1));
    let map = Alignment::fit(clean.view(), clean.view()).unwrap();
    assert_eq!(map.to_string(), "identity");
    assert_eq!(map.apply(clean.view()).unwrap(), clean);
}

#[test]
fn a_rotation_is_undone_by_procrustes() {
    let rng = &mut ChaCha8Rng::seed_from_u64(2);
    let (map, clean, unseen) = (rotation(16, rng), random(40, 16, rng), random(9, 16, rng));
    let fitted = Alignment::fit(clean.dot(&map).view(), clean.view()).unwrap();
    assert_eq!(fitted.to_string(), "procrustes");
    assert!(furthest(&fitted.apply(unseen.dot(&map).view()).unwrap(), &unseen) < 1e-3);
}

#[test]
fn noise_is_removed_as_well_as_a_linear_estimate_can() {
    let rng = &mut ChaCha8Rng::seed_from_u64(3);
    let deviations: Vec<f32> = (0..16).map(|place| 2.0 / (1 + place) as f32).collect();
    let sigma = 0.4;
    let (clean, noise) = spread(4000, &deviations, rng);
    let noisy = &clean + &(noise * sigma);
    let fitted = Alignment::fit(noisy.view(), clean.view()).unwrap();
    assert!(fitted.to_string().starts_with("ridge(identity"), "{fitted}");

    let (clean, noise) = spread(4000, &deviations, rng);
    let noisy = &clean + &(noise * sigma);
    let restored = fitted.apply(noisy.view()).unwrap();
    // the best linear estimate leaves s²σ² / (s² + σ²) of each coordinate
    let (s, n) = (deviations.iter().map(|s| s * s), sigma * sigma);
    let least = s.map(|s| s * n / (s + n)).sum::<f32>() / 16.0;
    assert!(error(&restored, &clean) < 1.05 * least, "{} of {least}", error(&restored, &clean));
    assert!(error(&noisy, &clean) > 2.0 * least);
}

#[test]
fn a_rotation_and_noise_are_undone_together() {
    let rng = &mut ChaCha8Rng::seed_from_u64(4);
    let deviations: Vec<f32> = (0..12).map(|place| 2.0 / (1 + place) as f32).collect();
    let map = rotation(12, rng);
    let noisy = |rng: &mut ChaCha8Rng| {
        let (clean, noise) = spread(400, &deviations, rng);
        ((&clean + &(noise * 0.3)).dot(&map), clean)
    };
    let (protected, clean) = noisy(rng);
    let fitted = Alignment::fit(protected.view(), clean.view()).unwrap();
    let turned = Procrustes::fit(protected.view(), clean.view()).unwrap();
    assert!(fitted.to_string().starts_with("ridge("), "{fitted}");
    let (protected, clean) = noisy(rng);
    let of = |restored: Array2<f32>| error(&restored, &clean);
    let (ridge, procrustes) =
        (of(fitted.apply(protected.view()).unwrap()), of(turned.apply(protected.view()).unwrap()));
    assert!(ridge < 0.7 * procrustes, "{ridge} of {procrustes}");
}

#[test]
fn few_pairs_or_none_that_differ_are_no_obstacle() {
    let rng = &mut ChaCha8Rng::seed_from_u64(5);
    for pairs in 1..8 {
        let (protected, clean) = (random(pairs, 6, rng), random(pairs, 6, rng));
        let map = Alignment::fit(protected.view(), clean.view()).unwrap();
        assert!(map.apply(protected.view()).unwrap().iter().all(|value| value.is_finite()));
    }
    for constant in [0.0, 1.0] {
        let rows = Array2::from_elem((10, 3), constant);
        let restored = Alignment::fit(rows.view(), rows.view()).unwrap().apply(rows.view()).unwrap();
        assert!(restored.iter().all(|value| value.is_finite()));
    }
}
