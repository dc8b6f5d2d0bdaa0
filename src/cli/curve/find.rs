//! The weakest strength that keeps a limit, by bisection.

use serde::Serialize;

use crate::evaluate::statistics::Score;
use crate::evaluate::sweep::rounded;

/// The bracket around the answer is at most this part of the range, on its own scale.
const NARROW: f64 = 1.0 / 64.0;

/// A strength that was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tried {
    pub(super) strength: f64,
    /// What the worst adversary reached.
    pub(super) worst: Score,
    pub(super) ndcg: Option<f64>,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Measure(f64),
    Done(Answer),
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Answer {
    /// The weakest strength from which on all measured ones keep the limit.
    pub(super) strength: Option<f64>,
    /// The strengths between which the weakest one lies, by the intervals of the scores: the strongest measured one that
    /// breaks the limit for certain, and the weakest from which on all keep it for certain. `None` where the range has
    /// none.
    pub(super) between: (Option<f64>, Option<f64>),
    /// Whether it is the weakest of the whole range, so that an even weaker one may suffice.
    pub(super) at_the_weak_end: bool,
    /// A stronger setting that let the attacker reach more than a weaker one, beyond the weaker one's
    /// interval or across the limit: the weaker strength, and the stronger.
    pub(super) not_monotone: Option<(f64, f64)>,
}

/// Returns what to do next. `trials` has at least the ends of the range. A range of whole numbers is already measured
/// in full.
pub(super) fn step(trials: &[Tried], most: f64, log: bool, whole: bool) -> Step {
    let ordered = weak_to_strong(trials);
    let keeps = |trial: &Tried| trial.worst.value <= most;
    let first = first_from(&ordered, keeps);
    let answer = Answer {
        strength: ordered.get(first).map(|trial| trial.strength),
        between: between_certain(&ordered, most),
        at_the_weak_end: first == 0,
        not_monotone: not_monotone(&ordered, most),
    };
    if first == 0 || first == ordered.len() || whole {
        return Step::Done(answer);
    }
    match between(ordered[first - 1].strength, ordered[first].strength, trials, log) {
        Some(strength) => Step::Measure(strength),
        None => Step::Done(answer),
    }
}

/// The place of the weakest strength from which on all hold.
fn first_from(ordered: &[Tried], holds: impl Fn(&Tried) -> bool) -> usize {
    ordered.len() - ordered.iter().rev().take_while(|trial| holds(trial)).count()
}

fn between_certain(ordered: &[Tried], most: f64) -> (Option<f64>, Option<f64>) {
    let strength = |trial: &Tried| trial.strength;
    let broken = ordered.iter().rfind(|trial| trial.worst.low > most).map(strength);
    let kept = ordered.get(first_from(ordered, |trial| trial.worst.high <= most)).map(strength);
    (broken, kept)
}

/// A short number near the middle, unless the two are already close.
fn between(a: f64, b: f64, trials: &[Tried], log: bool) -> Option<f64> {
    let scale = |value: f64| if log { value.ln() } else { value };
    let all = || trials.iter().map(|trial| scale(trial.strength));
    let range = all().fold(f64::MIN, f64::max) - all().fold(f64::MAX, f64::min);
    if (scale(a) - scale(b)).abs() <= NARROW * range {
        return None;
    }
    let at = |part: f64| {
        let value = scale(a.min(b)) + part * (scale(a.max(b)) - scale(a.min(b)));
        if log { value.exp() } else { value }
    };
    let (low, middle, high) = (at(0.4), at(0.5), at(0.6));
    let short = (1..=6).map(|digits| to_digits(middle, digits)).find(|value| (low..=high).contains(value));
    let middle = short.unwrap_or_else(|| rounded(middle));
    (middle > a.min(b) && middle < a.max(b)).then_some(middle)
}

/// The number with so many significant digits.
fn to_digits(value: f64, digits: usize) -> f64 {
    format!("{value:.*e}", digits - 1).parse().unwrap_or(value)
}

/// Sorts trials from weak to strong. The stronger end is the one that leaves the attacker less; if both leave the
/// same, the one that leaves retrieval less.
fn weak_to_strong(trials: &[Tried]) -> Vec<Tried> {
    let mut ordered = trials.to_vec();
    ordered.sort_by(|a, b| a.strength.total_cmp(&b.strength));
    if let [first, .., last] = ordered.as_slice() {
        let by_ndcg = || first.ndcg.unwrap_or(0.0).total_cmp(&last.ndcg.unwrap_or(0.0));
        if first.worst.value.total_cmp(&last.worst.value).then_with(by_ndcg).is_lt() {
            ordered.reverse();
        }
    }
    ordered
}

