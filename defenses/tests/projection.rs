//! Projections: their laws, what they are fitted to, and the numbers that a storage format depends on.

#![allow(clippy::unwrap_used)]

#[path = "common/damage.rs"]
mod damage;

use std::fmt::Write as _;

use embosk_defenses::{
    Codes, Defense, Error, GaussianNoise, Guarantee, Key, Projection, ProjectionFit, Quantization, Rng, Role,
    Rotation, Stack,
};
use ndarray::{Array1, Array2, ArrayView2, Axis, array, s};
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

/// From `tests/golden/projection.py`. Stored vectors and fits depend on it: it never changes.
const GOLDENS: &str = include_str!("data/projection-v1.txt");

/// Normals with a standard deviation that falls from coordinate to coordinate, about a mean that is not 0.
fn batch(rows: usize, dim: usize, seed: u64) -> Array2<f32> {
    let mut rng = Rng::seeded(seed);
    let mut normals = rng.standard_normals();
    let mut vectors = Array2::from_shape_simple_fn((rows, dim), || normals.draw() as f32);
    for (at, mut column) in vectors.columns_mut().into_iter().enumerate() {
        column.mapv_inplace(|x| 0.3 + x / (1.0 + at as f32));
    }
    vectors
}

fn projected(defense: &dyn Defense, vectors: ArrayView2<'_, f32>) -> Array2<f32> {
    defense.protect_owned(Role::Document, vectors.to_owned(), &mut Rng::seeded(0)).unwrap()
}

fn key() -> Key {
    Key::from_bytes(std::array::from_fn(|place| place as u8))
}

fn far(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    assert_eq!(a.dim(), b.dim());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_projection_and_then_its_expansion_is_idempotent(
        dim in 2_usize..40, share in 0.05_f64..1.0, kind in 0..4, seed in any::<u64>(),
    ) {
        let dims = ((dim as f64 * share) as usize).max(1);
        let sample = batch(120, dim, seed);
        let queries = batch(20, dim, seed ^ 1);
        let projection = match kind {
            0 => Projection::fit(sample.view(), dims).unwrap(),
            1 => ProjectionFit::new(dims).whiten(true).fit(sample.view()).unwrap(),
            2 => ProjectionFit::new(dims).queries(queries.view(), 0.5).fit(sample.view()).unwrap(),
            _ => Projection::keyed(&key(), dims).unwrap(),
        };
        let coarse = projected(&projection, queries.view());
        let expanded = projection.expand(coarse.view()).unwrap();
        prop_assert_eq!(expanded.dim(), (20, dim));
        prop_assert!(far(&projected(&projection, expanded.view()), &coarse) < 1e-4);
        let again = projection.expand(projected(&projection, expanded.view()).view()).unwrap();
        prop_assert!(far(&again, &expanded) < 1e-4);
    }

    #[test]
    fn no_distance_becomes_larger_and_a_stack_is_its_parts_in_turn(
        dim in 3_usize..30, dims in 1_usize..3, seed in any::<u64>(),
    ) {
        let sample = batch(60, dim, seed);
        let projection = Projection::fit(sample.view(), dims).unwrap();
        let rotation = || Rotation::deferred(&key());
        let coarse = projected(&projection, sample.view());
        for (a, b) in (0..20).zip(20..40) {
            let before = &sample.row(a) - &sample.row(b);
            let after = &coarse.row(a) - &coarse.row(b);
            prop_assert!(after.dot(&after) <= before.dot(&before) * 1.0001 + 1e-6);
        }
        let stack = Stack::new().with(projection).with(rotation());
        prop_assert_eq!(projected(&stack, sample.view()), projected(&rotation(), coarse.view()));
        prop_assert_eq!(stack.dimension(dim).unwrap(), dims);
    }
}

