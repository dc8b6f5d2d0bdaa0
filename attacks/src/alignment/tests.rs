//! Planted maps are found again, and noise is removed as far as a linear map can.

use ndarray::Axis;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::lengths::mean_cosine;
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
    let name = fitted.to_string();
    assert!(name.starts_with("ridge(") || name.starts_with("shrunk procrustes("), "{name}");
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

#[test]
fn a_permutation_and_a_scaling_are_found_with_few_pairs() {
    let rng = &mut ChaCha8Rng::seed_from_u64(6);
    let unseen = random(9, 384, rng);
    let reversed = |rows: &Array2<f32>, factor: f32| {
        let mut rows = rows * factor;
        rows.invert_axis(Axis(1));
        rows
    };
    for (pairs, factor) in [(1, 1.0), (3, 0.02), (32, 1.0), (32, 70.0)] {
        let clean = random(pairs, 384, rng);
        let scaled = Alignment::fit((&clean * factor).view(), clean.view()).unwrap();
        let permuted = Alignment::fit(reversed(&clean, factor).view(), clean.view()).unwrap();
        let flipped = Alignment::fit(reversed(&clean, -factor).view(), clean.view()).unwrap();
        let expected = match factor {
            1.0 => ["identity", "permutation", "signed permutation"],
            _ => ["scaling", "scaled permutation", "scaled signed permutation"],
        };
        assert_eq!([&scaled, &permuted, &flipped].map(ToString::to_string), expected, "{pairs} {factor}");
        let restored = [
            scaled.apply((&unseen * factor).view()).unwrap(),
            permuted.apply(reversed(&unseen, factor).view()).unwrap(),
            flipped.apply(reversed(&unseen, -factor).view()).unwrap(),
        ];
        assert!(restored.iter().all(|restored| furthest(restored, &unseen) < 1e-5));
    }
}

#[test]
fn one_pair_more_than_dimensions_undoes_a_rotation_that_scales() {
    let rng = &mut ChaCha8Rng::seed_from_u64(7);
    let (map, clean, unseen) = (rotation(24, rng) * 0.3, random(25, 24, rng), random(9, 24, rng));
    let fitted = Alignment::fit(clean.dot(&map).view(), clean.view()).unwrap();
    assert_eq!(fitted.to_string(), "scaled procrustes");
    assert!(furthest(&fitted.apply(unseen.dot(&map).view()).unwrap(), &unseen) < 1e-3);
}

#[test]
fn the_dimensions_may_differ() {
    let rng = &mut ChaCha8Rng::seed_from_u64(8);
    for (from, to) in [(10, 6), (6, 10)] {
        let hidden = random(200, 5, rng);
        let (one, other) = (random(5, from, rng), random(5, to, rng));
        let (protected, clean) = (hidden.dot(&one) + 0.3, hidden.dot(&other) - 0.2);
        let (seen, unseen) = protected.view().split_at(Axis(0), 150);
        let map = Alignment::fit(seen, clean.slice(ndarray::s![..150, ..])).unwrap();
        let restored = map.apply(unseen).unwrap();
        assert!(furthest(&restored, &clean.slice(ndarray::s![150.., ..]).to_owned()) < 1e-2, "{map}");
        assert!(matches!(map.apply(clean.view()), Err(Error::Dimension { .. })));
        // one pair or two are no obstacle
        let few = Alignment::fit(protected.slice(ndarray::s![..2, ..]), clean.slice(ndarray::s![..2, ..]));
        assert_eq!(few.unwrap().apply(unseen).unwrap().dim(), (50, to));
    }
}

