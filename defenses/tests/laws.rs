//! What must hold for all inputs.

#![allow(clippy::unwrap_used)]

use embosk_defenses::{Defense, GaussianNoise, Guarantee, Key, Quantization, Rng, Role, Rotation, Stack};
use ndarray::Array2;
use proptest::prelude::*;

/// A few rows in up to 40 dimensions, of sizes from the tiny to the large.
fn batches() -> impl Strategy<Value = Array2<f32>> {
    (1..5_usize, 1..40_usize, -40..30_i32).prop_flat_map(|(rows, dim, exponent)| {
        let size = 10_f32.powi(exponent);
        let values = prop::collection::vec(-1.0..=1.0_f32, rows * dim);
        values.prop_map(move |values| {
            Array2::from_shape_fn((rows, dim), |(row, column)| values[row * dim + column] * size)
        })
    })
}

/// Rows of norm 1.
fn unit_batches() -> impl Strategy<Value = Array2<f32>> {
    (1..5_usize, 1..40_usize, any::<u64>()).prop_map(|(rows, dim, seed)| {
        let mut rng = Rng::seeded(seed);
        let mut normals = rng.standard_normals();
        let mut vectors = Array2::from_shape_simple_fn((rows, dim), || normals.draw() as f32);
        vectors.rows_mut().into_iter().for_each(|mut row| row /= row.dot(&row).sqrt());
        vectors
    })
}

fn protected(defense: &dyn Defense, vectors: &Array2<f32>, rng: &mut Rng) -> Array2<f32> {
    let mut vectors = vectors.clone();
    defense.protect(Role::Document, vectors.view_mut(), rng).unwrap();
    vectors
}

fn largest_difference(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    (a - b).iter().fold(0.0, |largest, x| largest.max(x.abs()))
}

fn bits(vectors: &Array2<f32>) -> Array2<u32> {
    vectors.mapv(f32::to_bits)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_rotation_keeps_inner_products(vectors in unit_batches(), key: [u8; 32]) {
        let rotation = Rotation::new(&Key::from_bytes(key), vectors.ncols()).unwrap();
        let rotated = protected(&rotation, &vectors, &mut Rng::seeded(0));
        prop_assert!(largest_difference(&rotated.dot(&rotated.t()), &vectors.dot(&vectors.t())) < 1e-5);
    }

    #[test]
    fn restoring_undoes_a_rotation(vectors in unit_batches(), key: [u8; 32]) {
        let rotation = Rotation::new(&Key::from_bytes(key), vectors.ncols()).unwrap();
        let mut rotated = protected(&rotation, &vectors, &mut Rng::seeded(0));
        rotation.restore(rotated.view_mut()).unwrap();
        prop_assert!(largest_difference(&rotated, &vectors) < 1e-5);
    }

    #[test]
    fn a_deferred_rotation_is_the_eager_one(vectors in unit_batches(), key: [u8; 32]) {
        let eager = Rotation::new(&Key::from_bytes(key), vectors.ncols()).unwrap();
        let deferred = Rotation::deferred(&Key::from_bytes(key));
        let mut rng = Rng::seeded(0);
        prop_assert_eq!(protected(&eager, &vectors, &mut rng), protected(&deferred, &vectors, &mut rng));
    }

    #[test]
    fn different_keys_rotate_differently(key: [u8; 32], place in 0..32_usize, change in 1..=255_u8) {
        let mut other = key;
        other[place] ^= change;
        let identity = Array2::eye(16);
        let rotate = |key| {
            let rotation = Rotation::new(&Key::from_bytes(key), 16).unwrap();
            protected(&rotation, &identity, &mut Rng::seeded(0))
        };
        prop_assert!(largest_difference(&rotate(key), &rotate(other)) > 0.1);
    }

    #[test]
    fn quantizing_twice_changes_nothing(vectors in batches(), width in prop::sample::select(vec![1, 4, 8])) {
        let rounding = Quantization::new(width).unwrap();
        let once = protected(&rounding, &vectors, &mut Rng::seeded(0));
        let twice = protected(&rounding, &once, &mut Rng::seeded(0));
        prop_assert_eq!(bits(&once), bits(&twice));
    }

    #[test]
    fn quantization_moves_by_at_most_half_a_step(vectors in batches(), wide: bool) {
        let (width, levels) = if wide { (8, 127.0) } else { (4, 7.0) };
        let rounded = protected(&Quantization::new(width).unwrap(), &vectors, &mut Rng::seeded(0));
        for (before, after) in vectors.rows().into_iter().zip(rounded.rows()) {
            let largest = before.iter().fold(0.0, |largest: f64, &x| largest.max(f64::from(x).abs()));
            for (&x, &y) in before.iter().zip(after) {
                // Half a step, and what f32 itself rounds away.
                let allowed = largest / levels / 2.0 + largest * f64::from(f32::EPSILON) + 1e-45;
                prop_assert!((f64::from(x) - f64::from(y)).abs() <= allowed, "{} became {}", x, y);
            }
        }
    }

    #[test]
    fn one_bit_keeps_signs_and_the_norm(vectors in unit_batches()) {
        let signs = protected(&Quantization::new(1).unwrap(), &vectors, &mut Rng::seeded(0));
        for (before, after) in vectors.rows().into_iter().zip(signs.rows()) {
            prop_assert!((after.dot(&after) - 1.0).abs() < 1e-5);
            prop_assert!(before.iter().zip(after).all(|(x, y)| (*x < 0.0) == (*y < 0.0)));
        }
    }

    #[test]
    fn a_stack_equals_its_parts_in_turn(vectors in unit_batches(), seed: u64, key: [u8; 32]) {
        let rotation = || Rotation::new(&Key::from_bytes(key), vectors.ncols()).unwrap();
        let noise = || GaussianNoise::new(0.05).unwrap();
        let rounding = || Quantization::new(4).unwrap();
        let stack = Stack::new().with(rotation()).with(noise()).with(rounding()).with(noise());
        let parts: [&dyn Defense; 4] = [&rotation(), &noise(), &rounding(), &noise()];

        let mut rng = Rng::seeded(seed);
        let in_turn =
            parts.into_iter().fold(vectors.clone(), |vectors, part| protected(part, &vectors, &mut rng));
        prop_assert_eq!(protected(&stack, &vectors, &mut Rng::seeded(seed)), in_turn);
    }

    #[test]
    fn specs_of_keyless_stacks_round_trip(sigma in 0.0..10.0_f64, width in prop::sample::select(vec![1, 4, 8])) {
        let stack = Stack::new()
            .with(GaussianNoise::new(sigma).unwrap())
            .with(Quantization::new(width).unwrap());
        let spec = stack.to_string();
        let again: Stack = spec.parse().unwrap();
        prop_assert_eq!(again.to_string(), spec);
        prop_assert_eq!(again.guarantee(), stack.guarantee());
    }
}

