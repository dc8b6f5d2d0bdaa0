//! What a sample says about a limit: bounds, p-values, and how large a sample would decide.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use super::super::statistics::{
    PValues, mean_bounds, mean_p_values, normal_quantile, proportion_bounds, proportion_p_values,
};

/// How many draws a bound takes; the least p-value is 1 / (`DRAWS` + 1).
const DRAWS: usize = 10_000;

/// A bootstrap of fewer differences than this proves nothing.
pub(super) const LEAST_PAIRS: usize = 30;

/// Beyond this many texts or queries, a number helps nobody.
const MOST: f64 = 1e7;

/// A score, and what it was computed from.
pub(super) struct Measurement {
    pub(super) value: f64,
    pub(super) n: usize,
    sample: Sample,
}

enum Sample {
    /// A yes or no for each text: Clopper and Pearson.
    Share { successes: usize },
    /// A ratio of means whose parts cannot leave their range. Draws of its bounds, ascending.
    Bounded { terms: Vec<Term>, range: (Term, Term), lower: Vec<f64>, upper: Vec<f64> },
    /// Differences between two treatments of the same texts or queries: the paired bootstrap.
    Paired { differences: Vec<f64>, seed: u64 },
}

/// What one text adds to the numerator and to the denominator of a score.
pub(super) type Term = (f64, f64);

impl Measurement {
    /// The share of `hits` that are true.
    pub(super) fn share(hits: &[bool]) -> Self {
        let (successes, n) = (hits.iter().filter(|hit| **hit).count(), hits.len());
        Self { value: successes as f64 / n.max(1) as f64, n, sample: Sample::Share { successes } }
    }

    /// The mean of scores between `least` and `most`.
    pub(super) fn bounded(scores: &[f64], (least, most): (f64, f64), seed: u64) -> Self {
        let terms = scores.iter().map(|&score| (score, 1.0)).collect();
        Self::ratio(terms, ((least, 1.0), (most, 1.0)), seed)
    }

    /// A sum of numerators over a sum of denominators.
    ///
    /// The bounds are those of Learned-Miller and Thomas, *A New Confidence Interval for the Mean of a Bounded Random
    /// Variable*, 2019 (arXiv 1905.06208): the texts, and one more that is the worst possible, are weighted by the
    /// spacings of uniform variables. So what was never seen is not taken as impossible, as in a bootstrap: 0 of 300
    /// is at most 3/300. For yes and no, they are the bounds of Clopper and Pearson. That they hold for any
    /// distribution is conjectured, and no counterexample is known.
    pub(super) fn ratio(terms: Vec<Term>, range: (Term, Term), seed: u64) -> Self {
        let sum = |part: fn(&Term) -> f64| terms.iter().map(part).sum::<f64>();
        let (value, n) = (sum(|term| term.0) / sum(|term| term.1), terms.len());
        let draws: Vec<(f64, f64)> =
            (0..DRAWS as u64).into_par_iter().map(|draw| weighted(&terms, range, seed, draw)).collect();
        let sorted = |end: fn(&(f64, f64)) -> f64| {
            let mut ends: Vec<f64> = draws.iter().map(end).collect();
            ends.par_sort_unstable_by(f64::total_cmp);
            ends
        };
        let (lower, upper) = (sorted(|draw| draw.0), sorted(|draw| draw.1));
        Self { value, n, sample: Sample::Bounded { terms, range, lower, upper } }
    }

    /// The mean of differences, pair by pair.
    pub(super) fn paired(differences: Vec<f64>, seed: u64) -> Self {
        let n = differences.len();
        let value = differences.iter().sum::<f64>() / n.max(1) as f64;
        Self { value, n, sample: Sample::Paired { differences, seed } }
    }

    /// The p-values: how well the data fit a truth that is not below the limit, and one that is not above.
    pub(super) fn p_values(&self, limit: f64) -> PValues {
        match &self.sample {
            Sample::Share { successes } => proportion_p_values(*successes, self.n, limit),
            Sample::Bounded { lower, upper, .. } => PValues {
                below: p_value(DRAWS - upper.partition_point(|&bound| bound < limit)),
                above: p_value(lower.partition_point(|&bound| bound <= limit)),
            },
            Sample::Paired { .. } if self.n < LEAST_PAIRS => PValues { below: 1.0, above: 1.0 },
            Sample::Paired { differences, seed } => {
                mean_p_values(differences, limit, *seed).unwrap_or(PValues { below: 1.0, above: 1.0 })
            }
        }
    }

    /// Whether these are differences, and too few to prove anything.
    pub(super) fn is_too_few(&self) -> bool {
        matches!(self.sample, Sample::Paired { .. }) && self.n < LEAST_PAIRS
    }

