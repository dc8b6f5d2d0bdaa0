//! Bounds and p-values against SciPy and statsmodels (tests/golden/statistics.py writes the goldens), and how
//! often they hold; ROC curves against scikit-learn (tests/golden/guess.py).
#![allow(clippy::float_cmp)]

use embosk::Rng;
use embosk::evaluate::statistics::{
    area_under_curve, bounded_mean_bounds, holm, mean_bounds, mean_p_values, paired_difference_bounds,
    proportion_bounds, proportion_p_values, true_positive_rate,
};
use proptest::prelude::*;
use serde_json::Value;

#[test]
fn bounds_of_proportions_equal_scipy() {
    for case in table("proportions") {
        let (lower, upper) =
            proportion_bounds(count(&case, "successes"), count(&case, "n"), number(&case["confidence"]));
        assert_close(lower, &case["lower"], &case);
        assert_close(upper, &case["upper"], &case);
    }
}

#[test]
fn tests_of_proportions_equal_scipy() {
    for case in table("binomial_tests") {
        let p = proportion_p_values(count(&case, "successes"), count(&case, "n"), number(&case["limit"]));
        assert_close(p.below, &case["below"], &case);
        assert_close(p.above, &case["above"], &case);
    }
}

/// Both sides drew resamples of their own, so they differ by chance: by less than a twentieth of the
/// distance from the mean, or by one step where all values are 0 or 1 and the mean moves in steps.
#[test]
fn bounds_of_means_equal_scipy() {
    for case in table("means") {
        let values: Vec<f64> = serde_json::from_value(case["values"].clone()).unwrap();
        let (lower, upper) = mean_bounds(&values, number(&case["confidence"]), 1).unwrap();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let in_steps = values.iter().all(|&value| value == 0.0 || value == 1.0);
        let step = if in_steps { 1.001 / values.len() as f64 } else { 0.0 };
        for (ours, theirs) in [(lower, number(&case["lower"])), (upper, number(&case["upper"]))] {
            assert!(
                (ours - theirs).abs() < 0.05 * (theirs - mean).abs() + step,
                "{ours}, not {theirs}: {case}"
            );
        }
    }
}

#[test]
fn curves_equal_scikit_learn() {
    let golden: Value = serde_json::from_str(include_str!("../data/guess.json")).unwrap();
    for case in golden["curves"].as_array().unwrap() {
        let [positives, negatives] = ["positives", "negatives"]
            .map(|name| serde_json::from_value::<Vec<f64>>(case[name].clone()).unwrap());
        let area = area_under_curve(&positives, &negatives).unwrap();
        assert_close(area.value, &case["auc"], case);
        assert!(
            (area.low - number(&case["low"])).abs() < 1e-9
                && (area.high - number(&case["high"])).abs() < 1e-9
        );
        for (rate, name) in [(0.01, "tpr"), (0.05, "tpr_at_5")] {
            assert_close(true_positive_rate(&positives, &negatives, rate).unwrap().value, &case[name], case);
        }
    }
}

#[test]
fn holm_equals_statsmodels() {
    for case in table("holm") {
        let p_values: Vec<f64> = serde_json::from_value(case["p_values"].clone()).unwrap();
        for (ours, theirs) in holm(&p_values).into_iter().zip(case["adjusted"].as_array().unwrap()) {
            assert_close(ours, theirs, &case);
        }
    }
    assert_eq!(holm(&[]), [0.0; 0]);
    assert_eq!(holm(&[f64::NAN, 0.01]), [1.0, 0.02]);
}

/// Over all outcomes of 25 trials, weighed by their chances.
#[test]
fn bounds_of_proportions_hold_as_often_as_they_say() {
    let n = 25;
    for step in 1..40 {
        let truth = f64::from(step) / 40.0;
        let (mut below, mut above) = (0.0, 0.0);
        let mut chance = (1.0 - truth).powi(25);
        for successes in 0..=n {
            let (lower, upper) = proportion_bounds(successes, n, 0.95);
            below += if lower <= truth { chance } else { 0.0 };
            above += if truth <= upper { chance } else { 0.0 };
            chance *= (n - successes) as f64 / (successes + 1) as f64 * truth / (1.0 - truth);
        }
        assert!(below >= 0.95 - 1e-12 && above >= 0.95 - 1e-12, "{truth}: {below}, {above}");
    }
}

/// 300 samples of 60 from a skewed distribution whose mean is 1; the bootstrap's coverage is near 0.95, that
/// of the bound for bounded scores above it.
#[test]
fn bounds_of_means_hold_about_as_often_as_they_say() {
    let mut rng = Rng::seeded(8);
    let mut normals = rng.standard_normals();
    let (samples, n) = (300, 60);
    let (mut below, mut above, mut bounded) = (0, 0, 0);
    for seed in 0..samples {
        // half the sum of two squares is exponential
        let mut draw = || f64::midpoint(normals.draw().powi(2), normals.draw().powi(2));
        let values: Vec<f64> = (0..n).map(|_| draw()).collect();
        let (lower, upper) = mean_bounds(&values, 0.95, seed).unwrap();
        below += u64::from(lower <= 1.0);
        above += u64::from(1.0 <= upper);
        // exp(−x) is uniform in 0..=1
        let uniform: Vec<f64> = values.iter().map(|x| (-x).exp()).collect();
        let (lower, upper) = bounded_mean_bounds(&uniform, 0.0..=1.0, 0.95).unwrap();
        bounded += u64::from(lower <= 0.5 && 0.5 <= upper);
    }
    let share = |count: u64| count as f64 / samples as f64;
    assert!((0.91..=0.985).contains(&share(below)), "lower: {}", share(below));
    assert!((0.91..=0.985).contains(&share(above)), "upper: {}", share(above));
    assert!(share(bounded) >= 0.95, "bounded: {}", share(bounded));
}

