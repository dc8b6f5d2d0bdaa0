//! Rotations are drawn uniformly from all orthogonal matrices, and those of different keys and
//! dimensions have nothing to do with each other.

#![allow(clippy::unwrap_used)]

mod common;

use embosk_defenses::{Defense, Key, Rng, Role, Rotation};
use ndarray::{Array2, s};

use common::{kolmogorov_smirnov, normal_cdf};

/// How far the samples' mean is from `expected`, in standard errors.
fn standard_errors(samples: &[f64], expected: f64) -> f64 {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let variance = samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean - expected) / (variance / n).sqrt()
}

fn key(number: u32) -> Key {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    Key::from_bytes(bytes)
}

/// The matrix, `[dim, dim]`, transposed or not: the distribution is the same.
fn matrix(number: u32, dim: usize) -> Array2<f64> {
    let mut identity = Array2::eye(dim);
    let rotation = Rotation::new(&key(number), dim).unwrap();
    rotation.protect(Role::Document, identity.view_mut(), &mut Rng::seeded(0)).unwrap();
    identity.mapv(f64::from)
}

/// A coordinate of a uniform point on the sphere in `dim` dimensions has the density
/// (1 − x²)^((dim − 3) / 2), up to a factor.
#[test]
fn coefficients_are_distributed_as_on_a_sphere() {
    let cdf_5 = |x: f64| 0.5 + 3.0 / 4.0 * (x - x.powi(3) / 3.0);
    let cdf_7 = |x: f64| 0.5 + 15.0 / 16.0 * (x - 2.0 / 3.0 * x.powi(3) + x.powi(5) / 5.0);
    let corners = |dim: usize| [[0, 0], [dim - 1, 0], [0, dim - 1], [dim - 1, dim - 1], [1, 2]];
    let matrices: Vec<_> = (0..2000).map(|number| (matrix(number, 5), matrix(number, 7))).collect();
    for (at_5, at_7) in corners(5).into_iter().zip(corners(7)) {
        let five = matrices.iter().map(|(five, _)| five[at_5]).collect();
        let seven = matrices.iter().map(|(_, seven)| seven[at_7]).collect();
        let distances = [kolmogorov_smirnov(five, cdf_5), kolmogorov_smirnov(seven, cdf_7)];
        assert!(distances.iter().all(|distance| *distance < 1.95), "{at_5:?}, {at_7:?}: {distances:?}");
    }
}

/// In many dimensions the coordinates of a column, times √dim, are close to independent normals.
#[test]
fn first_and_last_columns_are_normal_in_many_dimensions() {
    const DIM: usize = 200;
    let matrices: Vec<_> = (0..20).map(|number| matrix(number, DIM)).collect();
    for column in [0, DIM - 1] {
        let coordinates = matrices.iter().flat_map(|matrix| matrix.column(column).to_vec());
        let samples = coordinates.map(|x| x * (DIM as f64).sqrt()).collect();
        let distance = kolmogorov_smirnov(samples, normal_cdf);
        assert!(distance < 1.95, "column {column}: {distance}");
    }
}

/// The traces of the powers of a Haar matrix are sums over its eigenvalues, and close to independent
/// normals: tr Qʲ has the variance j, and the mean 1 where j is even, else 0 (Diaconis and Shahshahani,
/// J. Appl. Probab. 31A, 1994). Without the sign correction the mean of tr Q would be far from 0.
#[test]
fn traces_of_powers_have_the_moments_of_the_haar_measure() {
    const DIM: usize = 12;
    let matrices: Vec<_> = (0..2000).map(|number| matrix(number, DIM)).collect();
    let mut powers = matrices.clone();
    for j in 1..=4_u8 {
        let (mean, variance) = (f64::from(u8::from(j % 2 == 0)), f64::from(j));
        let traces: Vec<f64> = powers.iter().map(|power| power.diag().sum()).collect();
        let squares: Vec<f64> = traces.iter().map(|trace| (trace - mean).powi(2)).collect();
        assert!(standard_errors(&traces, mean).abs() < 4.0, "mean of tr Q^{j}");
        assert!(standard_errors(&squares, variance).abs() < 4.0, "variance of tr Q^{j}");
        let scaled = traces.iter().map(|trace| (trace - mean) / variance.sqrt()).collect();
        let distance = kolmogorov_smirnov(scaled, normal_cdf);
        assert!(distance < 1.95, "tr Q^{j}: {distance}");
        powers.iter_mut().zip(&matrices).for_each(|(power, matrix)| *power = power.dot(matrix));
    }
}

