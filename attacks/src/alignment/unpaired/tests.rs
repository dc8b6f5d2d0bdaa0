//! A planted rotation is found without pairs, and the score shows if there is none to find.

use ndarray::{Array2, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::matmul::matrix;

const DIM: usize = 12;

fn normals(rows: usize, rng: &mut ChaCha8Rng) -> Array2<f32> {
    Array2::from_shape_simple_fn((rows, DIM), || (0..12).map(|_| rng.random_range(-0.5..0.5)).sum::<f32>())
}

/// Rows around these centres, some more often than others.
fn clumps(centres: &Array2<f32>, rows: usize, rng: &mut ChaCha8Rng) -> Array2<f32> {
    let mut clumps = normals(rows, rng) * 0.25;
    for mut row in clumps.rows_mut() {
        let which = rng.random_range(0.0..1.0_f32).powi(2) * centres.nrows() as f32;
        row += &centres.row(which as usize);
    }
    clumps
}

fn rotation(rng: &mut ChaCha8Rng) -> Array2<f32> {
    let qr = matrix(normals(DIM, rng).view()).qr();
    let q = qr.compute_Q();
    Array2::from_shape_fn((DIM, DIM), |(row, column)| q[(row, column)])
}

fn cosine(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    let cosine = |(a, b): (ndarray::ArrayView1<'_, f32>, ndarray::ArrayView1<'_, f32>)| {
        a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt()
    };
    a.rows().into_iter().zip(b.rows()).map(cosine).sum::<f32>() / a.nrows() as f32
}

#[test]
fn a_planted_rotation_is_found_without_pairs() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let centres = normals(16, rng);
    let (stored, own) = (clumps(&centres, 1500, rng), clumps(&centres, 1500, rng));
    let protected = stored.dot(&rotation(rng)) * 3.0;
    let map = CloudMap::fit(protected.view(), own.view(), rng).unwrap();
    let restored = map.apply(protected.view()).unwrap();
    assert!(cosine(&restored, &stored) > 0.98, "{} {map}", cosine(&restored, &stored));
    assert!(map.score() > 0.97 * map.expected(), "{map}");
    let norms = |rows: &Array2<f32>| rows.rows().into_iter().map(|row| row.dot(&row).sqrt()).sum::<f32>();
    assert!((norms(&restored) / norms(&stored) - 1.0).abs() < 0.05);

    let strange = clumps(&normals(16, rng), 1500, rng);
    let failed = CloudMap::fit(protected.view(), strange.view(), rng).unwrap();
    assert!(failed.score() < 0.95 * failed.expected(), "{failed}");
}

#[test]
fn few_pairs_and_the_clouds_determine_a_rotation_together() {
    let rng = &mut ChaCha8Rng::seed_from_u64(2);
    let centres = normals(16, rng);
    let (stored, own) = (clumps(&centres, 1000, rng), clumps(&centres, 1000, rng));
    let protected = stored.dot(&rotation(rng));
    let known = s![..6, ..];
    let pairs = (protected.slice(known), stored.slice(known));
    let map = CloudMap::fit_on(&Clouds::new(protected.view(), own.view()), Some(pairs), rng).unwrap();
    assert!(cosine(&map.apply(protected.view()).unwrap(), &stored) > 0.98, "{map}");
}

/// Clean vectors, the same rotated, and the same rotated with noise; and the attacker's own, with as much noise and
/// without.
fn noisy_clouds(rows: usize, sigma: f32, rng: &mut ChaCha8Rng) -> [Array2<f32>; 5] {
    let centres = normals(16, rng);
    let (stored, clean) = (clumps(&centres, rows, rng), clumps(&centres, rows, rng));
    let turn = rotation(rng);
    let protected = (&stored + &(normals(rows, rng) * sigma)).dot(&turn);
    let own = &clean + &(normals(rows, rng) * sigma);
    let turned = stored.dot(&turn);
    [stored, turned, protected, own, clean]
}

