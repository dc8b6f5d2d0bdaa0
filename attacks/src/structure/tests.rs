//! Planted permutations and scalings are found, and rotated copies are linked.

use ndarray::{Array2, Axis, array, s};
use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::Error;

/// About normal, of variance 1.
fn normals(rows: usize, columns: usize, rng: &mut ChaCha8Rng) -> Array2<f32> {
    Array2::from_shape_simple_fn((rows, columns), || {
        (0..12).map(|_| rng.random_range(-0.5..0.5)).sum::<f32>()
    })
}

/// The coordinates in random order: protected coordinate `j` is the clean one `order[j]`.
fn shuffled(rows: &Array2<f32>, rng: &mut ChaCha8Rng) -> (Array2<f32>, Vec<usize>) {
    let mut order: Vec<usize> = (0..rows.ncols()).collect();
    order.shuffle(rng);
    (rows.select(Axis(1), &order), order)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_planted_permutation_is_found_with_two_pairs(seed: u64, dim in 2..400_usize, scale in 0.01..100.0_f32) {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let clean = normals(2, dim, rng);
        let (protected, order) = shuffled(&clean, rng);
        let map = FoundPermutation::fit((protected * scale).view(), clean.view()).unwrap();
        prop_assert_eq!(map.places(), &order);
    }

    #[test]
    fn a_planted_scale_is_found_with_one_pair(seed: u64, dim in 1..400_usize, scale in 1e-3..1e3_f32) {
        let clean = normals(1, dim, &mut ChaCha8Rng::seed_from_u64(seed));
        let map = FoundScaling::fit((&clean * scale).view(), clean.view()).unwrap();
        prop_assert!((map.factor() * scale - 1.0).abs() < 1e-5);
    }
}

#[test]
fn a_permutation_is_found_through_noise_with_32_pairs() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let clean = normals(32, 384, rng);
    let noisy = &clean + &(normals(32, 384, rng) * 0.2);
    let (protected, order) = shuffled(&noisy, rng);
    assert_eq!(FoundPermutation::fit(protected.view(), clean.view()).unwrap().places(), order);
}

#[test]
fn distributions_help_where_noise_leaves_pairs_in_doubt() {
    let rng = &mut ChaCha8Rng::seed_from_u64(2);
    let means: Array2<f32> = normals(1, 100, rng);
    let clean = normals(3000, 100, rng) + &means;
    let noisy = &clean + &(normals(3000, 100, rng) * 0.5);
    let (protected, order) = shuffled(&noisy, rng);
    let own = normals(3000, 100, rng) + &means;
    let (known, pairs) = (protected.slice(s![..3, ..]), clean.slice(s![..3, ..]));
    let right = |map: &FoundPermutation| map.places().iter().zip(&order).filter(|(a, b)| a == b).count();
    let alone = right(&FoundPermutation::fit(known, pairs).unwrap());
    let helped = right(&FoundPermutation::fit_with(known, pairs, protected.view(), own.view()).unwrap());
    assert!(helped >= 90 && helped > alone + 10, "{helped} and {alone} of 100");
}

#[test]
fn rotated_copies_are_linked_and_strangers_are_not() {
    let rng = &mut ChaCha8Rng::seed_from_u64(3);
    let rows = normals(300, 8, rng);
    // a reflection, a scale and another order of coordinates are all that a key may do here
    let axis = normals(8, 1, rng);
    let length = axis.iter().map(|value| value * value).sum::<f32>();
    let turned = &rows - &(rows.dot(&axis).dot(&axis.t()) * (2.0 / length));
    let (turned, _) = shuffled(&(turned * 0.3), rng);
    assert!(linkage::recall_at_1(rows.view(), turned.view()).unwrap() > 0.99);
    let mut order: Vec<usize> = (0..300).collect();
    order.shuffle(rng);
    let linked = linkage::link(turned.select(Axis(0), &order).view(), rows.view()).unwrap();
    assert!(linked.iter().zip(&order).filter(|(a, b)| a == b).count() > 297);
    let strangers = normals(300, 8, rng);
    assert!(linkage::recall_at_1(rows.view(), strangers.view()).unwrap() < 0.05);
}

#[test]
fn copies_with_other_noise_are_linked_by_their_directions() {
    let rng = &mut ChaCha8Rng::seed_from_u64(4);
    let rows = normals(300, 64, rng);
    let mut noisy = || &rows + &(normals(300, 64, rng) * 0.7);
    let (a, b) = (noisy(), noisy());
    let by_shape = linkage::link(a.view(), b.view()).unwrap();
    assert!(by_shape.iter().enumerate().filter(|(row, linked)| row == *linked).count() < 60);
    assert!(linkage::recall_at_1(a.view(), b.view()).unwrap() > 0.99);
}

/// Aligning one store with another does not link texts that have nothing in common.
#[test]
fn strangers_are_not_linked_by_laying_them_on_each_other() {
    let rng = &mut ChaCha8Rng::seed_from_u64(5);
    let (a, b) = (normals(400, 8, rng), normals(400, 8, rng));
    assert!(linkage::recall_at_1_aligned(a.view(), b.view(), 300, rng).unwrap() < 0.05);
    assert!(linkage::recall_at_1_aligned(a.view(), b.slice(s![..9, ..]), 300, rng).is_err());
    assert!(matches!(linkage::recall_at_1_aligned(a.view(), b.view(), 0, rng), Err(Error::Empty(_))));
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let (zeros, two, three) = (array![[0.0, 0.0]], array![[1.0, 2.0]], array![[1.0, 2.0, 3.0]]);
    assert!(matches!(FoundScaling::fit(zeros.view(), two.view()), Err(Error::Setting(_))));
    assert!(matches!(FoundPermutation::fit(three.view(), two.view()), Err(Error::Dimension { .. })));
    let none = Array2::zeros((0, 2));
    assert!(matches!(
        FoundPermutation::fit_with(two.view(), two.view(), none.view(), two.view()),
        Err(Error::Empty(_))
    ));
    assert!(matches!(linkage::link(two.view(), two.view()), Err(Error::Empty(_))));
    let holed = array![[1.0, f32::NAN], [1.0, 2.0]];
    assert!(matches!(linkage::recall_at_1(holed.view(), holed.view()), Err(Error::NotFinite { row: 0 })));
    let pair = array![[1.0, 2.0], [2.0, 1.0]];
    assert!(linkage::recall_at_1(pair.view(), array![[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]].view()).is_err());
}
