//! How well two groups can be told apart by a score.

use super::{Score, proportion};

/// The normal quantile of a two-sided interval at 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// Returns the area under the ROC curve: the probability that a positive scores higher than a negative, with ties
/// counting half (Mann and Whitney 1947). `None` if one of the groups is empty.
///
/// The interval is method 5 of Newcombe (Statistics in Medicine 25, 2006, 559–573): the areas that the found one does
/// not contradict, with the variance of Hanley and McNeil for exponential scores. Its width is not zero if the groups
/// do not overlap. Scores must be finite.
///
/// ```
/// # use embosk::evaluate::statistics::area_under_curve;
/// let area = area_under_curve(&[0.9, 0.8, 0.3], &[0.5, 0.1]).unwrap();
/// assert!((area.value - 5.0 / 6.0).abs() < 1e-12);
/// assert!(area.low < 0.8 && area.high < 1.0);
/// assert_eq!(area_under_curve(&[], &[0.5]), None);
/// ```
pub fn area_under_curve(positives: &[f64], negatives: &[f64]) -> Option<Score> {
    let (m, n) = (positives.len() as f64, negatives.len() as f64);
    if positives.is_empty() || negatives.is_empty() {
        return None;
    }
    let sorted = sorted(negatives);
    let below = |score: f64| sorted.partition_point(|negative| *negative < score);
    let up_to = |score: f64| sorted.partition_point(|negative| *negative <= score);
    let wins: usize = positives.iter().map(|&score| below(score) + up_to(score)).sum();
    let value = wins as f64 / (2.0 * m * n);
    let spread = |area: f64| {
        let more = f64::midpoint(m, n) - 1.0;
        let terms = 1.0 + more * (1.0 - area) / (2.0 - area) + more * area / (1.0 + area);
        Z * (area * (1.0 - area) * terms / (m * n)).sqrt()
    };
    // the lowest area that the found one is not too far above, and the highest that it is not too far below
    let low = first_in(0.0, value, |area| value - area <= spread(area));
    let high = 1.0 - first_in(0.0, 1.0 - value, |area| 1.0 - area - value <= spread(1.0 - area));
    Some(Score { value, low, high })
}

/// Returns the share of positives above the lowest threshold that at most `rate` of the negatives exceed, with the
/// interval of Clopper and Pearson for that threshold. `None` if one of the groups is empty, or `rate` is less than
/// one of the negatives. Scores must be finite.
///
/// ```
/// # use embosk::evaluate::statistics::true_positive_rate;
/// let negatives: Vec<f64> = (0..100).map(f64::from).collect();
/// let rate = true_positive_rate(&[98.5, 99.5, 5.0, 98.0], &negatives, 0.01).unwrap();
/// assert_eq!(rate.value, 0.5);
/// assert_eq!(true_positive_rate(&[1.0], &negatives[..99], 0.01), None);
/// ```
pub fn true_positive_rate(positives: &[f64], negatives: &[f64], rate: f64) -> Option<Score> {
    // a rate such as 0.29 of 100 is not rounded down to 28
    let allowed = (rate * negatives.len() as f64 + 1e-9) as usize;
    if positives.is_empty() || allowed == 0 {
        return None;
    }
    let sorted = sorted(negatives);
    let highest = sorted.len().checked_sub(allowed + 1).map_or(f64::NEG_INFINITY, |at| sorted[at]);
    let told = positives.iter().filter(|score| **score > highest).count();
    Some(proportion(told, positives.len()))
}

fn sorted(scores: &[f64]) -> Vec<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// Where a claim begins to hold, between a number where it does not (unless it holds everywhere) and one where it
/// does.
fn first_in(mut from: f64, mut to: f64, holds: impl Fn(f64) -> bool) -> f64 {
    if holds(from) {
        return from;
    }
    loop {
        let middle = f64::midpoint(from, to);
        if middle <= from || middle >= to {
            return to;
        }
        if holds(middle) { to = middle } else { from = middle }
    }
}