/// Noise makes the map harder to find; an attacker who knows what it does to their own texts finds it more easily.
#[test]
fn a_rotation_is_found_behind_noise() {
    let [stored, turned, protected, own, clean] = noisy_clouds(1500, 0.8, &mut ChaCha8Rng::seed_from_u64(4));
    let clouds = Clouds::new(protected.view(), own.view());
    let [without, with] = [clouds, Clouds { clean: clean.view(), ..clouds }].map(|clouds| {
        let map = CloudMap::fit_on(&clouds, None, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
        cosine(&map.apply(turned.view()).unwrap(), &stored)
    });
    assert!(with > 0.75 && with > without + 0.05, "{with} {without}");
}

/// There are few more vectors than dimensions, and half the dimensions have almost nothing but noise. The filter
/// comes close to the best linear estimate of new vectors, which needs the spread of clean vectors.
#[test]
fn noise_is_removed_as_far_as_a_linear_map_can() {
    let rng = &mut ChaCha8Rng::seed_from_u64(5);
    let deviations = Array2::from_shape_fn((1, DIM), |(_, axis)| [1.0, 0.05][axis % 2]);
    let mut pair = |rows: usize| {
        let clean = normals(rows, rng) * &deviations;
        [&clean + &(normals(rows, rng) * 0.6), clean]
    };
    let [noisy, clean] = pair(60).map(|rows| Cloud::new(rows.view()));
    let noise = Noise::between(&noisy, &clean).unwrap();
    let removed = noise.removed_after(&Mat::identity(DIM, DIM));
    let [unseen, truth] = pair(4000);
    let best = &unseen * &deviations.mapv(|it| it * it / (it * it + 0.36));
    let [before, after, best] =
        [&unseen, &mapped(unseen.view(), removed.as_ref()), &best].map(|rows| cosine(rows, &truth));
    assert!(after > before + 0.05 && after > best - 0.01, "{before} {after} {best}");

    let none = Noise::between(&clean, &clean).unwrap();
    assert!(none.removed_after(&Mat::identity(DIM, DIM)) == Mat::<f32>::identity(DIM, DIM));
}

/// The expected score is that of the right map, with clouds of few more vectors than dimensions.
#[test]
fn what_is_expected_behind_noise_is_what_the_right_map_has() {
    let rng = &mut ChaCha8Rng::seed_from_u64(6);
    let [stored, turned, protected, own, clean] = noisy_clouds(400, 0.6, rng);
    let clouds = Clouds { protected: protected.view(), own: own.view(), clean: clean.view() };
    let map = CloudMap::fit_on(&clouds, Some((turned.view(), stored.view())), rng).unwrap();
    assert!(cosine(&map.apply(turned.view()).unwrap(), &stored) > 0.99, "{map}");
    assert!((map.score() / map.expected() - 1.0).abs() < 0.02, "{map}");
}

#[test]
fn clouds_that_cannot_be_compared_are_refused() {
    let rng = &mut ChaCha8Rng::seed_from_u64(3);
    let cloud = normals(60, rng);
    let wide = Array2::<f32>::zeros((60, DIM + 1));
    let mut holed = cloud.clone();
    holed[(3, 1)] = f32::NAN;
    let few = cloud.slice(s![..9, ..]).to_owned();
    let fit = |a: &Array2<f32>, b: &Array2<f32>| {
        CloudMap::fit(a.view(), b.view(), &mut ChaCha8Rng::seed_from_u64(0))
    };
    assert!(matches!(fit(&wide, &cloud), Err(Error::Dimension { .. })));
    assert!(matches!(fit(&cloud, &holed), Err(Error::NotFinite { row: 3 })));
    assert!(matches!(fit(&few, &cloud), Err(Error::Setting(_))));
    let unlike = Clouds { clean: few.view(), ..Clouds::new(cloud.view(), cloud.view()) };
    let fitted = CloudMap::fit_on(&unlike, None, &mut ChaCha8Rng::seed_from_u64(0));
    assert!(matches!(fitted, Err(Error::Setting(_))));
    let zeros = Array2::zeros((60, DIM));
    let nothing = fit(&zeros, &zeros).unwrap();
    assert!(nothing.apply(zeros.view()).unwrap().iter().all(|value| value.is_finite()));
    assert!(!nothing.is_close(), "{nothing}");
}