#[test]
fn half_of_all_are_reflections() {
    for dim in [1, 2, 4, 9] {
        let count = (0..1000).filter(|number| determinant(matrix(*number, dim)) < 0.0).count();
        // Four standard deviations of 1000 tosses.
        assert!((437..=563).contains(&count), "dimension {dim}: {count} of 1000");
    }
}

/// By elimination with pivots.
fn determinant(mut m: Array2<f64>) -> f64 {
    let dim = m.nrows();
    let mut product = 1.0;
    for k in 0..dim {
        let pivot = (k..dim).max_by(|a, b| m[[*a, k]].abs().total_cmp(&m[[*b, k]].abs())).unwrap();
        if pivot != k {
            product = -product;
            (0..dim).for_each(|column| m.swap([k, column], [pivot, column]));
        }
        product *= m[[k, k]];
        for row in k + 1..dim {
            let factor = m[[row, k]] / m[[k, k]];
            (k..dim).for_each(|column| m[[row, column]] -= factor * m[[k, column]]);
        }
    }
    product
}

/// The sum of the products of two independent matrices' coefficients has the mean 0 and the variance 1,
/// as the trace of a Haar matrix. The keys differ in a bit or two.
#[test]
fn different_keys_are_uncorrelated() {
    let matrices: Vec<_> = (0..40).map(|number| matrix(number, 64)).collect();
    let products: Vec<f64> = (0..matrices.len())
        .flat_map(|a| (0..a).map(move |b| (a, b)))
        .map(|(a, b)| (&matrices[a] * &matrices[b]).sum())
        .collect();
    assert!(products.iter().all(|product| product.abs() < 4.5));
    assert!(standard_errors(&products, 0.0).abs() < 4.0);
    let squares: Vec<f64> = products.iter().map(|product| product * product).collect();
    assert!(standard_errors(&squares, 1.0).abs() < 4.0);
    assert!(kolmogorov_smirnov(products, normal_cdf) < 1.95);
}

#[test]
fn dimensions_under_one_key_are_uncorrelated() {
    // The common block of 32 and 64 dimensions: variance 32 · 32 / (32 · 64).
    let products: Vec<f64> = (0..100)
        .map(|number| (&matrix(number, 32) * &matrix(number, 64).slice(s![..32, ..32])).sum() * 2_f64.sqrt())
        .collect();
    assert!(products.iter().all(|product| product.abs() < 4.5));
    assert!(kolmogorov_smirnov(products, normal_cdf) < 1.95);
}

/// Small dimensions are a law for all inputs in `laws.rs`; these are those of models, and two primes.
#[test]
fn dimensions_of_models_keep_inner_products_and_are_restored() {
    for dim in [127, 384, 769, 1024] {
        let mut rng = Rng::seeded(dim as u64);
        let mut normals = rng.standard_normals();
        let mut vectors = Array2::from_shape_simple_fn((8, dim), || normals.draw() as f32);
        vectors.rows_mut().into_iter().for_each(|mut row| row /= row.dot(&row).sqrt());

        let rotation = Rotation::new(&key(1), dim).unwrap();
        let mut rotated = vectors.clone();
        rotation.protect(Role::Document, rotated.view_mut(), &mut Rng::seeded(0)).unwrap();
        let products = rotated.dot(&rotated.t()) - vectors.dot(&vectors.t());
        assert!(products.iter().all(|x| x.abs() < 1e-5), "dimension {dim}");
        rotation.restore(rotated.view_mut()).unwrap();
        assert!((&rotated - &vectors).iter().all(|x| x.abs() < 1e-5), "dimension {dim}");
    }
}