#[test]
fn a_fit_finds_the_directions_of_largest_variance() {
    // Along (3, 4) / 5 the sample varies by 4, across by 0.04, and it never leaves the plane at height 1.
    let turned = |along: f32, across: f32| [0.6 * along - 0.8 * across, 0.8 * along + 0.6 * across, 1.0];
    let sample: Array2<f32> =
        array![turned(2.0, 0.2), turned(-2.0, 0.2), turned(2.0, -0.2), turned(-2.0, -0.2)];
    let projection = Projection::fit(sample.view(), 2).unwrap();
    let variances = projection.variances().unwrap();
    assert!((variances[0] - 4.0).abs() < 1e-5 && (variances[1] - 0.04).abs() < 1e-5, "{variances:?}");
    // The largest coordinate of each component is positive.
    let coarse = projected(&projection, array![[0.6, 0.8, 1.0], [0.8, -0.6, 7.0]].view());
    assert!(far(&coarse, &array![[1.0, 0.0], [0.0, 1.0]]) < 1e-5, "{coarse}");
    assert!(far(&projection.expand(array![[0.0, 0.0]].view()).unwrap(), &array![[0.0, 0.0, 1.0]]) < 1e-6);
}

/// Whitened coordinates have equal variances, whose mean is that of the coordinates before; the first of them are
/// whitened among themselves.
#[test]
fn whitening_makes_all_variances_their_mean() {
    let sample = batch(4000, 12, 3);
    let plain = Projection::fit(sample.view(), 6).unwrap();
    let white = ProjectionFit::new(6).whiten(true).fit(sample.view()).unwrap();
    for dims in [6, 2] {
        let (plain, white) = (plain.first(dims).unwrap(), white.first(dims).unwrap());
        let mean = plain.variances().unwrap().iter().sum::<f32>() / dims as f32;
        let coarse = projected(&white, sample.view());
        assert_eq!(coarse.ncols(), dims);
        for column in coarse.columns() {
            let variance = column.iter().map(|x| x * x).sum::<f32>() / 4000.0;
            assert!((variance / mean - 1.0).abs() < 1e-3, "{variance} {mean}");
        }
    }
    assert_eq!((plain.guarantee(), white.guarantee()), (Guarantee::Contraction, Guarantee::None));
}

#[test]
fn queries_draw_components_to_where_they_vary() {
    let documents: Array2<f32> =
        array![[2.0, 0.1, 0.0], [-2.0, -0.1, 0.0], [0.0, 0.1, 1.0], [0.0, -0.1, -1.0]];
    let queries: Array2<f32> = array![[0.0, 3.0, 0.0], [0.0, -3.0, 0.0]];
    let first = |fit: ProjectionFit<'_>| {
        let projection = fit.fit(documents.view()).unwrap();
        projection.expand(array![[1.0]].view()).unwrap().row(0).to_vec()
    };
    let alone = first(ProjectionFit::new(1));
    let weighted = first(ProjectionFit::new(1).queries(queries.view(), 0.9));
    let unweighted = first(ProjectionFit::new(1).queries(queries.view(), 0.0));
    assert!(alone[0] > 0.99 && weighted[1] > 0.99 && unweighted[0] > 0.99, "{alone:?} {weighted:?}");
}

/// Noise after a projection has the variance `sigma²` on each of the few coordinates and no covariance, and so has
/// noise before it.
#[test]
fn noise_in_few_dimensions_has_the_covariance_that_is_claimed() {
    const ROWS: usize = 20_000;
    let sample = batch(200, 24, 5);
    let projection = Projection::fit(sample.view(), 5).unwrap();
    let noise = || GaussianNoise::new(0.1).unwrap();
    let after = Stack::new().with(projection.clone()).with(noise());
    let before = Stack::new().with(noise()).with(projection.clone());
    assert_eq!(after.guarantee(), Guarantee::GaussianMechanism { sigma: 0.1 });
    let row = sample.slice(s![..1, ..]);
    let many = row.broadcast((ROWS, 24)).unwrap();
    let clean = projected(&projection, row);
    for stack in [after, before] {
        let residuals = projected(&stack, many) - &clean;
        let covariance = residuals.t().dot(&residuals) / ROWS as f32;
        for ((a, b), value) in covariance.indexed_iter() {
            let expected = if a == b { 0.01 } else { 0.0 };
            // Four standard errors of a variance.
            assert!(
                (value - expected).abs() < 4.0 * 0.01 * (2.0 / ROWS as f32).sqrt(),
                "{stack}: {covariance}"
            );
        }
    }
}

