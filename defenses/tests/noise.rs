//! Noise: its distribution and size, and what of it a key determines.

#![allow(clippy::unwrap_used, clippy::float_cmp)]

mod common;

use std::fmt::Write as _;
use std::sync::Arc;

use embosk_defenses::{Defense, Error, GaussianNoise, Guarantee, Key, Rng, Role, Rotation, Stack};
use ndarray::{Array1, Array2, ArrayView1, Axis, s};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

const DIM: usize = 384;

fn key() -> Key {
    Key::from_bytes(std::array::from_fn(|place| place as u8))
}

fn keyed(sigma: f64) -> GaussianNoise {
    GaussianNoise::keyed(&key(), sigma).unwrap()
}

fn normals(rows: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::seeded(seed);
    let mut normals = rng.standard_normals();
    Array2::from_shape_simple_fn((rows, dim), || normals.draw() as f32)
}

fn units(rows: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut vectors = normals(rows, dim, seed);
    vectors.rows_mut().into_iter().for_each(|mut row| row /= norm(row.view()));
    vectors
}

fn norm(row: ArrayView1<'_, f32>) -> f32 {
    row.dot(&row).sqrt()
}

/// Unit vectors at about `distance` from those of `vectors`.
fn moved(vectors: &Array2<f32>, distance: f32, seed: u64) -> Array2<f32> {
    vectors + &(units(vectors.nrows(), vectors.ncols(), seed) * distance)
}

fn protected(noise: &dyn Defense, vectors: &Array2<f32>, seed: u64) -> Array2<f32> {
    let mut vectors = vectors.clone();
    noise.protect(Role::Document, vectors.view_mut(), &mut Rng::seeded(seed)).unwrap();
    vectors
}

/// The noise itself, in units of sigma.
fn noise_on(vectors: &Array2<f32>, seed: u64) -> Array2<f32> {
    (protected(&keyed(1.0), vectors, seed)) - vectors
}

/// How far the samples are from standard normals; more than 1.95 is once in a thousand times chance.
fn from_normal(samples: impl Iterator<Item = f32>) -> f64 {
    common::kolmogorov_smirnov(samples.map(f64::from).collect(), common::normal_cdf)
}

#[test]
fn fresh_noise_is_normal_to_five_sigma() {
    let noise = protected(&GaussianNoise::new(1.0).unwrap(), &Array2::zeros((4000, 1000)), 1);
    let n = noise.len() as f64;
    for (at, two_sided) in [(1.0, 0.317_310_5), (2.0, 0.045_500_26), (3.0, 2.699_796e-3), (4.0, 6.334_25e-5)]
    {
        let expected = n * two_sided;
        for sign in [1.0, -1.0] {
            let beyond = noise.iter().filter(|&&x| sign * x > at).count() as f64;
            let spread = (expected / 2.0).sqrt();
            assert!((beyond - expected / 2.0).abs() < 4.0 * spread, "{at}: {beyond} of {}", expected / 2.0);
        }
    }
    // 5.7e-7 of them lie beyond five: 2.3 are expected, and more than 11 less than once in 10,000 times.
    let beyond = noise.iter().filter(|x| x.abs() > 5.0).count();
    assert!((1..12).contains(&beyond), "{beyond}");
    let distance = from_normal(noise.into_iter());
    assert!(distance < 1.95, "{distance}");
}

/// A sampler with a slightly wrong spread or shape is noticed with this many samples.
#[test]
fn the_test_of_distribution_can_fail() {
    let noise = protected(&GaussianNoise::new(1.0).unwrap(), &Array2::zeros((2000, 1000)), 1);
    assert!(from_normal(noise.iter().map(|x| x * 1.01)) > 1.95);
    assert!(from_normal(noise.iter().map(|x| x + 0.01)) > 1.95);
    assert!(from_normal(noise.iter().map(|x| x + 0.01 * x.powi(2))) > 1.95);
}

