//! What must hold for the transforms that a key determines: laws, and the numbers that never change.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use embosk_defenses::{
    Dcpe, Defense, Error, GaussianNoise, Key, Permutation, Quantization, Rng, Role, Rotation, Scaling, Stack,
};
use ndarray::{Array2, s};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// Dimensions of models, powers of two and their neighbours, and the ends of the range.
const DIMS: [usize; 15] = [1, 2, 3, 5, 48, 384, 511, 512, 513, 768, 1000, 1536, 3072, 8191, 8192];

/// A kind of rotation.
type New = fn(&Key, usize) -> Result<Rotation, Error>;

fn unit_rows(rows: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::seeded(seed);
    let mut normals = rng.standard_normals();
    let mut vectors = Array2::from_shape_simple_fn((rows, dim), || normals.draw() as f32);
    vectors.rows_mut().into_iter().for_each(|mut row| row /= row.dot(&row).sqrt());
    vectors
}

fn key(number: u16) -> Key {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&number.to_le_bytes());
    Key::from_bytes(bytes)
}

fn counting_key() -> Key {
    Key::from_bytes(std::array::from_fn(|place| place as u8))
}

fn protected(defense: &dyn Defense, vectors: &Array2<f32>) -> Array2<f32> {
    let mut vectors = vectors.clone();
    defense.protect(Role::Document, vectors.view_mut(), &mut Rng::seeded(3)).unwrap();
    vectors
}

fn largest(values: &Array2<f32>) -> f32 {
    values.iter().fold(0.0, |largest, x| largest.max(x.abs()))
}

fn bits(vectors: &Array2<f32>) -> Array2<u32> {
    vectors.mapv(f32::to_bits)
}

/// That a rotation keeps inner products and is undone.
fn check_rotation(rotation: &Rotation, vectors: &Array2<f32>) {
    let mut rotated = protected(rotation, vectors);
    let difference = rotated.dot(&rotated.t()) - vectors.dot(&vectors.t());
    assert!(largest(&difference) < 1e-5, "{rotation:?}: {}", largest(&difference));
    rotation.restore(rotated.view_mut()).unwrap();
    let difference = rotated - vectors;
    assert!(largest(&difference) < 1e-5, "{rotation:?}: {}", largest(&difference));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn hadamard_keeps_inner_products_and_is_undone(dim in 2..=300_usize, rows in 1..7_usize, seed: u64, key: [u8; 32]) {
        check_rotation(&Rotation::hadamard(&Key::from_bytes(key), dim).unwrap(), &unit_rows(rows, dim, seed));
    }

    #[test]
    fn haar_keeps_inner_products_and_is_undone(dim in 2..=300_usize, rows in 1..7_usize, seed: u64, key: [u8; 32]) {
        check_rotation(&Rotation::new(&Key::from_bytes(key), dim).unwrap(), &unit_rows(rows, dim, seed));
    }

    #[test]
    fn hadamard_turns_a_row_as_it_does_in_a_batch(dim in 1..100_usize, rows in 1..11_usize, seed: u64) {
        let rotation = Rotation::hadamard(&key(1), dim).unwrap();
        let vectors = unit_rows(rows, dim, seed);
        let together = protected(&rotation, &vectors);
        for row in 0..rows {
            let alone = protected(&rotation, &vectors.slice(s![row..=row, ..]).to_owned());
            prop_assert_eq!(bits(&alone), bits(&together.slice(s![row..=row, ..]).to_owned()));
        }
    }

    #[test]
    fn a_permutation_keeps_every_value_and_is_undone(dim in 1..=300_usize, seed: u64, key: [u8; 32]) {
        let permutation = Permutation::new(&Key::from_bytes(key), dim).unwrap();
        let vectors = unit_rows(2, dim, seed);
        let mut out = protected(&permutation, &vectors);
        for (before, after) in vectors.rows().into_iter().zip(out.rows()) {
            let sorted = |row: ndarray::ArrayView1<'_, f32>| {
                let mut values = row.to_vec();
                values.sort_by(f32::total_cmp);
                values
            };
            prop_assert_eq!(sorted(before), sorted(after));
        }
        permutation.restore(out.view_mut()).unwrap();
        prop_assert_eq!(bits(&out), bits(&vectors));
    }

    #[test]
    fn a_scaling_is_one_factor_and_is_undone(dim in 1..=300_usize, seed: u64, key: [u8; 32]) {
        let scaling = Scaling::new(&Key::from_bytes(key));
        let vectors = unit_rows(3, dim, seed);
        let factor = protected(&scaling, &Array2::ones((1, 1)))[[0, 0]];
        prop_assert!((1.0 / 256.0..=1.0).contains(&factor), "{factor}");
        let mut out = protected(&scaling, &vectors);
        prop_assert_eq!(bits(&out), bits(&vectors.mapv(|x| x * factor)));
        scaling.restore(out.view_mut()).unwrap();
        prop_assert!(largest(&(out - &vectors)) < 1e-6);
    }

    /// What was nearer by more than `beta` stays nearer, and no row moves further than the radius.
    #[test]
    fn dcpe_keeps_comparisons_beyond_beta(dim in 1..40_usize, seed: u64, beta in 0.0..1.0_f64, key: [u8; 32]) {
        let clean = unit_rows(8, dim, seed);
        let dcpe = Dcpe::new(&Key::from_bytes(key), beta).unwrap();
        let factor = protected(&Dcpe::new(&Key::from_bytes(key), 0.0).unwrap(), &Array2::ones((1, 1)))[[0, 0]];
        let out = protected(&dcpe, &clean);
        let norm = |row: ndarray::Array1<f32>| f64::from(row.dot(&row).sqrt());
        for row in 0..8 {
            let moved = norm(&out.row(row) - &clean.row(row).mapv(|x| x * factor));
            prop_assert!(moved <= f64::from(factor) * beta / 4.0 + 1e-6, "{moved}");
        }
        let distance = |vectors: &Array2<f32>, row: usize| norm(&vectors.row(0) - &vectors.row(row));
        for (near, far) in (1..8).flat_map(|near| (1..8).map(move |far| (near, far))) {
            if distance(&clean, near) < distance(&clean, far) - beta - 1e-5 {
                prop_assert!(distance(&out, near) < distance(&out, far));
            }
        }
    }
}