#[test]
fn few_pairs_are_used_on_their_span_alone() {
    let rng = &mut ChaCha8Rng::seed_from_u64(9);
    let (map, clean, unseen) = (rotation(64, rng), random(24, 64, rng), random(100, 64, rng));
    let fitted = Alignment::fit(clean.dot(&map).view(), clean.view()).unwrap();
    let turned = Procrustes::fit(clean.dot(&map).view(), clean.view()).unwrap();
    assert!(fitted.to_string() == "procrustes" || fitted.to_string().starts_with("ridge("), "{fitted}");
    let cosine =
        |restored: Array2<f32>| mean_cosine(widen(restored.view()).as_ref(), widen(unseen.view()).as_ref());
    let (span, all) = (
        cosine(fitted.apply(unseen.dot(&map).view()).unwrap()),
        cosine(turned.apply(unseen.dot(&map).view()).unwrap()),
    );
    // 24 of 64 dimensions hold three eighths of the energy
    assert!((span - (24_f64 / 64.0).sqrt()).abs() < 0.06, "{span}");
    assert!(span > all + 0.1, "{span} and {all}");
}

/// Such pairs say least about the weak directions, where most of the noise is.
#[test]
fn noisy_pairs_about_as_many_as_dimensions_are_used_with_shrinkage() {
    let rng = &mut ChaCha8Rng::seed_from_u64(17);
    let deviations: Vec<f32> = (0..64).map(|place| 2.0 / (1 + place) as f32).collect();
    let map = rotation(64, rng);
    let mut noisy = |rows: usize| {
        let (clean, noise) = spread(rows, &deviations, rng);
        ((&clean + &(noise * 0.1)).dot(&map), clean)
    };
    let ((known, clean), (unseen, truth)) = (noisy(70), noisy(500));
    let fitted = Alignment::fit(known.view(), clean.view()).unwrap();
    assert!(fitted.to_string().starts_with("shrunk procrustes(lambda="), "{fitted}");
    let left = |restored: Array2<f32>| {
        1.0 - mean_cosine(widen(restored.view()).as_ref(), widen(truth.view()).as_ref())
    };
    // what is observed is the map as it is
    let (shrunk, plain) =
        (left(fitted.apply(unseen.view()).unwrap()), left(fitted.observed(unseen.view()).unwrap()));
    assert!(shrunk < 0.8 * plain, "{shrunk} {plain}");
}

/// Points on four short curves in 16 dimensions, and the same with noise.
fn curves(rows: usize, sigma: f32, rng: &mut ChaCha8Rng) -> (Array2<f32>, Array2<f32>) {
    let place = |row: usize, along: f32| {
        let phase = (row % 4) as f32;
        move |column: usize| {
            ((1.0 + column as f32) * (phase + along) * 1.3 + phase * column as f32).sin() / 3.0
        }
    };
    let mut clean = Array2::zeros((rows, 16));
    for (row, mut values) in clean.rows_mut().into_iter().enumerate() {
        let at = place(row, rng.random_range(0.0..0.5));
        values.iter_mut().enumerate().for_each(|(column, value)| *value = at(column));
    }
    let noise = spread(rows, &[1.0; 16], rng).1 * sigma;
    (&clean + &noise, clean)
}

#[test]
fn a_network_removes_more_noise_from_curves_than_a_linear_map() {
    let rng = &mut ChaCha8Rng::seed_from_u64(10);
    let (noisy, clean) = curves(2500, 0.2, rng);
    let (unseen, truth) = curves(500, 0.2, rng);
    let fitted = Alignment::fit(noisy.view(), clean.view()).unwrap();
    let linear = Alignment::fit_linear(noisy.view(), clean.view()).unwrap();
    assert_eq!(fitted.to_string(), "network");
    let left = |map: &Alignment| {
        let restored = map.apply(unseen.view()).unwrap();
        1.0 - mean_cosine(widen(restored.view()).as_ref(), widen(truth.view()).as_ref())
    };
    assert!(left(&fitted) < 0.8 * left(&linear), "{} of {}", left(&fitted), left(&linear));
}

#[test]
fn a_network_repeats() {
    let rng = &mut ChaCha8Rng::seed_from_u64(11);
    let ((noisy, clean), (unseen, _)) = (curves(1000, 0.2, rng), curves(50, 0.2, rng));
    let fit = || Denoiser::fit(noisy.view(), clean.view(), 3).unwrap().apply(unseen.view()).unwrap();
    assert_eq!(fit(), fit());
}