#[test]
fn keyed_noise_is_normal_over_vectors_and_over_ids() {
    let vectors = units(200, DIM, 2);
    let distance = from_normal(noise_on(&vectors, 0).into_iter());
    assert!(distance < 1.95, "{distance}");

    let mut by_id = Array2::zeros((200, DIM));
    let ids: Vec<String> = (0..200).map(|id| id.to_string()).collect();
    with_ids(&keyed(1.0), Role::Query, &ids, &mut by_id).unwrap();
    let distance = from_normal(by_id.into_iter());
    assert!(distance < 1.95, "{distance}");
}

/// The covariance is sigma² I: over 20,000 rows each entry is within five of its standard errors.
/// The dimension does not divide the sampler's blocks, so that a coordinate meets all their places.
#[test]
fn the_covariance_is_that_of_independent_coordinates() {
    const ROWS: usize = 20_000;
    let batches = [
        protected(&GaussianNoise::new(1.0).unwrap(), &Array2::zeros((ROWS, 24)), 3),
        protected(&GaussianNoise::new(1.0).unwrap(), &Array2::zeros((ROWS / 16, 16 * 24)), 4)
            .into_shape_with_order((ROWS, 24))
            .unwrap(),
        noise_on(&units(ROWS, 24, 5), 0),
    ];
    for noise in batches {
        let covariance = noise.t().dot(&noise) / ROWS as f32;
        for ((a, b), &entry) in covariance.indexed_iter() {
            let (expected, spread) = if a == b { (1.0, 2_f32.sqrt()) } else { (0.0, 1.0) };
            assert!((entry - expected).abs() < 5.0 * spread / (ROWS as f32).sqrt(), "{a} {b}: {entry}");
        }
    }
}

/// Box–Muller pairs stand half a block apart; none of their moments up to the fourth betrays it.
#[test]
fn the_two_numbers_of_a_pair_are_independent() {
    let noise = protected(&GaussianNoise::new(1.0).unwrap(), &Array2::zeros((4000, 512)), 6);
    let (x, y) = noise.view().split_at(Axis(1), 256);
    let n = x.len() as f32;
    let (x2, y2) = (x.mapv(|x| x * x - 1.0), y.mapv(|y| y * y - 1.0));
    for (product, spread) in
        [(&x * &y, 1.0), (&x2 * &y2, 2.0), (&x * &y2, 2_f32.sqrt()), (&x2 * &y, 2_f32.sqrt())]
    {
        let mean = product.iter().map(|&x| f64::from(x)).sum::<f64>() as f32 / n;
        assert!(mean.abs() < 4.5 * spread / n.sqrt(), "{mean}");
    }
}

#[test]
fn the_documented_norms_and_cosines_hold() {
    let mut cells = 0;
    for line in include_str!("../src/gaussian.rs").lines() {
        let numbers: Vec<f32> = line.split('|').filter_map(|cell| cell.trim().parse().ok()).collect();
        let [dim, figures @ ..] = &numbers[..] else { continue };
        for (sigma, figures) in [0.01, 0.03, 0.1].into_iter().zip(figures.chunks(2)) {
            let vectors = units(200, *dim as usize, 7);
            let noisy = protected(&GaussianNoise::new(sigma).unwrap(), &vectors, 8);
            let norms = (&noisy - &vectors).rows().into_iter().map(norm).sum::<f32>() / 200.0;
            let cosines = (&noisy * &vectors).sum_axis(Axis(1)) / noisy.map_axis(Axis(1), norm);
            let cosine = cosines.mean().unwrap();
            assert!((norms - figures[0]).abs() < 0.015, "{dim} {sigma}: {norms}");
            assert!((cosine - figures[1]).abs() < 0.012, "{dim} {sigma}: {cosine}");
            cells += 1;
        }
    }
    assert_eq!(cells, 12);
}