#[test]
fn norms_and_products_are_kept_on_average_under_a_key() {
    let (a, b) = (batch(1, 64, 1), batch(1, 64, 2));
    let (mut square, mut product) = (0.0, 0.0);
    for number in 0..400_u32 {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        let projection = Projection::keyed(&Key::from_bytes(bytes), 16).unwrap();
        let [a, b] = [&a, &b].map(|vectors| projected(&projection, vectors.view()));
        square += a.row(0).dot(&a.row(0)) / 400.0;
        product += a.row(0).dot(&b.row(0)) / 400.0;
    }
    let expected = [a.row(0).dot(&a.row(0)), a.row(0).dot(&b.row(0))];
    assert!((square / expected[0] - 1.0).abs() < 0.06, "{square} {expected:?}");
    assert!((product - expected[1]).abs() < 0.1 * expected[0], "{product} {expected:?}");
}

#[test]
fn fewer_directions_of_a_key_are_the_first_of_more() {
    let vectors = batch(5, 20, 4);
    let [few, more] = [3, 8].map(|dims| projected(&Projection::keyed(&key(), dims).unwrap(), vectors.view()));
    let rescaled = more.slice(s![.., ..3]).mapv(|x| x * (8.0_f32 / 3.0).sqrt());
    assert!(far(&few, &rescaled) < 1e-5);
}

#[test]
fn a_key_gives_the_directions_that_were_stored() {
    let mut printed = String::new();
    for (dim, dims) in [(1, 1), (8, 3), (384, 16)] {
        let projection = Projection::keyed(&key(), dims).unwrap();
        // A row eₖ becomes the matrix' k-th column.
        let matrix = projected(&projection, Array2::eye(dim).view()).reversed_axes();
        writeln!(printed, "dim {dim} dims {dims}").unwrap();
        let mut hash = Sha256::new();
        for (number, row) in matrix.rows().into_iter().enumerate() {
            row.iter().for_each(|x| hash.update(x.to_le_bytes()));
            if number < 2 {
                let bits: Vec<_> = row.iter().take(8).map(|x| format!("{:08x}", x.to_bits())).collect();
                writeln!(printed, "{}", bits.join(" ")).unwrap();
            }
        }
        let digits: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(printed, "sha256 {digits}").unwrap();
    }
    assert_eq!(printed, GOLDENS.split_inclusive("fit ").next().unwrap().trim_end_matches("fit "));
}

fn stored() -> Vec<u8> {
    let digits = GOLDENS.trim_end().rsplit(' ').next().unwrap();
    let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap();
    digits.as_bytes().chunks(2).map(byte).collect()
}

#[test]
fn a_stored_fit_is_read_and_written_as_it_was() {
    let projection = Projection::from_bytes(&stored()).unwrap();
    assert_eq!(projection.to_bytes().unwrap(), stored());
    assert_eq!((projection.dims(), projection.variances().unwrap()), (2, &[2.0, 0.5][..]));
    // Whitened: the variances 2 and 0.5 have the mean 1.25.
    let coarse = projected(&projection, array![[1.1, 0.55, 1.0], [0.5, -0.25, 2.0]].view());
    let expected = [0.625_f32.sqrt(), 2.5_f32.sqrt()];
    assert!(far(&coarse, &array![[expected[0], 0.0], [0.0, expected[1]]]) < 1e-6, "{coarse}");
    let first = projection.first(1).unwrap();
    assert_eq!(first.to_bytes().unwrap(), stored(), "all components are stored");
    assert!(far(&projected(&first, array![[1.1, 0.55, 9.0]].view()), &array![[1.0]]) < 1e-6);

    let fitted = ProjectionFit::new(4).fit(batch(50, 9, 1).view()).unwrap();
    let again = Projection::from_bytes(&fitted.to_bytes().unwrap()).unwrap();
    assert_eq!(again.to_string(), fitted.to_string());
    assert_eq!(projected(&again, batch(3, 9, 2).view()), projected(&fitted, batch(3, 9, 2).view()));
}

