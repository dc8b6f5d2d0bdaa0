//! The random numbers: their distribution, and the ones that a storage format depends on.

#![allow(clippy::unwrap_used)]

mod common;

use std::fmt::Write as _;

use embosk_defenses::{Defense, GaussianNoise, Key, Rng, Role, Rotation};
use ndarray::Array2;
use rand_distr::Distribution as _;
use sha2::{Digest as _, Sha256};

use common::{kolmogorov_smirnov, normal_cdf};

fn rotation_of(key: [u8; 32], dim: usize) -> Array2<f32> {
    let mut matrix = Array2::eye(dim);
    let rotation = Rotation::new(&Key::from_bytes(key), dim).unwrap();
    // A row eₖ becomes the matrix' k-th column.
    rotation.protect(Role::Document, matrix.view_mut(), &mut Rng::seeded(0)).unwrap();
    matrix.reversed_axes()
}

#[test]
fn noise_is_normal_with_the_stated_sigma() {
    let mut vectors = Array2::<f32>::zeros((100, 501));
    let noise = GaussianNoise::new(0.05).unwrap();
    noise.protect(Role::Document, vectors.view_mut(), &mut Rng::seeded(1)).unwrap();

    let samples: Vec<f64> = vectors.iter().map(|&x| f64::from(x) / 0.05).collect();
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let variance = samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    assert!(mean.abs() < 4.0 / n.sqrt(), "{mean}");
    assert!((variance - 1.0).abs() < 4.0 * (2.0 / n).sqrt(), "{variance}");
    let distance = kolmogorov_smirnov(samples, normal_cdf);
    assert!(distance < 1.95, "{distance}");
}

#[test]
fn neighbouring_normals_are_uncorrelated() {
    let mut rng = Rng::seeded(2);
    let normals: Vec<f64> = rng.standard_normals().take(40_000).collect();
    for lag in 1..4 {
        let sum: f64 = normals.iter().zip(&normals[lag..]).map(|(a, b)| a * b).sum();
        assert!(sum.abs() / (normals.len() as f64).sqrt() < 4.0, "lag {lag}: {sum}");
    }
}

#[test]
fn noise_is_fresh_for_every_call() {
    let noise = GaussianNoise::new(0.05).unwrap();
    let mut rng = Rng::seeded(1);
    let mut draw = || {
        let mut vectors = Array2::<f32>::zeros((2, 8));
        noise.protect(Role::Document, vectors.view_mut(), &mut rng).unwrap();
        vectors
    };
    assert_ne!(draw(), draw());
    let from_os = || Rng::from_os().unwrap().standard_normals().draw().to_bits();
    assert_ne!(from_os(), from_os());
}

#[test]
fn the_generator_serves_other_distributions() {
    let mut rng = Rng::seeded(3);
    let samples = rand_distr::StandardNormal.sample_iter(&mut rng).take(20_000).collect();
    assert!(kolmogorov_smirnov(samples, normal_cdf) < 1.95);
}

/// In three dimensions each coordinate of a point on the sphere is uniform (Archimedes), so every
/// coefficient of a rotation is, the sign-corrected ones too.
#[test]
fn rotations_are_uniform_over_all() {
    let keys = 0..2000_u16;
    let rotations: Vec<_> = keys
        .map(|number| {
            let mut key = [0; 32];
            key[..2].copy_from_slice(&number.to_le_bytes());
            rotation_of(key, 3)
        })
        .collect();
    for at in (0..3).flat_map(|row| (0..3).map(move |column| [row, column])) {
        let samples = rotations.iter().map(|matrix| f64::from(matrix[at])).collect();
        let distance = kolmogorov_smirnov(samples, |x| f64::midpoint(x, 1.0));
        assert!(distance < 1.95, "{at:?}: {distance}");
    }
    let determinants: Vec<_> = rotations.iter().map(determinant).collect();
    assert!(determinants.iter().all(|x| (x.abs() - 1.0).abs() < 1e-5));
    let reflections = determinants.iter().filter(|x| **x < 0.0).count();
    assert!((900..1100).contains(&reflections), "{reflections} of 2000");
}

fn determinant(m: &Array2<f32>) -> f32 {
    let minor = |a: usize, b: usize| m[[1, a]] * m[[2, b]] - m[[1, b]] * m[[2, a]];
    m[[0, 0]] * minor(1, 2) - m[[0, 1]] * minor(0, 2) + m[[0, 2]] * minor(0, 1)
}

/// Stored vectors outlive an upgrade: these coefficients never change. Another way to draw them needs
/// another version in the label that they are derived under, and a file of its own.
#[test]
fn rotations_are_the_golden_ones() {
    let mut actual = String::new();
    for dim in [1, 8, 384] {
        actual += &summary(dim);
    }
    assert_eq!(actual, include_str!("data/rotation-v1.txt"));
}

fn summary(dim: usize) -> String {
    let matrix = rotation_of(std::array::from_fn(|place| place as u8), dim);
    let mut text = format!("dim {dim}\n");
    for row in matrix.rows().into_iter().take(2) {
        let digits: Vec<_> = row.iter().take(8).map(|x| format!("{:08x}", x.to_bits())).collect();
        writeln!(text, "{}", digits.join(" ")).unwrap();
    }
    let mut hash = Sha256::new();
    matrix.iter().for_each(|x| hash.update(x.to_le_bytes()));
    text.push_str("sha256 ");
    hash.finalize().iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
    text.push('\n');
    text
}