/// The mean of 64 releases: what is left of the noise, as a part of one release's.
fn left_after_averaging(noise: &dyn Defense) -> f32 {
    let vectors = units(20, DIM, 9);
    let mut sum = Array2::<f32>::zeros(vectors.dim());
    for release in 0..64 {
        // Each release embeds again, in another batch: the last bits differ.
        sum += &protected(noise, &moved(&vectors, 1e-6, 1000 + release), release);
    }
    let error = (&(sum / 64.0) - &vectors).rows().into_iter().map(norm).sum::<f32>() / 20.0;
    error / (0.05 * (DIM as f32).sqrt())
}

#[test]
fn averaging_works_on_fresh_noise_and_not_on_keyed_noise() {
    let fresh = left_after_averaging(&GaussianNoise::new(0.05).unwrap());
    assert!((fresh - 1.0 / 8.0).abs() < 0.01, "{fresh}");
    let keyed = left_after_averaging(&keyed(0.05));
    assert!((keyed - 1.0).abs() < 0.03, "{keyed}");
}

/// How much the noise of two versions differs, as a part of its own norm: the median, and the most.
fn differences(distance: f32) -> (f32, f32) {
    let vectors = units(400, DIM, 10);
    let (one, other) = (noise_on(&vectors, 0), noise_on(&moved(&vectors, distance, 11), 0));
    let parts = (&one - &other).map_axis(Axis(1), norm) / one.map_axis(Axis(1), norm);
    let mut parts = parts.to_vec();
    parts.sort_by(f32::total_cmp);
    (parts[200], parts[399])
}

#[test]
fn what_batching_changes_changes_keyed_noise_as_little() {
    // The documented figures are 1.5 and 13 % at 1e-4, and in proportion.
    for distance in [1e-6, 1e-5, 1e-4] {
        let (median, most) = differences(distance);
        assert!(
            median < 200.0 * distance && most < 2000.0 * distance,
            "{distance}: {median}, at most {most}"
        );
    }
    assert!(differences(1e-2).0 > 1.0, "other noise");
}

/// The part of pairs at this distance whose noise agrees for the most part.
fn sharing(distance: f32, pairs: usize) -> f64 {
    let vectors = units(pairs, 64, 12);
    let (one, other) = (noise_on(&vectors, 0), noise_on(&moved(&vectors, distance, 13), 0));
    let correlation =
        (&one * &other).sum_axis(Axis(1)) / (one.map_axis(Axis(1), norm) * other.map_axis(Axis(1), norm));
    correlation.iter().filter(|x| **x > 0.7).count() as f64 / pairs as f64
}

#[test]
fn texts_that_are_merely_alike_share_no_noise() {
    assert!(sharing(0.02, 2000) < 0.02);
    assert_eq!(sharing(0.05, 2000), 0.0);
}

#[test]
fn keyed_noise_depends_on_key_sigma_and_id_alone() {
    let vectors = units(3, DIM, 14);
    let with = |noise: &GaussianNoise, role, ids: [&str; 3]| {
        let mut vectors = vectors.clone();
        with_ids(noise, role, &ids, &mut vectors).unwrap();
        (vectors - &vectors_of(14)) / 0.1
    };
    let ids = ["a", "b", "a"];
    let noise = with(&keyed(0.1), Role::Document, ids);
    let close = |a: &Array1<f32>, b: &Array1<f32>| norm((a - b).view()) < 1e-4 * norm(a.view());
    let row = |noise: &Array2<f32>, at| noise.row(at).to_owned();
    assert!(close(&row(&noise, 0), &row(&noise, 2)), "one id, one noise");
    assert!(!close(&row(&noise, 0), &row(&noise, 1)));
    assert_eq!(noise, with(&keyed(0.1), Role::Query, ids), "roles share it");
    let turned = with(&keyed(0.1), Role::Document, ["b", "a", "b"]);
    assert!(close(&row(&noise, 0), &row(&turned, 1)));

    let other_key = GaussianNoise::keyed(&Key::from_bytes([9; 32]), 0.1).unwrap();
    assert!(!close(&row(&noise, 0), &row(&with(&other_key, Role::Document, ids), 0)));
    let other_sigma = with(&keyed(0.2), Role::Document, ids) / 2.0;
    assert!(!close(&row(&noise, 0), &row(&other_sigma, 0)), "it would show what the vector is");
}