/// The pairs undo the key, and the attacker's own pairs remove the noise.
#[test]
fn a_denoiser_follows_the_map_that_undoes_the_key() {
    let rng = &mut ChaCha8Rng::seed_from_u64(12);
    let (made, own) = curves(1500, 0.2, rng);
    let denoiser = denoising(&made, &own);
    let map = rotation(16, rng);
    let (noisy, clean) = curves(60, 0.2, rng);
    let (unseen, truth) = curves(500, 0.2, rng);
    let known = noisy.dot(&map);
    let pairs = Evidence::pairs(known.view(), clean.view());
    let [alone, together] = [None, Some(&denoiser)]
        .map(|denoiser| Alignment::fit_on(&Evidence { denoiser, ..pairs.clone() }).unwrap());
    let name = together.to_string();
    assert!(name.contains("procrustes, then ridge(identity"), "{name}");
    let cosine = |restored: &Array2<f32>, truth: &Array2<f32>| {
        mean_cosine(widen(restored.view()).as_ref(), widen(truth.view()).as_ref())
    };
    let protected = unseen.dot(&map);
    let [alone, estimate] =
        [&alone, &together].map(|map| cosine(&map.apply(protected.view()).unwrap(), &truth));
    assert!(estimate > alone + 0.01, "{estimate} {alone}");
    // the vectors to rank by keep their noise: the map keeps lengths
    let observed = together.observed(protected.view()).unwrap();
    let length = |rows: &Array2<f32>| rows.mapv(|value| value * value).sum();
    assert!((length(&observed) / length(&protected) - 1.0).abs() < 1e-3);
    assert!(cosine(&observed, &truth) < estimate - 0.02);
}

/// If clean vectors span a part of the space, Procrustes removes the noise outside it, so it does better than the
/// unchanged vectors. A denoiser that was fitted on unchanged vectors is still preferred.
#[test]
fn a_denoiser_needs_no_turn_where_nothing_was_turned() {
    let rng = &mut ChaCha8Rng::seed_from_u64(20);
    let deviations: Vec<f32> = (0..24).map(|place| if place < 8 { 1.0 } else { 0.0 }).collect();
    let mut noisy = |rows: usize| {
        let (clean, noise) = spread(rows, &deviations, rng);
        (&clean + &(noise * 0.6), clean)
    };
    let ((made, own), (known, clean), (unseen, truth)) = (noisy(4000), noisy(60), noisy(500));
    let denoiser = denoising(&made, &own);
    let evidence = Evidence { denoiser: Some(&denoiser), ..Evidence::pairs(known.view(), clean.view()) };
    let fitted = Alignment::fit_on(&evidence).unwrap();
    assert_eq!(fitted.to_string(), denoiser.map.to_string());
    let alone = Alignment::fit_linear(known.view(), clean.view()).unwrap();
    assert!(alone.to_string().contains("procrustes"));
    let [with, alone] = [fitted.apply(unseen.view()), alone.apply(unseen.view())].map(Result::unwrap);
    assert!(error(&with, &truth) < 0.95 * error(&alone, &truth));
}

/// What is learned by linear maps alone.
fn denoising(made: &Array2<f32>, own: &Array2<f32>) -> Denoising {
    let map = Alignment::fit_linear(made.view(), own.view()).unwrap();
    Denoising::new(map, &Evidence::pairs(made.view(), own.view()))
}

