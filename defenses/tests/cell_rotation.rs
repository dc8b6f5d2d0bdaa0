//! Rotations by cell: their laws, how cells are fitted, and the numbers that a storage format depends on.

#![allow(clippy::unwrap_used)]

#[path = "common/damage.rs"]
mod damage;

use std::fmt::Write as _;

use embosk_defenses::{CellRotation, Cells, Defense, Error, GaussianNoise, Key, Rng, Role, Stack};
use ndarray::{Array2, Axis};
use proptest::prelude::*;

/// From `tests/golden/cells.py`. Stored vectors and fits depend on it: it never changes.
const GOLDENS: &str = include_str!("data/cells-v1.txt");

fn key() -> Key {
    Key::from_bytes(std::array::from_fn(|place| place as u8))
}

/// Three clumps of vectors.
fn batch(rows: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::seeded(seed);
    let mut normals = rng.standard_normals();
    Array2::from_shape_fn((rows, dim), |(row, column)| {
        let clump = if column % 3 == row % 3 { 1.0 } else { 0.0 };
        clump + 0.3 * normals.draw() as f32
    })
}

fn protected(defense: &dyn Defense, vectors: &Array2<f32>) -> Array2<f32> {
    defense.protect_owned(Role::Document, vectors.clone(), &mut Rng::seeded(0)).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn bytes_and_vectors_are_those_of_an_independent_implementation() {
    let mut lines = GOLDENS.lines();
    let bytes = unhex(lines.next().unwrap().strip_prefix("cells ").unwrap());
    let cells = Cells::from_bytes(&bytes).unwrap();
    assert_eq!(hex(&cells.to_bytes()), hex(&bytes));
    let vectors = Array2::from_shape_fn((6, 11), |(row, column)| {
        ((7 * row + 5 * column) % 31) as f32 / 16.0 - 15.0 / 16.0
    });
    let places = cells.of_vectors(vectors.view()).unwrap();
    let stored = protected(&CellRotation::new(&key(), cells).unwrap(), &vectors);
    for (row, line) in lines.enumerate() {
        let mut found = format!("cell {}", places[row]);
        stored.row(row).iter().for_each(|x| write!(found, " {:08x}", x.to_bits()).unwrap());
        assert_eq!(found, line, "row {row}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Norms and components stay, within a cell inner products too, and the key undoes it all.
    #[test]
    fn a_cell_is_rotated_as_a_whole(dim in 6_usize..40, dims in 1_usize..4, max in 5_usize..60, seed in any::<u64>()) {
        let vectors = batch(60, dim, seed);
        let cells = Cells::fit(vectors.view(), dims, max).unwrap();
        let places = cells.of_vectors(vectors.view()).unwrap();
        let rotation = CellRotation::new(&key(), cells.clone()).unwrap();
        let stored = protected(&rotation, &vectors);
        prop_assert_eq!(cells.of_vectors(stored.view()).unwrap(), places.clone());
        let (before, after) = (vectors.dot(&vectors.t()), stored.dot(&stored.t()));
        for (row, other) in (0..60).flat_map(|row| (0..60).map(move |other| (row, other))) {
            if places[row] == places[other] {
                let far = (before[(row, other)] - after[(row, other)]).abs();
                prop_assert!(far < 1e-3, "{} {}: {}", row, other, far);
            }
        }
        let mut restored = stored.clone();
        rotation.restore(restored.view_mut()).unwrap();
        prop_assert!((&restored - &vectors).iter().all(|far| far.abs() < 1e-4));
        // one by one, the vectors of a cell are the same, whether or not the cell is looked up
        for (row, &place) in places.iter().enumerate().take(5) {
            let alone = vectors.select(Axis(0), &[row]);
            let in_cell = rotation.in_cell(place).unwrap();
            let alone = protected(&in_cell, &alone);
            prop_assert_eq!(alone.row(0), stored.row(row));
        }
    }

    #[test]
    fn no_cell_is_too_large(rows in 20_usize..200, max in 1_usize..50, seed in any::<u64>()) {
        let vectors = batch(rows, 8, seed);
        let cells = Cells::fit(vectors.view(), 3, max).unwrap();
        let sizes = cells.sizes(vectors.view()).unwrap();
        prop_assert!(sizes.iter().all(|&size| size <= max), "{:?}", sizes);
        prop_assert_eq!(sizes.iter().sum::<usize>(), rows);
    }
}

#[test]
fn between_cells_the_rest_of_an_inner_product_is_lost() {
    let vectors = batch(300, 96, 5);
    let cells = Cells::fit(vectors.view(), 3, 60).unwrap();
    let places = cells.of_vectors(vectors.view()).unwrap();
    let stored = protected(&CellRotation::new(&key(), cells).unwrap(), &vectors);
    let (before, after) = (vectors.dot(&vectors.t()), stored.dot(&stored.t()));
    let changed = |same: bool| {
        let pairs = (0..300).flat_map(|row| (0..row).map(move |other| (row, other)));
        let pairs: Vec<_> = pairs.filter(|(a, b)| (places[*a] == places[*b]) == same).collect();
        let sum: f32 = pairs.iter().map(|&pair| (before[pair] - after[pair]).abs()).sum();
        sum / pairs.len() as f32
    };
    assert!(changed(true) < 1e-4 && changed(false) > 0.1, "{} {}", changed(true), changed(false));
}

#[test]
fn equal_vectors_stay_in_one_cell() {
    let vectors = Array2::ones((30, 6));
    let cells = Cells::fit(vectors.view(), 2, 4).unwrap();
    assert_eq!(cells.sizes(vectors.view()).unwrap(), [30]);
}

#[test]
fn a_spec_names_a_file_and_a_stack_has_the_cells_of_its_part() {
    let vectors = batch(50, 9, 2);
    let cells = Cells::fit(vectors.view(), 2, 20).unwrap();
    let places = cells.of_vectors(vectors.view()).unwrap();
    let folder = std::env::temp_dir().join(format!("embosk-cells-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (fit, secret) = (folder.join("cells.fit"), folder.join("key"));
    std::fs::write(&fit, cells.to_bytes()).unwrap();
    std::fs::write(&secret, key().to_text().as_bytes()).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let spec = |max| {
        format!(
            "cells(key=file:{}, max={max}, fit=file:{}) | gaussian(sigma=0.1)",
            secret.display(),
            fit.display()
        )
    };
    let stack: Stack = spec(20).parse().unwrap();
    assert!(stack.to_string().starts_with("cells(key=fingerprint:"), "{stack}");
    assert_eq!(stack.cells(vectors.view()).unwrap(), Some(places.clone()));
    let [first, second] = [0, 1].map(|_| stack.in_cell(places[0]).unwrap());
    assert_eq!(protected(&first, &vectors), protected(&second, &vectors));
    let refused = spec(21).parse::<Stack>().unwrap_err().to_string();
    assert!(refused.contains("at most 20 vectors"), "{refused}");
    let without = Stack::new().with(GaussianNoise::new(0.1).unwrap());
    assert_eq!(without.cells(vectors.view()).unwrap(), None);
    assert!(without.in_cell(0).is_none());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn settings_and_damaged_bytes_are_refused() {
    let vectors = batch(20, 6, 1);
    for (dims, max) in [(0, 5), (7, 5), (2, 0)] {
        assert!(matches!(Cells::fit(vectors.view(), dims, max), Err(Error::Setting { .. })), "{dims} {max}");
    }
    let full = Cells::fit(vectors.view(), 5, 5).unwrap();
    assert!(matches!(CellRotation::new(&key(), full), Err(Error::Setting { name: "dims", .. })));
    let cells = Cells::fit(vectors.view(), 2, 5).unwrap();
    damage::each(&cells.to_bytes(), |bytes, what| {
        assert!(matches!(Cells::from_bytes(bytes), Err(Error::Fit(_))), "{what}");
    });
    let rotation = CellRotation::new(&key(), cells).unwrap();
    let mut other = batch(2, 7, 0);
    let refusal = rotation.protect(Role::Query, other.view_mut(), &mut Rng::seeded(0));
    assert!(matches!(refusal, Err(Error::Dimension { expected: 6, found: 7 })));
}