#[test]
fn a_stack_claims_what_its_order_allows() {
    let noise = || GaussianNoise::new(0.1).unwrap();
    let rounding = || Quantization::new(8).unwrap();
    let rotation = || Rotation::deferred(&Key::from_bytes([1; 32]));
    let mechanism = Guarantee::GaussianMechanism { sigma: 0.1 };
    let table = [
        (Stack::new(), Guarantee::Isometry),
        (Stack::new().with(rotation()), Guarantee::Isometry),
        (Stack::new().with(rounding()), Guarantee::None),
        (Stack::new().with(noise()), mechanism),
        (Stack::new().with(rotation()).with(noise()), mechanism),
        (Stack::new().with(noise()).with(rotation()).with(rounding()), mechanism),
        (Stack::new().with(rounding()).with(noise()), Guarantee::None),
        (Stack::new().with(Stack::new().with(rotation())).with(noise()), mechanism),
        (Stack::new().with(GaussianNoise::new(0.0).unwrap()), Guarantee::Isometry),
        (Stack::new().with(noise()).with(GaussianNoise::new(9.0).unwrap()), mechanism),
    ];
    for (stack, expected) in table {
        assert_eq!(stack.guarantee(), expected, "{stack}");
    }
}

/// Keyless parts are their own imitation; keyed ones get another key, and the stack with them.
#[test]
fn an_imitation_differs_in_its_keys_alone() {
    let rng = &mut Rng::seeded(5);
    let noise = GaussianNoise::new(0.1).unwrap();
    assert!(noise.imitation(rng).is_none());
    assert!(Stack::new().with(noise.clone()).imitation(rng).is_none());

    let rotation = Rotation::new(&Key::from_bytes([1; 32]), 8).unwrap();
    let stack = Stack::new().with(rotation).with(noise);
    let imitation = stack.imitation(rng).unwrap();
    let (real, imitated) = (stack.to_string(), imitation.to_string());
    let tail = |spec: &str| spec.split_once(" | ").map(|(_, tail)| tail.to_owned());
    assert_eq!(tail(&imitated).as_deref(), Some("gaussian(sigma=0.1)"));
    assert_ne!(real, imitated);
    assert_ne!(stack.imitation(rng).unwrap().to_string(), imitated, "each has a key of its own");
    protected(&*imitation, &Array2::ones((2, 8)), rng);
}