/// Two clouds of one kind in 16 dimensions: the stored vectors, turned and with noise, and their clean vectors; the
/// attacker's own vectors with as much noise, and their clean vectors.
fn two_clouds(sigma: f32) -> [Array2<f32>; 4] {
    let rng = &mut ChaCha8Rng::seed_from_u64(13);
    let centres = random(12, 16, rng);
    let mut cloud = |rows: usize| {
        let mut rows = random(rows, 16, rng) * 0.2;
        for mut row in rows.rows_mut() {
            let which = rng.random_range(0.0..1.0_f32).powi(2) * 12.0;
            row += &centres.row(which as usize);
        }
        rows
    };
    let (stored, own) = (cloud(1000), cloud(1000));
    let rng = &mut ChaCha8Rng::seed_from_u64(14);
    let map = rotation(16, rng);
    let mut noisy = |rows: &Array2<f32>| rows + &(random(1000, 16, rng) * sigma);
    [noisy(&stored).dot(&map), stored, noisy(&own), own]
}

/// So few pairs that they alone say little about a rotation, or fewer than can be held out.
#[test]
fn clouds_complete_what_few_pairs_begin() {
    let [protected, stored, own, _] = two_clouds(0.0);
    for known in [1, 3, 5, 8] {
        let known = ndarray::s![..known, ..];
        let pairs = Evidence::pairs(protected.slice(known), stored.slice(known));
        let clouds = Evidence { clouds: Some(Clouds::new(protected.view(), own.view())), ..pairs.clone() };
        let [alone, together] = [pairs, clouds].map(|evidence| {
            let map = Alignment::fit_on(&evidence).unwrap();
            let restored = map.apply(protected.view()).unwrap();
            mean_cosine(widen(restored.view()).as_ref(), widen(stored.view()).as_ref())
        });
        assert!(together > 0.95 && together > alone + 0.05, "{together} {alone}");
    }
}

/// Noisy pairs do not determine a rotation, however many there are per dimension. With the clouds, vectors are
/// restored nearly as well as without a rotation.
#[test]
fn a_rotation_adds_little_to_noise_where_there_are_pairs_and_clouds() {
    let [protected, stored, made, own] = two_clouds(0.5);
    let denoiser = denoising(&made, &own);
    let known = ndarray::s![..40, ..];
    let alone = Evidence::pairs(protected.slice(known), stored.slice(known));
    let evidence = Evidence {
        clouds: Some(Clouds { protected: protected.view(), own: made.view(), clean: own.view() }),
        denoiser: Some(&denoiser),
        ..alone.clone()
    };
    let [pairs, both] =
        [Evidence { denoiser: Some(&denoiser), ..alone }, evidence].map(|it| Alignment::fit_on(&it).unwrap());
    let left = |map: &Alignment, rows: &Array2<f32>, truth: &Array2<f32>| {
        let restored = map.apply(rows.view()).unwrap();
        1.0 - mean_cosine(widen(restored.view()).as_ref(), widen(truth.view()).as_ref())
    };
    let [pairs, both] = [&pairs, &both].map(|map| left(map, &protected, &stored));
    let unturned = left(&denoiser.map, &made, &own);
    assert!(both < 0.9 * pairs && both < 1.15 * unturned, "{both} {pairs} {unturned}");
}