fn vectors_of(seed: u64) -> Array2<f32> {
    units(3, DIM, seed)
}

#[test]
fn ids_that_do_not_fit_are_refused_and_nothing_is_changed() {
    let mut vectors = vectors_of(15);
    let refusal = with_ids(&keyed(0.1), Role::Document, &["a", "b"], &mut vectors);
    assert!(matches!(refusal, Err(Error::RowIds { rows: 3, ids: 2 })), "{refusal:?}");
    assert_eq!(vectors, vectors_of(15));
    vectors[[1, 3]] = f32::NAN;
    let refusal = with_ids(&keyed(0.1), Role::Document, &["a", "b", "c"], &mut vectors);
    assert!(matches!(refusal, Err(Error::NotFinite { row: 1 })), "{refusal:?}");
    assert_eq!(vectors.row(0), vectors_of(15).row(0));
    with_ids::<&str>(&keyed(0.1), Role::Document, &[], &mut Array2::zeros((0, 5))).unwrap();
}

#[test]
fn ids_go_through_stacks_and_pointers_and_make_no_difference_to_fresh_noise() {
    let ids = ["a", "b", "c"];
    let noise = || keyed(0.1).on(Role::Document);
    let mut expected = vectors_of(15);
    with_ids(&noise(), Role::Document, &ids, &mut expected).unwrap();
    let (boxed, shared) = (Box::new(noise()) as Box<dyn Defense>, Arc::new(noise()) as Arc<dyn Defense>);
    let fresh = GaussianNoise::new(0.0).unwrap();
    for defense in [
        Stack::new().with(boxed),
        Stack::new().with(Stack::new()).with(shared),
        Stack::new().with(fresh).with(Stack::new().with(noise())),
    ] {
        let mut vectors = vectors_of(15);
        with_ids(&defense, Role::Document, &ids, &mut vectors).unwrap();
        assert_eq!(vectors, expected, "{defense:?}");
        assert!(defense.uses_ids(Role::Document) && !defense.uses_ids(Role::Query), "{defense:?}");
    }
    let fresh = GaussianNoise::new(0.1).unwrap();
    let mut vectors = vectors_of(15);
    with_ids(&fresh, Role::Document, &ids, &mut vectors).unwrap();
    assert_eq!(vectors, protected(&fresh, &vectors_of(15), 0));
    assert!(!fresh.uses_ids(Role::Document) && !keyed(0.0).uses_ids(Role::Document));
}

fn with_ids<I: AsRef<[u8]>>(
    defense: &dyn Defense,
    role: Role,
    ids: &[I],
    vectors: &mut Array2<f32>,
) -> Result<(), Error> {
    let ids: Vec<&[u8]> = ids.iter().map(AsRef::as_ref).collect();
    defense.protect_with_ids(role, &ids, vectors.view_mut(), &mut Rng::seeded(0))
}

#[test]
fn noise_on_one_role_leaves_the_other_as_it_was() {
    let vectors = units(3, DIM, 16) * 2.0;
    let noises = [GaussianNoise::new(0.1).unwrap(), keyed(0.1)];
    for noise in noises.into_iter().flat_map(|noise| [noise.clone(), noise.renormalize(true)]) {
        for (covered, other) in [(Role::Document, Role::Query), (Role::Query, Role::Document)] {
            let noise = noise.clone().on(covered);
            let with = |role| {
                let mut vectors = vectors.clone();
                noise.protect(role, vectors.view_mut(), &mut Rng::seeded(0)).unwrap();
                vectors
            };
            assert_eq!(with(other), vectors, "{noise}");
            assert_ne!(with(covered), vectors, "{noise}");
        }
    }
}