#[test]
fn hadamard_keeps_inner_products_and_is_undone_in_every_size() {
    for dim in DIMS {
        check_rotation(&Rotation::hadamard(&counting_key(), dim).unwrap(), &unit_rows(5, dim, 1));
    }
}

/// The image of an axis is close to a uniform point of the sphere: no coordinate stays by itself.
///
/// Of `dim` normal coordinates of variance `1 / dim`, hardly one exceeds `√(2 ln dim / dim)` by far, and
/// the mean of their fourth powers is `3 / dim²`.
#[test]
fn hadamard_leaves_no_coordinate_unmixed() {
    for dim in [48, 384, 768, 1000, 1025, 1536, 2047, 3072] {
        let axes: Vec<_> = (0..dim).step_by(dim / 32).chain([dim - 1]).collect();
        let mut vectors = Array2::zeros((axes.len(), dim));
        axes.iter().enumerate().for_each(|(row, axis)| vectors[[row, *axis]] = 1.0);
        let images = protected(&Rotation::hadamard(&counting_key(), dim).unwrap(), &vectors);
        let dim = dim as f32;
        assert!(largest(&images) < 2.0 * (2.0 * dim.ln() / dim).sqrt(), "{dim}: {}", largest(&images));
        let kurtosis = images.mapv(|x| x.powi(4)).mean().unwrap() * dim * dim;
        assert!((2.5..3.5).contains(&kurtosis), "{dim}: {kurtosis}");
        let zeros = images.iter().filter(|x| x.abs() < 1e-7).count();
        assert!((zeros as f32) < 0.05 * images.len() as f32, "{dim}: {zeros}");
    }
}