#[test]
fn every_damage_of_a_fit_is_refused() {
    let golden = stored();
    let refused = |bytes: &[u8], what: &str| {
        assert!(matches!(Projection::from_bytes(bytes), Err(Error::Fit(_))), "{what}");
    };
    damage::each(&golden, refused);
    // With a checksum that is right: the shape, the numbers and the components are checked too.
    let content = |change: &dyn Fn(&mut [u8])| {
        let mut content = golden[..golden.len() - 8].to_vec();
        change(&mut content);
        let sum = Sha256::digest(&content);
        [content.as_slice(), &sum[..8]].concat()
    };
    assert!(Projection::from_bytes(&content(&|_| ())).is_ok());
    refused(&content(&|bytes| bytes[21..25].copy_from_slice(&0_u32.to_le_bytes())), "no dimension");
    refused(&content(&|bytes| bytes[25..29].copy_from_slice(&u32::MAX.to_le_bytes())), "too many components");
    refused(&content(&|bytes| bytes[29..33].copy_from_slice(&2_u32.to_le_bytes())), "an unknown flag");
    for (at, number) in [(33, f32::NAN), (45, -1.0), (53, 0.7), (53, f32::INFINITY)] {
        refused(&content(&|bytes| bytes[at..at + 4].copy_from_slice(&number.to_le_bytes())), "a number");
    }
}

#[test]
fn settings_and_samples_out_of_range_are_refused() {
    let sample = batch(6, 4, 1);
    let setting = |result: Result<Projection, Error>, expected: &str| {
        assert!(matches!(result, Err(Error::Setting { name, .. }) if name == expected), "{expected}");
    };
    for dims in [0, 5] {
        setting(Projection::fit(sample.view(), dims), "dims");
    }
    setting(Projection::fit(sample.slice(s![..3, ..]), 3), "sample");
    let weighted = |weight| ProjectionFit::new(2).queries(sample.view(), weight).fit(sample.view());
    for weight in [-0.1, 1.1, f64::NAN] {
        setting(weighted(weight), "weight");
    }
    let none = Array2::zeros((0, 4));
    setting(ProjectionFit::new(2).queries(none.view(), 0.5).fit(sample.view()), "queries");
    let other = ProjectionFit::new(2).queries(none.slice(s![.., ..3]), 0.5).fit(sample.view());
    assert!(matches!(other, Err(Error::Dimension { expected: 4, found: 3 })));
    let mut bad = sample.clone();
    bad[[2, 1]] = f32::NAN;
    assert!(matches!(Projection::fit(bad.view(), 2), Err(Error::NotFinite { row: 2 })));

    let fitted = Projection::fit(sample.view(), 3).unwrap();
    for dims in [0, 4] {
        setting(fitted.first(dims), "dims");
    }
    for dims in [0, 8193] {
        setting(Projection::keyed(&key(), dims), "dims");
    }
    let keyed = Projection::keyed(&key(), 5).unwrap();
    setting(keyed.first(2), "dims");
    let unknown = keyed.expand(Array2::zeros((1, 5)).view());
    assert!(matches!(unknown, Err(Error::Setting { name: "dim", .. })), "its dimension is not known yet");
    let narrow = keyed.protect_owned(Role::Query, sample.clone(), &mut Rng::seeded(0));
    assert!(matches!(narrow, Err(Error::Setting { name: "dims", .. })));
    projected(&keyed, Array2::zeros((1, 9)).view());
    let bound = keyed.protect_owned(Role::Query, Array2::zeros((1, 10)), &mut Rng::seeded(0));
    assert!(matches!(bound, Err(Error::Dimension { expected: 9, found: 10 })));
}

