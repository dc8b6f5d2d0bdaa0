//! What guarantees are worth: their (ε, δ), against reference values.

#![allow(clippy::unwrap_used, clippy::float_cmp)]

use embosk_defenses::{Defense, Error, GaussianNoise, Guarantee, Role};
use proptest::prelude::*;

fn mechanism(sigma: f64) -> Guarantee {
    GaussianNoise::new(sigma).unwrap().guarantee()
}

fn epsilon(sigma: f64, delta: f64) -> f64 {
    mechanism(sigma).epsilon(Role::Document, delta).unwrap()
}

fn assert_close(actual: f64, expected: f64, what: &str) {
    assert!((actual - expected).abs() <= 1e-9 * expected, "{what}: {actual}, not {expected}");
}

/// `golden/calibration.py` wrote them: mpmath, compared with dp-accounting and diffprivlib.
#[test]
fn epsilon_delta_and_sigma_are_the_reference_values() {
    let table = include_str!("data/calibration.txt");
    for line in table.lines().skip(1) {
        let numbers: Vec<f64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        let [sigma, delta, expected] = numbers[..] else { panic!("{line}") };
        assert_close(epsilon(sigma, delta), expected, line);
        // In the other two directions, the rounding of the table's ε and of `sigma` shows.
        let found = mechanism(sigma).delta(Role::Query, expected).unwrap();
        if expected == 0.0 {
            assert!(found <= delta, "{line}: {found}");
        } else {
            assert!((found / delta - 1.0).abs() < 1e-7, "{line}: {found}");
            assert_close(Guarantee::sigma_for(expected, delta).unwrap(), sigma, line);
        }
    }
    assert_eq!(table.lines().count(), 92);
}

#[test]
fn the_documented_figures_hold() {
    let documentation = include_str!("../src/guarantee.rs");
    for (sigma, figure) in [(0.01, "20852"), (0.03, "2505.6"), (0.1, "284.4")] {
        let digits = figure.split('.').nth(1).map_or(0, str::len);
        assert_eq!(format!("{:.digits$}", epsilon(sigma, 1e-5)), figure);
        assert!(documentation.contains(&format!("/// | {sigma} | {figure} |")), "{figure}");
    }
    assert_eq!(format!("{:.2}", Guarantee::sigma_for(1.0, 1e-5).unwrap()), "7.46");
}

#[test]
fn what_covers_one_role_claims_nothing_for_the_other() {
    let noise = GaussianNoise::new(0.1).unwrap().on(Role::Document).guarantee();
    assert_eq!(noise.epsilon(Role::Document, 1e-5).unwrap(), epsilon(0.1, 1e-5));
    assert_eq!(noise.epsilon(Role::Query, 1e-5).unwrap(), f64::INFINITY);
    assert_eq!(noise.delta(Role::Query, 1e9).unwrap(), 1.0);
    assert_eq!(noise.over(4).sigma(Role::Document), Some(0.05));
    assert_eq!(noise.over(4).sigma(Role::Query), None);
}

#[test]
fn without_a_mechanism_nothing_is_claimed() {
    for guarantee in [Guarantee::None, Guarantee::Isometry] {
        assert_eq!(guarantee.over(9), guarantee);
        assert_eq!(guarantee.sigma(Role::Document), None);
        assert_eq!(guarantee.epsilon(Role::Document, 0.5).unwrap(), f64::INFINITY);
        assert_eq!(guarantee.delta(Role::Document, 1e300).unwrap(), 1.0);
    }
}

#[test]
fn prints_what_is_covered() {
    let table = [
        (Guarantee::None, "none"),
        (mechanism(0.5), "Gaussian mechanism, sigma 0.5 a coordinate on rows of norm at most 1"),
        (
            GaussianNoise::new(0.5).unwrap().on(Role::Query).guarantee(),
            "Gaussian mechanism on queries alone, sigma 0.5 a coordinate on rows of norm at most 1",
        ),
    ];
    for (guarantee, expected) in table {
        assert_eq!(guarantee.to_string(), expected);
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    for delta in [0.0, -1.0, 1.0, 1e-301, f64::NAN, f64::INFINITY] {
        let refusal = mechanism(1.0).epsilon(Role::Document, delta);
        assert!(matches!(refusal, Err(Error::Setting { name: "delta", .. })), "{delta}");
        assert!(Guarantee::sigma_for(1.0, delta).is_err(), "{delta}");
    }
    for epsilon in [-1.0, f64::NAN, f64::INFINITY] {
        let refusal = mechanism(1.0).delta(Role::Document, epsilon);
        assert!(matches!(refusal, Err(Error::Setting { name: "epsilon", .. })), "{epsilon}");
        assert!(Guarantee::sigma_for(epsilon, 0.1).is_err(), "{epsilon}");
    }
}

#[test]
fn the_ends_of_the_range_give_numbers() {
    for sigma in [5e-324, 1e-300, 1e-30, 1e30] {
        for delta in [1e-300, 1e-5, 0.999_999] {
            assert!(epsilon(sigma, delta) >= 0.0, "{sigma} {delta}");
        }
        for epsilon in [0.0, 1e-300, 1.0, 1e300] {
            let delta = mechanism(sigma).delta(Role::Document, epsilon).unwrap();
            assert!((0.0..=1.0).contains(&delta), "{sigma} {epsilon}: {delta}");
            let sigma = Guarantee::sigma_for(epsilon, 1e-5).unwrap();
            assert!(sigma > 0.0 && sigma.is_finite(), "{epsilon}: {sigma}");
        }
    }
    assert_eq!(epsilon(1e30, 1e-5), 0.0);
    assert_eq!(mechanism(1.0).over(0).epsilon(Role::Document, 1e-5).unwrap(), 0.0, "nothing was released");
}

proptest! {
    #[test]
    fn sigma_and_epsilon_undo_each_other(ln_sigma in -7.0..7.0_f64, ln_delta in -60.0..-0.1_f64) {
        let (sigma, delta) = (ln_sigma.exp(), ln_delta.exp());
        let epsilon = epsilon(sigma, delta);
        prop_assume!(epsilon > 0.0);
        let again = Guarantee::sigma_for(epsilon, delta).unwrap();
        prop_assert!((again / sigma - 1.0).abs() < 1e-6, "{} {}", sigma, again);
    }

    #[test]
    fn more_noise_and_more_delta_take_less_epsilon(ln_sigma in -7.0..7.0_f64, ln_delta in -60.0..-1.0_f64) {
        let (sigma, delta) = (ln_sigma.exp(), ln_delta.exp());
        prop_assert!(epsilon(sigma * 1.1, delta) <= epsilon(sigma, delta));
        prop_assert!(epsilon(sigma, delta * 1.1) <= epsilon(sigma, delta));
        prop_assert!(mechanism(sigma).over(2).epsilon(Role::Query, delta).unwrap() >= epsilon(sigma, delta));
    }
}