/// In few dimensions there are few such rotations, so this is over many keys: every input reaches every
/// output, and all alike.
#[test]
fn hadamard_carries_every_input_to_every_output_in_few_dimensions() {
    const KEYS: u16 = 2000;
    for dim in [2, 3, 4, 5, 6, 7, 9, 17] {
        let mut squares = Array2::<f32>::zeros((dim, dim));
        for number in 0..KEYS {
            let image = protected(&Rotation::hadamard(&key(number), dim).unwrap(), &Array2::eye(dim));
            squares += &image.mapv(|x| x * x / f32::from(KEYS));
        }
        let share = 1.0 / dim as f32;
        assert!(largest(&(squares - share)) < 0.25 * share, "{dim}");
    }
}

#[test]
fn different_keys_and_kinds_give_uncorrelated_rotations() {
    const DIM: usize = 300;
    let axes = Array2::eye(DIM);
    let image = |rotation: Result<Rotation, _>| protected(&rotation.unwrap(), &axes);
    let first = image(Rotation::hadamard(&key(1), DIM));
    for other in [image(Rotation::hadamard(&key(2), DIM)), image(Rotation::new(&key(1), DIM))] {
        // The sum of 300 · 300 products of independent numbers of variance 1/300 has deviation 1.
        let sum: f32 = (&first * &other).sum();
        assert!(sum.abs() < 5.0, "{sum}");
        assert!(largest(&first.dot(&other.t())) < 0.4);
    }
}

#[test]
fn different_keys_give_different_orders_and_factors() {
    let counting = Array2::from_shape_fn((1, 300), |(_, column)| column as f32);
    let order = |number| protected(&Permutation::new(&key(number), 300).unwrap(), &counting);
    let (first, second) = (order(1), order(2));
    let together = first.iter().zip(&second).filter(|(a, b)| (*a - *b).abs() < 0.5).count();
    assert!(together < 10, "{together}");
    let centred = (&first - 149.5) * (&second - 149.5);
    assert!((centred.mean().unwrap() / 7499.9).abs() < 0.3);

    let factors: Vec<_> = (0..64).map(|number| factor(&Scaling::new(&key(number)))).collect();
    let low = factors.iter().filter(|factor| **factor < 1.0 / 16.0).count();
    assert!((16..=48).contains(&low), "{low} of 64 below the middle of the logarithms");
    assert_ne!(factor(&Scaling::new(&key(1))).to_bits(), factor(&Dcpe::new(&key(1), 0.0).unwrap()).to_bits());
}

fn factor(defense: &dyn Defense) -> f32 {
    protected(defense, &Array2::ones((1, 1)))[[0, 0]]
}

/// The point is uniform in the ball: the power of its radius is uniform, and its direction has no bias.
#[test]
fn dcpe_perturbs_uniformly_within_the_ball() {
    let dcpe = Dcpe::new(&key(1), 4.0).unwrap();
    let radius = f64::from(factor(&Dcpe::new(&key(1), 0.0).unwrap()));
    let points = protected(&dcpe, &Array2::zeros((20_000, 3)));
    let mut powers: Vec<_> =
        points.rows().into_iter().map(|row| (f64::from(row.dot(&row).sqrt()) / radius).powi(3)).collect();
    powers.sort_by(f64::total_cmp);
    let distance = powers
        .iter()
        .enumerate()
        .fold(0.0_f64, |largest, (at, power)| largest.max((power - at as f64 / 20_000.0).abs()));
    assert!(distance * 20_000_f64.sqrt() < 1.95, "{distance}");
    let means = points.mean_axis(ndarray::Axis(0)).unwrap();
    assert!(means.iter().all(|mean| f64::from(mean.abs()) < 0.02 * radius), "{means}");
}

#[test]
fn a_rotation_is_rekeyed_without_the_texts() {
    let kinds: [New; 2] = [Rotation::new, Rotation::hadamard];
    let clean = unit_rows(5, 48, 1);
    for (old, new) in kinds.iter().flat_map(|old| kinds.iter().map(move |new| (old, new))) {
        let (old, new) = (old(&key(1), 48).unwrap(), new(&key(2), 48).unwrap());
        let mut stored = protected(&old, &clean);
        old.rekey(&new, stored.view_mut()).unwrap();
        assert!(largest(&(stored - protected(&new, &clean))) < 1e-6);
    }
}