fn not_monotone(ordered: &[Tried], most: f64) -> Option<(f64, f64)> {
    let rises = |weaker: &Tried, stronger: &Tried| {
        let crosses = weaker.worst.value <= most && stronger.worst.value > most;
        crosses || stronger.worst.value > weaker.worst.high.max(weaker.worst.value)
    };
    ordered.windows(2).find(|pair| rises(&pair[0], &pair[1])).map(|pair| (pair[0].strength, pair[1].strength))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trial(strength: f64, value: f64) -> Tried {
        Tried { strength, worst: Score { value, low: value, high: value }, ndcg: Some(1.0 - strength) }
    }

    /// Follows the steps if each strength leaks what `leak` says.
    fn search(range: (f64, f64), most: f64, log: bool, leak: impl Fn(f64) -> f64) -> (Answer, usize) {
        let mut trials = vec![trial(range.0, leak(range.0)), trial(range.1, leak(range.1))];
        loop {
            match step(&trials, most, log, false) {
                Step::Measure(strength) => trials.push(trial(strength, leak(strength))),
                Step::Done(answer) => return (answer, trials.len()),
            }
            assert!(trials.len() < 20, "it does not end");
        }
    }

    #[test]
    fn the_ends_are_told_apart() {
        let falling = |strength: f64| 1.0 - strength;
        assert_eq!(search((0.0, 1.0), 0.0 - 1e-9, false, falling).0.strength, None);
        let (answer, trials) = search((0.5, 1.0), 0.5, false, falling);
        assert_eq!((answer.strength, answer.at_the_weak_end, trials), (Some(0.5), true, 2));
        let rising = |bits: f64| bits / 8.0;
        let (answer, _) = search((1.0, 8.0), 0.5, false, rising);
        assert!(answer.strength.unwrap() <= 4.0 && answer.strength.unwrap() > 3.8, "{answer:?}");
    }

    #[test]
    fn a_leak_that_rises_with_strength_is_told() {
        let bump = |strength: f64| if (0.6..0.9).contains(&strength) { 0.55 } else { 1.0 - strength };
        let trials: Vec<Tried> =
            (0..=10).map(|n| trial(f64::from(n) / 10.0, bump(f64::from(n) / 10.0))).collect();
        let Step::Done(answer) = step(&trials, 0.45, false, true) else { panic!("all are measured") };
        assert_eq!((answer.strength, answer.not_monotone), (Some(0.9), Some((0.5, 0.6))));
        let flat: Vec<Tried> = [0.1, 0.2].map(|strength| trial(strength, 0.3)).to_vec();
        let Step::Done(answer) = step(&flat, 0.5, false, false) else { panic!("both ends keep it") };
        assert_eq!((answer.strength, answer.not_monotone), (Some(0.1), None));
    }

    #[test]
    fn the_answer_lies_between_what_is_certain() {
        let wide = |strength: f64, (low, value, high): (f64, f64, f64)| Tried {
            worst: Score { value, low, high },
            ..trial(strength, value)
        };
        let scores = [(0.8, 0.9, 1.0), (0.4, 0.6, 0.8), (0.3, 0.45, 0.6), (0.2, 0.3, 0.4)];
        let trials: Vec<Tried> =
            [1.0, 2.0, 3.0, 4.0].into_iter().zip(scores).map(|(at, of)| wide(at, of)).collect();
        for (most, expected) in [
            (0.5, (Some(1.0), Some(4.0))),
            (0.35, (Some(2.0), None)),
            (0.1, (Some(4.0), None)),
            (0.85, (None, Some(2.0))),
            (1.0, (None, Some(1.0))),
        ] {
            let Step::Done(answer) = step(&trials, most, false, true) else { panic!("all are measured") };
            assert_eq!(answer.between, expected, "{most}");
        }
    }

    #[test]
    fn a_strength_to_measure_is_a_short_number() {
        let trials = [trial(0.003, 0.9), trial(0.1, 0.1)];
        assert_eq!(step(&trials, 0.5, true, false), Step::Measure(0.02));
        let trials = [trials[0], trial(0.05, 0.9), trial(0.06, 0.1), trials[1]];
        assert_eq!(step(&trials, 0.5, true, false), Step::Measure(0.055));
    }

    proptest! {
        #[test]
        fn a_threshold_is_found_closely(from in 1e-4..1e-2_f64, decades in 0.5..3.0_f64, at in 0.02..0.98_f64) {
            let to = rounded(from * 10_f64.powf(decades));
            let from = rounded(from);
            let threshold = (from.ln() + at * (to / from).ln()).exp();
            let (answer, trials) = search((from, to), 0.5, true, |strength| if strength < threshold { 0.9 } else { 0.1 });
            let found = answer.strength.unwrap();
            prop_assert!(found >= threshold && (found / threshold).ln() <= 2.0 * NARROW * (to / from).ln());
            prop_assert!(trials <= 11 && answer.not_monotone.is_none());
        }
    }
}