#[test]
fn renormalizing_gives_norm_1_and_the_same_direction() {
    let vectors = units(5, DIM, 17);
    for noise in [GaussianNoise::new(0.1).unwrap(), keyed(0.1)] {
        let plain = protected(&noise, &vectors, 1);
        let scaled = protected(&noise.renormalize(true), &vectors, 1);
        for (plain, scaled) in plain.rows().into_iter().zip(scaled.rows()) {
            assert!((norm(scaled) - 1.0).abs() < 1e-6);
            assert!((plain.dot(&scaled) / norm(plain) - 1.0).abs() < 1e-6);
        }
    }
    let silent = GaussianNoise::new(0.0).unwrap().renormalize(true);
    assert_eq!(protected(&silent, &Array2::zeros((2, 3)), 0), Array2::<f32>::zeros((2, 3)));
}

#[test]
fn each_kind_of_noise_claims_what_it_keeps() {
    let fresh = || GaussianNoise::new(0.1).unwrap();
    let silent = || GaussianNoise::new(0.0).unwrap();
    let on_queries = Guarantee::GaussianMechanismOn { role: Role::Query, sigma: 0.1 };
    let table = [
        (fresh(), Guarantee::GaussianMechanism { sigma: 0.1 }),
        (fresh().renormalize(true), Guarantee::GaussianMechanism { sigma: 0.1 }),
        (fresh().on(Role::Query), on_queries),
        (fresh().on(Role::Query).renormalize(true), on_queries),
        (keyed(0.1), Guarantee::None),
        (keyed(0.1).on(Role::Document), Guarantee::None),
        (silent().on(Role::Document), Guarantee::Isometry),
        (silent().renormalize(true), Guarantee::None),
        (keyed(0.0), Guarantee::Isometry),
    ];
    for (noise, expected) in table {
        assert_eq!(noise.guarantee(), expected, "{noise}");
    }
    // Keyed noise depends on the vector, so it is no isometry, and what follows covers nothing.
    assert_eq!(Stack::new().with(keyed(0.1)).with(fresh()).guarantee(), Guarantee::None);
    let rotation = Rotation::deferred(&key());
    assert_eq!(Stack::new().with(rotation).with(fresh().on(Role::Query)).guarantee(), on_queries);
}

#[test]
fn an_imitation_has_all_but_the_key() {
    let noise = keyed(0.1).on(Role::Query).renormalize(true);
    let imitation = noise.imitation(&mut Rng::seeded(1)).unwrap().to_string();
    let fingerprint = key().fingerprint();
    assert!(noise.to_string().contains(&fingerprint) && !imitation.contains(&fingerprint));
    assert!(imitation.ends_with(", on=queries, renormalize=true)"), "{imitation}");
    assert!(!format!("{noise:?}").contains("secret"));
}

#[test]
fn specs_are_read_and_printed() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, key().to_text().as_bytes()).unwrap();
    let (path, fingerprint) = (file.path().display(), key().fingerprint());
    let table = [
        ("gaussian(sigma=0.1, on=both, renormalize=false)".into(), "gaussian(sigma=0.1)".into()),
        (
            "gaussian(renormalize=true, on=queries, sigma=1)".into(),
            "gaussian(sigma=1, on=queries, renormalize=true)".into(),
        ),
        ("gaussian(sigma=0.1,on=documents)".into(), "gaussian(sigma=0.1, on=documents)".into()),
        (
            format!("gaussian(key=file:{path}, sigma=0.1, on=documents)"),
            format!("gaussian(sigma=0.1, key=fingerprint:{fingerprint}, on=documents)"),
        ),
    ];
    for (spec, printed) in table {
        let (spec, printed): (String, String) = (spec, printed);
        assert_eq!(spec.parse::<Stack>().unwrap().to_string(), printed);
    }
    let table = [
        ("gaussian(sigma=1, on=query)", 22, "`on` should be documents, queries or both"),
        ("gaussian(sigma=1, renormalize=yes)", 31, "`renormalize` should be true or false"),
        ("gaussian(sigma=1, key=NAME)", 23, "a key is named as"),
    ];
    for (spec, column, expected) in table {
        let Err(Error::Spec { position, message }) = spec.parse::<Stack>() else { panic!("{spec}") };
        assert!(message.contains(expected) && position == column, "{spec}: {position}, {message}");
    }
}

