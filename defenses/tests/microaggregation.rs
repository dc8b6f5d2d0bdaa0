//! Groups of documents that share a vector: at least k of those they were made of, and after changes too.

#![allow(clippy::unwrap_used)]

use embosk_defenses::{Defense, Error, Microaggregation, Rng, Role, Stack};
use ndarray::{Array2, ArrayView2, Axis, array, s};
use proptest::prelude::*;

fn batch(rows: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::seeded(seed);
    let mut normals = rng.standard_normals();
    Array2::from_shape_simple_fn((rows, dim), || normals.draw() as f32)
}

fn protected(groups: &dyn Defense, vectors: ArrayView2<'_, f32>) -> Array2<f32> {
    groups.protect_owned(Role::Document, vectors.to_owned(), &mut Rng::seeded(0)).unwrap()
}

/// How many rows share the vector of the row that shares it with the fewest.
fn least(protected: &Array2<f32>) -> usize {
    let shared = |row| protected.rows().into_iter().filter(|other| *other == protected.row(row)).count();
    (0..protected.nrows()).map(shared).min().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn at_least_k_stored_rows_share_each_vector(
        k in 2_usize..7, more in 0_usize..60, dim in 1_usize..6, seed in any::<u64>(),
    ) {
        let stored = batch(k + more, dim, seed);
        let groups = Microaggregation::fit(stored.view(), k).unwrap();
        let first = protected(&groups, stored.view());
        prop_assert!(least(&first) >= k);
        prop_assert!(groups.size().1 <= stored.nrows() / k);
        prop_assert_eq!(&protected(&groups, first.view()), &first, "a mean is its own nearest mean");

        // half of the rows are deleted, others come
        let kept = stored.slice(s![..;2, ..]);
        let new = batch(k, dim, seed ^ 1);
        let now = ndarray::concatenate(Axis(0), &[kept, new.view()]).unwrap();
        let maintained = groups.maintained(now.view()).unwrap();
        let after = protected(&maintained.groups, now.view());
        prop_assert!(least(&after) >= k);
        let before = protected(&groups, now.view());
        let changed: Vec<usize> = (0..now.nrows()).filter(|&row| before.row(row) != after.row(row)).collect();
        prop_assert_eq!(maintained.changed, changed);
    }
}

#[test]
fn groups_are_of_near_vectors_and_queries_pass() {
    let stored = array![[0.0_f32, 0.0], [9.0, 9.0], [0.2, 0.0], [9.0, 9.2], [0.1, 0.3], [9.1, 8.8]];
    let groups = Microaggregation::fit(stored.view(), 3).unwrap();
    assert_eq!(groups.size(), (3, 2));
    let found = protected(&groups, stored.view());
    assert!((found[[0, 0]] - 0.1).abs() < 1e-6 && (found[[1, 1]] - 9.0).abs() < 1e-6, "{found}");
    let places = groups.groups(stored.view()).unwrap();
    assert!(places[0] == places[2] && places[2] == places[4] && places[1] == places[3]);
    let queries = groups.protect_owned(Role::Query, stored.clone(), &mut Rng::seeded(0)).unwrap();
    assert_eq!(queries, stored);
}

#[test]
fn they_are_stored_and_named_by_a_spec() {
    let stored = batch(40, 4, 1);
    let groups = Microaggregation::fit(stored.view(), 4).unwrap();
    let bytes = groups.to_bytes();
    assert_eq!(Microaggregation::from_bytes(&bytes).unwrap(), groups);
    for len in 0..bytes.len() {
        assert!(matches!(Microaggregation::from_bytes(&bytes[..len]), Err(Error::Fit(_))));
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        assert!(matches!(Microaggregation::from_bytes(&damaged), Err(Error::Fit(_))));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("groups");
    std::fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap();
    let stack: Stack = format!("microaggregation(k=4, groups=file:{path})").parse().unwrap();
    assert_eq!(stack.to_string(), groups.to_string());
    assert_eq!(stack.fingerprint(), "embosk2 none", "means are in the space of clean vectors");
    assert_eq!(protected(&stack, stored.view()), protected(&groups, stored.view()));
    let refused = format!("microaggregation(k=5, groups=file:{path})").parse::<Stack>().unwrap_err();
    assert!(refused.to_string().contains("at least 4 documents"), "{refused}");
}

#[test]
fn settings_out_of_range_are_refused() {
    let stored = batch(5, 3, 1);
    for k in [0, 1] {
        assert!(matches!(Microaggregation::fit(stored.view(), k), Err(Error::Setting { name: "k", .. })));
    }
    let few = Microaggregation::fit(stored.view(), 6);
    assert!(matches!(few, Err(Error::Setting { name: "stored", .. })));
    let groups = Microaggregation::fit(stored.view(), 2).unwrap();
    let few = groups.maintained(stored.slice(s![..1, ..]));
    assert!(matches!(few, Err(Error::Setting { name: "stored", .. })));
    let wide = groups.maintained(batch(5, 4, 1).view());
    assert!(matches!(wide, Err(Error::Dimension { expected: 3, found: 4 })));
}