/// The map of fewer pairs than dimensions drops what they do not span, and most of the noise with it. Compared with
/// it, the clouds look worse than they are.
#[test]
fn few_noisy_pairs_do_no_worse_than_none() {
    let [protected, stored, made, own] = two_clouds(0.7);
    let denoiser = denoising(&made, &own);
    let clouds = Clouds { protected: protected.view(), own: made.view(), clean: own.view() };
    let unpaired = CloudMap::fit_on(&clouds, None, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
    let cosine =
        |restored: Array2<f32>| mean_cosine(widen(restored.view()).as_ref(), widen(stored.view()).as_ref());
    let none = unpaired.apply(protected.view()).unwrap();
    let none = cosine(denoiser.map.apply(none.view()).unwrap());
    for known in [8, 10, 14] {
        let known = ndarray::s![..known, ..];
        let map = Alignment::fit_on(&Evidence {
            clouds: Some(clouds),
            denoiser: Some(&denoiser),
            ..Evidence::pairs(protected.slice(known), stored.slice(known))
        })
        .unwrap();
        let few = cosine(map.apply(protected.view()).unwrap());
        assert!(few > none - 0.01, "{few} {none} {map}");
    }
}

/// Too few pairs to hold some out say nothing about noise; the denoiser was chosen on its own pairs.
#[test]
fn a_denoiser_follows_the_clouds_that_three_pairs_begin() {
    let [protected, stored, made, own] = two_clouds(0.3);
    let denoiser = denoising(&made, &own);
    let known = ndarray::s![..3, ..];
    let evidence = Evidence {
        clouds: Some(Clouds { protected: protected.view(), own: made.view(), clean: own.view() }),
        denoiser: Some(&denoiser),
        ..Evidence::pairs(protected.slice(known), stored.slice(known))
    };
    let map = Alignment::fit_on(&evidence).unwrap();
    assert!(map.to_string().contains("clouds, then ridge("), "{map}");
    let left = |restored: Array2<f32>| {
        1.0 - mean_cosine(widen(restored.view()).as_ref(), widen(stored.view()).as_ref())
    };
    let (estimate, observed) =
        (left(map.apply(protected.view()).unwrap()), left(map.observed(protected.view()).unwrap()));
    assert!(estimate < 0.9 * observed, "{estimate} {observed}");
}

/// faer's decompositions sum differently on other numbers of threads, from some hundred dimensions on.
#[test]
fn a_map_is_the_same_on_any_number_of_threads() {
    let rng = &mut ChaCha8Rng::seed_from_u64(15);
    let clean = random(700, 360, rng);
    let noisy = &clean + &(random(700, 360, rng) * 0.7);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let fit = |map: Alignment| map.apply(noisy.view()).unwrap().mapv(f32::to_bits);
        pool.install(|| {
            let turned = Procrustes::fit(noisy.view(), clean.view()).unwrap();
            (
                fit(Alignment::fit_linear(noisy.view(), clean.view()).unwrap()),
                turned.apply(noisy.view()).unwrap(),
            )
        })
    };
    assert!(on(1) == on(3));
}

/// The clean vectors are of another embedder with the same dimension. The unchanged vectors say nothing, so
/// hypotheses are ranked by what the regression makes of them.
#[test]
fn a_space_of_the_same_dimension_can_be_another_one() {
    let rng = &mut ChaCha8Rng::seed_from_u64(16);
    let protected = random(300, 12, rng);
    let clean = protected.dot(&random(12, 12, rng));
    let pairs = Evidence::pairs(protected.view(), clean.view());
    let [within, between] = [false, true]
        .map(|between_spaces| Alignment::fit_on(&Evidence { between_spaces, ..pairs.clone() }).unwrap());
    let left = |restored: Array2<f32>| {
        1.0 - mean_cosine(widen(restored.view()).as_ref(), widen(clean.view()).as_ref())
    };
    assert!(left(between.apply(protected.view()).unwrap()) < 1e-6, "{between}");
    assert!(left(between.observed(protected.view()).unwrap()) < 1e-6);
    assert!(left(within.observed(protected.view()).unwrap()) > 0.01, "no map that keeps angles is it");
}

/// An embedder whose vectors do not have norm 1.
#[test]
fn a_network_removes_noise_from_long_vectors_too() {
    let rng = &mut ChaCha8Rng::seed_from_u64(10);
    let ((noisy, clean), (unseen, truth)) = (curves(1500, 0.2, rng), curves(300, 0.2, rng));
    let left = |factor: f32| {
        let map = Denoiser::fit((&noisy * factor).view(), (&clean * factor).view(), 1).unwrap();
        let restored = map.apply((&unseen * factor).view()).unwrap();
        let norm = |rows: &Array2<f32>| rows.mapv(|value| value * value).sum().sqrt();
        assert!((norm(&restored) / norm(&truth) / factor - 1.0).abs() < 0.2);
        1.0 - mean_cosine(widen(restored.view()).as_ref(), widen(truth.view()).as_ref())
    };
    let (short, long) = (left(1.0), left(40.0));
    assert!((short - long).abs() < 0.1 * short, "{short} {long}");
}