/// Stored vectors outlive an upgrade: keyed noise never changes. Another way to draw it needs another
/// version in the label that it is derived under, and a file of its own.
#[test]
fn keyed_noise_is_the_golden_one() {
    let mut actual = String::new();
    for dim in [1, 8, DIM] {
        // Small whole numbers over a power of two: the input does not depend on any sampler.
        let vectors = Array2::from_shape_fn((4, dim), |(row, column)| {
            ((row * 7919 + column * 104_729) % 61) as f32 / 32.0 - 0.9375
        });
        let mut by_id = vectors.clone();
        let ids: [&[u8]; 4] = [b"", b"1", "ä".as_bytes(), &[0, 255]];
        with_ids(&keyed(0.05), Role::Document, &ids, &mut by_id).unwrap();
        writeln!(actual, "dim {dim}\nby id\n{}", summary(&by_id)).unwrap();
        writeln!(actual, "by vector\n{}", summary(&protected(&keyed(0.05), &vectors, 0))).unwrap();
    }
    assert_eq!(actual, include_str!("data/gaussian-v1.txt"));
}

fn summary(vectors: &Array2<f32>) -> String {
    let mut text = String::new();
    for row in vectors.rows().into_iter().take(2) {
        let digits: Vec<_> = row.iter().take(8).map(|x| format!("{:08x}", x.to_bits())).collect();
        writeln!(text, "{}", digits.join(" ")).unwrap();
    }
    let mut hash = Sha256::new();
    vectors.iter().for_each(|x| hash.update(x.to_le_bytes()));
    text.push_str("sha256 ");
    hash.finalize().iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_batch_of_keyed_noise_is_its_rows_one_by_one(rows in 1..6_usize, dim in 1..40_usize, seed: u64) {
        let vectors = normals(rows, dim, seed);
        let together = protected(&keyed(0.1), &vectors, 0);
        for row in 0..rows {
            let alone = protected(&keyed(0.1), &vectors.slice(s![row..=row, ..]).to_owned(), 1);
            prop_assert_eq!(alone.row(0), together.row(row));
        }
    }

    #[test]
    fn fresh_noise_does_not_depend_on_the_layout(rows in 1..6_usize, dim in 1..300_usize, seed: u64) {
        let noise = GaussianNoise::new(1.0).unwrap();
        let expected = protected(&noise, &Array2::zeros((rows, dim)), seed);
        let mut turned = Array2::zeros((dim, rows)).reversed_axes();
        noise.protect(Role::Document, turned.view_mut(), &mut Rng::seeded(seed)).unwrap();
        prop_assert_eq!(turned, expected);
    }
}

/// The table in the documentation of `GaussianNoise`: the noise's norm and the cosine, to the last digit.
#[test]
fn the_documented_norms_and_cosines_are_those_of_the_formula() {
    let source = include_str!("../src/gaussian.rs");
    let rows: Vec<Vec<&str>> = source
        .lines()
        .filter_map(|line| line.strip_prefix("/// | "))
        .map(|line| line.trim_end_matches('|').split('|').map(str::trim).collect())
        .filter(|row: &Vec<_>| row[0].parse::<f64>().is_ok())
        .collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), ["384", "768", "1536", "3072"]);
    for row in rows {
        let dim: f64 = row[0].parse().unwrap();
        let expected = [0.01, 0.03, 0.1].map(|sigma: f64| {
            let norm = sigma * dim.sqrt();
            [format!("{norm:.2}"), format!("{:.3}", 1.0 / (1.0 + norm * norm).sqrt())]
        });
        assert_eq!(row[1..], expected.concat(), "{dim} dimensions");
    }
}