/// Few rows are multiplied in another way than many.
#[test]
fn a_haar_rotation_turns_a_row_as_it_does_in_a_batch() {
    for dim in [1, 2, 48, 384] {
        let rotation = Rotation::new(&key(1), dim).unwrap();
        let vectors = unit_rows(9, dim, 1);
        let together = protected(&rotation, &vectors);
        for rows in [1, 4, 5] {
            let first = vectors.slice(s![..rows, ..]).to_owned();
            assert!(largest(&(protected(&rotation, &first) - together.slice(s![..rows, ..]))) < 1e-6);
        }
    }
}

#[test]
fn what_no_scaling_gives_is_not_restored() {
    let scaling = Scaling::new(&key(1));
    let mut vectors = ndarray::array![[1.0_f32, 0.0], [0.0, 1.5e38]];
    let refusal = scaling.restore(vectors.view_mut());
    assert!(matches!(refusal, Err(Error::NotFinite { row: 1 })), "{refusal:?}");
    assert_eq!(vectors, ndarray::array![[1.0_f32, 0.0], [0.0, 1.5e38]]);
}

#[test]
fn rekeying_into_another_dimension_changes_nothing() {
    let (old, new) = (Rotation::new(&key(1), 8).unwrap(), Rotation::new(&key(2), 9).unwrap());
    let mut stored = unit_rows(2, 8, 1);
    assert!(old.rekey(&new, stored.view_mut()).is_err());
    assert!(new.rekey(&old, stored.view_mut()).is_err());
    assert_eq!(stored, unit_rows(2, 8, 1));
}

/// What the documentation of `rekey` says of the drift.
#[test]
fn a_hundred_rekeyings_hardly_move_a_vector() {
    let table: [(usize, &str, [New; 2]); 4] = [
        (384, "haar", [Rotation::new; 2]),
        (384, "hadamard", [Rotation::hadamard; 2]),
        (768, "hadamard", [Rotation::hadamard; 2]),
        (768, "both", [Rotation::new, Rotation::hadamard]),
    ];
    for (dim, kind, new) in table {
        let rotations: Vec<_> =
            (0..4).map(|number| new[number % 2](&key(number as u16), dim).unwrap()).collect();
        let clean = unit_rows(8, dim, 1);
        let mut stored = protected(&rotations[0], &clean);
        for (old, new) in rotations.iter().zip(rotations.iter().cycle().skip(1)).cycle().take(100) {
            old.rekey(new, stored.view_mut()).unwrap();
        }
        rotations[0].restore(stored.view_mut()).unwrap();
        let error = largest(&(&stored - &clean));
        let drift = stored.rows().into_iter().zip(clean.rows()).fold(0.0, |largest: f64, (a, b)| {
            let dot = |a: &ndarray::ArrayView1<'_, f32>, b: &ndarray::ArrayView1<'_, f32>| {
                a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>()
            };
            largest.max(1.0 - dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt())
        });
        println!("dim {dim}, {kind}: largest error {error:e}, cosine drift {drift:e}");
        assert!(error < 5e-6 && drift < 1e-9, "{dim}, {kind}: {error:e}, {drift:e}");
    }
}

#[test]
fn an_imitation_is_of_its_kind_and_under_another_key() {
    for defense in [
        &Rotation::deferred_hadamard(&key(1)) as &dyn Defense,
        &Permutation::deferred(&key(1)),
        &Scaling::new(&key(1)),
        &Dcpe::new(&key(1), 0.5).unwrap(),
    ] {
        let own = defense.imitation(&mut Rng::seeded(1)).unwrap();
        let again = defense.imitation(&mut Rng::seeded(1)).unwrap();
        assert_eq!(own.to_string(), again.to_string());
        assert_ne!(own.to_string(), defense.to_string());
        let without_key = |text: String| text.replace(|c: char| c.is_ascii_hexdigit(), "");
        assert_eq!(without_key(own.to_string()), without_key(defense.to_string()));
        let vectors = unit_rows(3, 16, 1);
        assert!(largest(&(protected(&own, &vectors) - protected(defense, &vectors))) > 1e-3);
    }
}