#[test]
fn bounds_do_not_depend_on_threads() {
    let values: Vec<f64> = (0..200).map(|n| f64::from(n * n % 97)).collect();
    let (bounds, p) = (mean_bounds(&values, 0.99, 3), mean_p_values(&values, 50.0, 3));
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| mean_bounds(&values, 0.99, 3)), bounds);
        assert_eq!(pool.install(|| mean_p_values(&values, 50.0, 3)), p);
    }
    assert_ne!(mean_bounds(&values, 0.99, 4), bounds);
}

#[test]
fn odd_input_claims_nothing() {
    for confidence in [1.0, 2.0, f64::INFINITY, f64::NAN] {
        assert_eq!(proportion_bounds(3, 9, confidence), (0.0, 1.0));
        assert_eq!(mean_bounds(&[1.0, 2.0], confidence, 0), Some((f64::NEG_INFINITY, f64::INFINITY)));
        assert_eq!(bounded_mean_bounds(&[1.0, 2.0], 0.0..=4.0, confidence), Some((0.0, 4.0)));
    }
    assert_eq!(proportion_bounds(0, 0, 0.95), (0.0, 1.0));
    assert_eq!(proportion_bounds(7, 5, 0.95), proportion_bounds(5, 5, 0.95));
    for limit in [f64::NAN, 0.5] {
        let none = proportion_p_values(0, 0, limit);
        assert_eq!((none.below, none.above), (1.0, 1.0));
    }
    let nan = proportion_p_values(2, 5, f64::NAN);
    assert_eq!((nan.below, nan.above), (1.0, 1.0));
    assert_eq!(proportion_p_values(2, 5, 0.0).above, 0.0);
    assert_eq!(proportion_p_values(2, 5, 1.0).below, 0.0);
    for limit in [7.0, f64::NAN] {
        let p = mean_p_values(&[7.0; 9], limit, 0).unwrap();
        assert_eq!((p.below, p.above), (1.0, 1.0));
    }
    assert!(mean_p_values(&[7.0; 9], 8.0, 0).unwrap().below < 0.001);
    assert!(mean_p_values(&[7.0; 9], 6.0, 0).unwrap().above < 0.001);
    assert_eq!(mean_bounds(&[7.0; 9], 0.95, 0), Some((7.0, 7.0)));
    assert_eq!(mean_bounds(&[], 0.95, 0), None);
    assert_eq!(mean_p_values(&[], 0.5, 0), None);
    assert_eq!(paired_difference_bounds(&[1.0], &[], 0.95, 0), None);
    assert_eq!(bounded_mean_bounds(&[], 0.0..=1.0, 0.95), None);
    assert_eq!(bounded_mean_bounds(&[1.0], 1.0..=1.0, 0.95), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_bound_and_its_p_value_agree(n in 1..400usize, part in 0.0..=1.0f64, limit in 0.01..0.99f64) {
        let successes = (n as f64 * part) as usize;
        let p = proportion_p_values(successes, n, limit);
        let (lower, upper) = proportion_bounds(successes, n, 0.95);
        prop_assume!((p.below - 0.05).abs() > 1e-9 && (p.above - 0.05).abs() > 1e-9);
        prop_assert_eq!(upper < limit, p.below < 0.05);
        prop_assert_eq!(lower > limit, p.above < 0.05);
    }

    #[test]
    fn a_bound_of_a_mean_and_its_p_value_agree(values in prop::collection::vec(0.0..1.0f64, 5..40), limit in 0.0..1.0f64) {
        let p = mean_p_values(&values, limit, 2).unwrap();
        let (lower, upper) = mean_bounds(&values, 0.95, 2).unwrap();
        // at the limit itself, one resample more or less decides
        prop_assume!((p.below - 0.05).abs() > 1e-3 && (p.above - 0.05).abs() > 1e-3);
        prop_assert_eq!(upper < limit, p.below < 0.05);
        prop_assert_eq!(lower > limit, p.above < 0.05);
    }

    #[test]
    fn bounds_widen_with_confidence(values in prop::collection::vec(0.0..1.0f64, 2..40), confidence in 0.5..0.99f64) {
        let stricter = 1.0 - (1.0 - confidence) / 2.0;
        for (narrow, wide) in [
            (mean_bounds(&values, confidence, 2).unwrap(), mean_bounds(&values, stricter, 2).unwrap()),
            (
                bounded_mean_bounds(&values, 0.0..=1.0, confidence).unwrap(),
                bounded_mean_bounds(&values, 0.0..=1.0, stricter).unwrap(),
            ),
        ] {
            prop_assert!(wide.0 <= narrow.0 && narrow.1 <= wide.1);
            prop_assert!(narrow.0 <= narrow.1);
        }
    }
}

fn table(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/data/statistics.json", env!("CARGO_MANIFEST_DIR"));
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    golden[name].as_array().unwrap().clone()
}

fn count(case: &Value, name: &str) -> usize {
    usize::try_from(case[name].as_u64().unwrap()).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn assert_close(ours: f64, theirs: &Value, case: &Value) {
    let theirs = number(theirs);
    assert!((ours - theirs).abs() <= 1e-9, "{ours}, not {theirs}: {case}");
}