    /// One-sided bounds, each with its own probability of being wrong.
    pub(super) fn bounds(&self, wrong_lower: f64, wrong_upper: f64) -> (f64, f64) {
        let of = |bounds: &dyn Fn(f64) -> (f64, f64)| (bounds(wrong_lower).0, bounds(wrong_upper).1);
        match &self.sample {
            Sample::Share { successes } => of(&|wrong| proportion_bounds(*successes, self.n, 1.0 - wrong)),
            Sample::Bounded { range, lower, upper, .. } => of(&|wrong| match left_out(wrong) {
                Some(out) => (lower[out], upper[DRAWS - 1 - out]),
                None => (range.0.0, range.1.0),
            }),
            Sample::Paired { differences, seed } => {
                of(&|wrong| mean_bounds(differences, 1.0 - wrong, *seed).unwrap_or((-1.0, 1.0)))
            }
        }
    }

    /// About how many texts or queries would decide, if more of them were like these and either answer may be wrong
    /// with probability `wrong`. `None` if no number would, or none that could be run.
    pub(super) fn needed(&self, limit: f64, wrong: f64) -> Option<usize> {
        let at = |terms: &[Term]| terms.iter().map(|term| term.0 - limit * term.1).collect::<Vec<_>>();
        let (over, range) = match &self.sample {
            Sample::Share { successes } => {
                let over = (0..self.n).map(|text| f64::from(u8::from(text < *successes)) - limit);
                (over.collect(), Some((-limit, 1.0 - limit)))
            }
            Sample::Bounded { terms, range, .. } => {
                let ends = at(&[range.0, range.1]);
                (at(terms), Some((ends[0], ends[1])))
            }
            Sample::Paired { differences, .. } => (differences.iter().map(|d| d - limit).collect(), None),
        };
        let least = if range.is_none() { LEAST_PAIRS } else { 0 };
        deciding(&over, range, wrong).map(|enough| enough.max(least))
    }
}

/// For one draw, the score with the least possible text added, and with the most.
fn weighted(terms: &[Term], (least, most): (Term, Term), seed: u64, draw: u64) -> (f64, f64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(draw);
    let add = |sum: Term, term: Term, weight: f64| (sum.0 + weight * term.0, sum.1 + weight * term.1);
    let sum = terms.iter().fold((0.0, 0.0), |sum, &term| add(sum, term, exponential(&mut rng)));
    let last = exponential(&mut rng);
    let ratio = |(over, under): Term, undefined: f64| if under > 0.0 { over / under } else { undefined };
    (ratio(add(sum, least, last), f64::NEG_INFINITY), ratio(add(sum, most, last), f64::INFINITY))
}

/// Draws an exponential variable. Spacings of uniform variables are exponential ones divided by their sum.
fn exponential(rng: &mut ChaCha8Rng) -> f64 {
    let uniform = ((rng.next_u64() >> 11) as f64 + 0.5) / 2_f64.powi(53);
    -uniform.ln()
}

fn p_value(draws: usize) -> f64 {
    (draws + 1) as f64 / (DRAWS + 1) as f64
}

/// How many draws lie beyond a bound that is wrong with probability `wrong`, so that bound and p-value agree.
fn left_out(wrong: f64) -> Option<usize> {
    ((wrong * (DRAWS + 1) as f64 + 1e-9) as usize).checked_sub(1).map(|out| out.min(DRAWS - 1))
}

/// About how many numbers like `over` would prove that their mean is not 0.
fn deciding(over: &[f64], range: Option<(f64, f64)>, wrong: f64) -> Option<usize> {
    let mean = over.iter().sum::<f64>() / over.len() as f64;
    let (towards, worst) = match mean {
        mean if mean < 0.0 => (1.0, range.map(|range| range.1)),
        mean if mean > 0.0 => (-1.0, range.map(|range| -range.0)),
        _ => return None,
    };
    let over: Vec<f64> = over.iter().map(|value| value * towards).collect();
    let z = -normal_quantile(wrong.min(0.5));
    let decided = |n: f64| upper_bound(&over, worst, n, z) < 0.0;
    let (mut few, mut enough) = (over.len() as f64, 2.0 * over.len() as f64);
    while !decided(enough) {
        (few, enough) = (enough, 2.0 * enough);
        if enough > MOST {
            return None;
        }
    }
    while enough - few > 1.0 {
        let middle = f64::midpoint(few, enough).floor();
        if decided(middle) { enough = middle } else { few = middle }
    }
    Some(enough as usize)
}