/// Stored vectors outlive an upgrade: none of these numbers ever changes. Another way to draw them needs
/// another version in the label that they are derived under, and a file of its own.
#[test]
fn what_a_key_determines_is_the_golden_one() {
    let hadamard = |dim| summary(&Rotation::hadamard(&counting_key(), dim).unwrap(), &golden_input(dim));
    assert_eq!([1, 2, 3, 8, 48, 384, 768, 8191].map(hadamard).concat(), include_str!("data/hadamard-v1.txt"));
    let permutation = |dim| {
        let counting = Array2::from_shape_fn((1, dim), |(_, column)| column as f32);
        summary(&Permutation::new(&counting_key(), dim).unwrap(), &counting)
    };
    assert_eq!([1, 8, 384, 8192].map(permutation).concat(), include_str!("data/permutation-v1.txt"));
    let one = Array2::ones((1, 1));
    assert_eq!(summary(&Scaling::new(&counting_key()), &one), include_str!("data/scaling-v1.txt"));
    let dcpe = Dcpe::new(&counting_key(), 0.0).unwrap();
    assert_eq!(summary(&dcpe, &one), include_str!("data/dcpe-v1.txt"));
}

/// Two rows of many different values, all of them exact: `(7 · row + 5 · column) mod 31 − 15`, by 16.
fn golden_input(dim: usize) -> Array2<f32> {
    Array2::from_shape_fn((2, dim), |(row, column)| ((7 * row + 5 * column) % 31) as f32 / 16.0 - 15.0 / 16.0)
}

fn summary(defense: &dyn Defense, vectors: &Array2<f32>) -> String {
    let out = protected(defense, vectors);
    let mut text = format!("dim {}\n", out.ncols());
    for row in out.rows() {
        let digits: Vec<_> = row.iter().take(8).map(|x| format!("{:08x}", x.to_bits())).collect();
        writeln!(text, "{}", digits.join(" ")).unwrap();
    }
    let mut hash = Sha256::new();
    out.iter().for_each(|x| hash.update(x.to_le_bytes()));
    text.push_str("sha256 ");
    hash.finalize().iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
    text.push('\n');
    text
}

/// What an adversary takes back of a key that he has: all of it, and nothing of noise or rounding.
#[test]
fn a_key_is_taken_back_and_noise_stays() {
    let vectors = unit_rows(40, 96, 4);
    let noise = || GaussianNoise::new(0.1).unwrap();
    let undone = |stack: &Stack| {
        let mut vectors = protected(stack, &vectors);
        (stack.undo_key(vectors.view_mut()).unwrap(), vectors)
    };
    let turned = Stack::new()
        .with(Rotation::deferred_hadamard(&key(9)))
        .with(Scaling::new(&key(9)))
        .with(Permutation::deferred(&key(9)));
    let (is_undone, clean) = undone(&turned);
    assert!(is_undone && largest(&(clean - &vectors)) < 1e-5);

    let (is_undone, noisy) = undone(&Stack::new().with(Rotation::deferred(&key(9))).with(noise()));
    let off = |noisy: &Array2<f32>| (noisy - &vectors).mapv(|x| x * x).mean().unwrap().sqrt();
    assert!(is_undone && (off(&noisy) / 0.1 - 1.0).abs() < 0.05, "{}", off(&noisy));

    let keyed = Stack::new().with(GaussianNoise::keyed(&key(9), 0.1).unwrap());
    let (is_undone, noisy) = undone(&keyed);
    assert!(is_undone && bits(&noisy) == bits(&protected(&keyed, &vectors)));
    let dithered = Quantization::new(4).unwrap().scale(0.5).unwrap().dither(&key(9)).unwrap();
    assert!(undone(&Stack::new().with(dithered)).0);
    let (is_undone, noisy) = undone(&Stack::new().with(Dcpe::new(&key(9), 0.4).unwrap()));
    let furthest = (&noisy - &vectors).rows().into_iter().map(|row| row.dot(&row).sqrt()).fold(0.0, f32::max);
    assert!(is_undone && (0.08..0.1001).contains(&furthest), "{furthest}");

    assert!(!undone(&Stack::new().with(noise())).0, "there is no key");
    assert!(Scaling::new(&key(9)).undo_key(Array2::from_elem((1, 3), f32::NAN).view_mut()).is_err());
}
