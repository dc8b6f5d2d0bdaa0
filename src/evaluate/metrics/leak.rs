//! Locates an attack between chance and the undefended attack.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::Columns;
use crate::evaluate::draws::index_below;
use crate::evaluate::statistics::{RESAMPLES, Score};

/// Returns, text by text, the distances of the score and of the ceiling from the floor. `None` for a text
/// that lacks one of the three.
pub(in crate::evaluate) fn over_floor(
    metric: &str,
    texts: &Columns,
    floor: &Columns,
    ceiling: &Columns,
) -> Vec<Option<(f64, f64)>> {
    let columns = texts.column(metric).iter().zip(floor.column(metric)).zip(ceiling.column(metric));
    let term = |((score, floor), ceiling): ((&Option<f64>, &Option<f64>), &Option<f64>)| {
        let floor = (*floor)?;
        Some(((*score)? - floor, (*ceiling)? - floor))
    };
    columns.map(term).collect()
}

/// Divides the sum of the scores' distances from the floor by that of the ceilings' distances. The interval
/// is the percentile bootstrap over texts: a resample takes the same texts for score, floor and ceiling.
pub(super) fn leak(over_floor: Vec<Option<(f64, f64)>>, seed: u64) -> Option<Score> {
    let terms: Vec<(f64, f64)> = over_floor.into_iter().flatten().collect();
    let all: Vec<usize> = (0..terms.len()).collect();
    let value = ratio(&terms, &all)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut resample = || resampled(terms.len(), &mut rng);
    let mut ratios: Vec<f64> = (0..RESAMPLES).filter_map(|_| ratio(&terms, &resample())).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    let tail = ratios.len() / 40;
    Some(Score { value, low: *ratios.get(tail)?, high: *ratios.get(ratios.len() - 1 - tail)? })
}

/// The ratio; `None` if the ceiling of these texts is not above their floor.
fn ratio(terms: &[(f64, f64)], texts: &[usize]) -> Option<f64> {
    let sum = |part: fn(&(f64, f64)) -> f64| texts.iter().map(|&text| part(&terms[text])).sum::<f64>();
    let range = sum(|term| term.1);
    (range > 0.0).then(|| sum(|term| term.0) / range)
}

fn resampled(n: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    (0..n).map(|_| index_below(n, rng)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::bleu::STRENGTH;
    use super::*;

    fn columns(scores: &[f64]) -> Columns {
        [(STRENGTH, scores.iter().copied().map(Some).collect())].into_iter().collect()
    }

    #[test]
    fn the_leak_is_one_at_the_ceiling_and_zero_at_the_floor() {
        let (ceiling, floor) = ([90.0, 100.0, 80.0, 95.0], [4.0, 6.0, 5.0, 3.0]);
        let of = |scores: &[f64], floor: &[f64]| {
            leak(over_floor(STRENGTH, &columns(scores), &columns(floor), &columns(&ceiling)), 0)
        };
        assert_eq!(of(&ceiling, &floor), Some(Score { value: 1.0, low: 1.0, high: 1.0 }));
        assert_eq!(of(&floor, &floor), Some(Score { value: 0.0, low: 0.0, high: 0.0 }));
        let beyond = of(&[100.0; 4], &floor).unwrap();
        assert!(beyond.value > 1.0 && beyond.low <= beyond.value && beyond.value <= beyond.high);
        assert!(of(&[0.0; 4], &floor).unwrap().value < 0.0);
        // words that occur in any text are not a leak
        assert_eq!(of(&[3.0; 4], &[3.0; 4]), Some(Score { value: 0.0, low: 0.0, high: 0.0 }));
    }

    #[test]
    fn no_range_has_no_leak() {
        assert_eq!(leak(vec![Some((0.0, 0.0)), Some((0.0, 0.0))], 0), None);
        assert_eq!(leak(vec![], 0), None);
    }

    #[test]
    fn a_text_without_a_score_is_left_out() {
        let with = |scores: [Option<f64>; 3]| -> Columns { [("x", scores.to_vec())].into_iter().collect() };
        let [texts, floor, ceiling] =
            [[Some(0.5), None, Some(1.0)], [Some(0.25), Some(0.0), Some(0.0)], [Some(1.0), Some(1.0), None]];
        let terms = over_floor("x", &with(texts), &with(floor), &with(ceiling));
        assert_eq!(terms, [Some((0.25, 0.75)), None, None]);
        assert_eq!(leak(terms, 0).map(|score| score.value), Some(0.25 / 0.75));
    }
}