/// The bound that `n` numbers like these would have. The draws of [`Measurement::ratio`] have a known mean, variance
/// and skewness, and lie between those of a normal and a gamma distribution, whose quantile Wilson and Hilferty
/// (1931) approximate.
fn upper_bound(values: &[f64], worst: Option<f64>, n: f64, z: f64) -> f64 {
    let times = n / values.len() as f64;
    let total = n + worst.map_or(0.0, |_| 1.0);
    let average = |of: &dyn Fn(f64) -> f64| {
        let known = values.iter().map(|&value| of(value)).sum::<f64>() * times;
        (known + worst.map_or(0.0, of)) / total
    };
    let mean = average(&|value| value);
    let spread = (average(&|value| (value - mean).powi(2)) / (total + 1.0)).sqrt();
    if spread <= 0.0 {
        return mean;
    }
    let third = 2.0 * average(&|value| (value - mean).powi(3)) / ((total + 1.0) * (total + 2.0));
    let skewness = third / spread.powi(3);
    if skewness.abs() < 1e-6 {
        return mean + z * spread;
    }
    let cube = (1.0 + skewness * z / 6.0 - skewness * skewness / 36.0).powi(3);
    mean + spread * (cube - 1.0) * 2.0 / skewness
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For yes and no as numbers, the bounds are the exact ones, as the paper says.
    #[test]
    fn bounds_of_zeros_and_ones_are_those_of_clopper_and_pearson() {
        for (successes, n) in [(0, 300), (1, 50), (7, 40), (25, 50), (40, 40)] {
            let hits: Vec<bool> = (0..n).map(|text| text < successes).collect();
            let scores: Vec<f64> = hits.iter().map(|&hit| f64::from(u8::from(hit))).collect();
            let (exact, drawn) = (Measurement::share(&hits), Measurement::bounded(&scores, (0.0, 1.0), 3));
            for wrong in [0.05, 0.01] {
                let ((a, b), (c, d)) = (exact.bounds(wrong, wrong), drawn.bounds(wrong, wrong));
                assert!((a - c).abs() < 0.006 && (b - d).abs() < 0.006, "{successes}/{n}: {a} {b}, {c} {d}");
            }
            for limit in [0.02, 0.2, 0.6] {
                let (exact, drawn) = (exact.p_values(limit), drawn.p_values(limit));
                let differs = |a: f64, b: f64| (a - b).abs() > 0.015;
                assert!(!differs(exact.below, drawn.below) && !differs(exact.above, drawn.above));
            }
        }
    }

    #[test]
    fn bound_and_p_value_say_the_same() {
        let scores: Vec<f64> = (0..80).map(|text| f64::from(text % 9) * 3.0).collect();
        let hits: Vec<bool> = (0..80).map(|text| text % 9 == 0).collect();
        let cases = [
            Measurement::bounded(&scores, (0.0, 100.0), 1),
            Measurement::share(&hits),
            Measurement::paired(scores, 1),
        ];
        for evidence in &cases {
            for wrong in [0.05, 0.025, 0.01] {
                let (lower, upper) = evidence.bounds(wrong, wrong);
                assert!(lower < evidence.value && evidence.value < upper);
                let slack = 1e-3 * (upper - lower);
                let [inside, outside] = [upper - slack, upper + slack].map(|limit| evidence.p_values(limit));
                assert!(inside.below > wrong && outside.below <= wrong, "{inside:?} {outside:?} {wrong}");
                let [outside, inside] = [lower - slack, lower + slack].map(|limit| evidence.p_values(limit));
                assert!(inside.above > wrong && outside.above <= wrong, "{inside:?} {outside:?} {wrong}");
            }
        }
    }

    /// What a bootstrap gets wrong: one text in a hundred is recovered whole, and none of these was.
    #[test]
    fn what_was_not_seen_is_not_impossible() {
        let quiet = Measurement::bounded(&[3.0; 100], (0.0, 100.0), 0);
        let (lower, upper) = quiet.bounds(0.05, 0.05);
        assert!(upper > 3.97 + 1.0 && upper < 3.0 + 97.0 * 0.031, "{upper}");
        assert!(lower < 3.0 && lower > 2.8);
        let flat = Measurement::ratio(vec![(3.0, 90.0); 100], ((-100.0, 0.0), (100.0, 0.0)), 0);
        assert!((flat.value - 1.0 / 30.0).abs() < 1e-12 && flat.bounds(0.05, 0.05).1 > 0.06);
    }

    #[test]
    fn the_number_that_decides_decides() {
        let sample =
            |n: usize| (0..n).map(|text| if text % 20 == 0 { 100.0 } else { 4.0 }).collect::<Vec<_>>();
        let few = Measurement::bounded(&sample(100), (0.0, 100.0), 0);
        for (limit, wrong) in [(11.0, 0.05), (12.0, 0.01), (7.0, 0.05)] {
            let enough = few.needed(limit, wrong).unwrap_or(0);
            let decided = |n: usize| {
                let p = Measurement::bounded(&sample(n), (0.0, 100.0), 0).p_values(limit);
                p.below.min(p.above) <= wrong
            };
            // whole twenties, as a sample's
            let (few, more) = (enough * 17 / 400 * 20, enough * 23 / 400 * 20 + 20);
            assert!(!decided(few) && decided(more), "{limit} {wrong}: {enough}");
        }
        // the rule of three
        let none = Measurement::share(&[false; 100]);
        assert!((290..=310).contains(&none.needed(0.01, 0.05).unwrap_or(0)));
        assert_eq!(none.needed(0.0, 0.05), None);
        let few = Measurement::paired(vec![0.5; LEAST_PAIRS - 1], 0);
        assert!(few.p_values(0.1).above > 0.99 && few.needed(0.1, 0.05) >= Some(LEAST_PAIRS));
        assert!(Measurement::paired(vec![0.5; LEAST_PAIRS], 0).p_values(0.1).above < 0.01);
        let paired = Measurement::paired(vec![0.1, -0.1, 0.2, 0.0], 0);
        assert!(paired.needed(0.06, 0.05) > Some(40) && paired.needed(0.05, 0.05).is_none());
    }
}