#[test]
fn a_spec_names_a_fit_or_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fit");
    let fitted = Projection::fit(batch(40, 8, 1).view(), 4).unwrap();
    std::fs::write(&path, fitted.to_bytes().unwrap()).unwrap();
    let path = path.to_str().unwrap();
    let parse = |spec: String| spec.parse::<Stack>();
    let whole = parse(format!("projection(fit=file:{path})")).unwrap();
    assert_eq!(whole.to_string(), fitted.to_string());
    assert_eq!(whole.fingerprint(), Stack::new().with(fitted.clone()).fingerprint());
    let two =
        parse(format!("projection(fit=file:{path}, dims=2) | gaussian(sigma=0.1, on=documents)")).unwrap();
    assert_eq!(two.dimension(8).unwrap(), 2);
    assert_eq!(two.guarantee(), Guarantee::GaussianMechanismOn { role: Role::Document, sigma: 0.1 });
    let queries = batch(3, 8, 2);
    let asked = two.protect_owned(Role::Query, queries.clone(), &mut Rng::seeded(1)).unwrap();
    assert_eq!(asked, projected(&fitted.first(2).unwrap(), queries.view()), "queries have no noise");
    assert!(two.check_fingerprint(&whole.fingerprint()).is_err(), "another number of components");

    let refusals = [
        (format!("projection(fit=file:{path}, dims=5)"), "`dims` should be from 1 to 4"),
        (format!("projection(fit=file:{path}, key=env:K)"), "not both"),
        ("projection(dims=4)".to_owned(), "needs `fit=file:PATH`"),
        ("projection(key=env:K)".to_owned(), "needs `dims=…`"),
        ("projection(fit=4)".to_owned(), "named as `file:PATH`"),
        ("projection(fit=fit:84375e6e)".to_owned(), "does not hold it"),
    ];
    for (spec, expected) in refusals {
        let refused = parse(spec.clone()).unwrap_err().to_string();
        assert!(refused.contains(expected), "{spec}: {refused}");
    }
}

#[test]
fn a_key_after_a_projection_is_undone_and_one_before_it_is_not() {
    let sample = batch(60, 10, 1);
    let projection = || Projection::fit(sample.view(), 4).unwrap();
    let after = Stack::new().with(projection()).with(Rotation::deferred(&key()));
    let mut turned = projected(&after, sample.view());
    assert!(after.undo_key(turned.view_mut()).unwrap());
    assert!(far(&turned, &projected(&projection(), sample.view())) < 1e-5);
    let before = Stack::new().with(Rotation::new(&key(), 10).unwrap()).with(projection());
    assert!(!before.undo_key(projected(&before, sample.view()).view_mut()).unwrap());
    let keyed = Stack::new().with(Projection::keyed(&key(), 4).unwrap());
    assert!(!keyed.undo_key(projected(&keyed, sample.view()).view_mut()).unwrap());
    assert!(keyed.imitation(&mut Rng::seeded(1)).is_some());
}

/// A fit alone decides what protected vectors are compared with; keys, noise and rounding do not.
#[test]
fn what_is_known_without_the_key_is_reduced() {
    let sample = batch(60, 10, 1);
    let projection = || Projection::fit(sample.view(), 4).unwrap();
    let noise = || GaussianNoise::new(0.5).unwrap();
    let coarse = projected(&projection(), sample.view());
    let stack = Stack::new().with(projection()).with(Rotation::deferred(&key())).with(noise());
    assert_eq!(stack.reduced(sample.clone()).unwrap(), coarse);
    assert_eq!(noise().reduced(sample.clone()).unwrap(), sample);
    let keyed = Stack::new().with(Projection::keyed(&key(), 4).unwrap()).with(noise());
    assert_eq!(keyed.reduced(sample.clone()).unwrap(), sample);
}

#[test]
fn coarse_vectors_are_encoded_as_others_are() {
    let sample = batch(60, 10, 1);
    let rounding = Quantization::new(8).unwrap();
    let projection = Projection::fit(sample.view(), 4).unwrap();
    let codes: Codes = rounding.encode(projected(&projection, sample.view()).view()).unwrap();
    assert_eq!((codes.dim(), codes.bytes().dim()), (4, (60, 4)));
    let stack = Stack::new().with(projection).with(rounding.clone());
    assert_eq!(rounding.decode(&codes).unwrap(), projected(&stack, sample.view()));
}

#[test]
fn the_mean_is_nothing_and_debug_output_holds_no_coefficients() {
    let sample = batch(60, 10, 1);
    let projection = Projection::fit(sample.view(), 4).unwrap();
    let mean: Array1<f32> = sample.mean_axis(Axis(0)).unwrap();
    let coarse = projected(&projection, mean.insert_axis(Axis(0)).view());
    assert!(far(&coarse, &Array2::zeros((1, 4))) < 1e-6);
    let printed = format!("{projection:?}");
    assert!(
        printed.starts_with("Projection(projection(fit=fit:") && printed.ends_with(", dims=4))"),
        "{printed}"
    );
}
