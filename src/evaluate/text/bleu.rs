use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::iter::Sum;

use super::hash::TextHasher;
use super::tokens::{prepare_13a, tokens_13a};

const MAX_ORDER: usize = 4;

/// Returns sentence BLEU in `0..=100`, as sacreBLEU 2 computes it for one reference with
/// `BLEU(tokenize="13a", smooth_method="exp", effective_order=False)`, up to 4-grams and with case
/// (<https://github.com/mjpost/sacrebleu>; Post, 2018, arXiv 1804.08771).
///
/// A candidate of fewer than four tokens scores 0, even if it equals its reference: that is what "no effective order"
/// means. So does an empty text on either side.
///
/// ```
/// # use embosk::evaluate::text::bleu;
/// assert_eq!(bleu("Ann lives in Rome.", "Ann lives in Rome."), 100.0);
/// assert_eq!(bleu("Ann lives", "Ann lives"), 0.0);
/// ```
pub fn bleu(candidate: &str, reference: &str) -> f64 {
    BleuCounts::new(candidate, reference).score(Order::Full)
}

/// What BLEU counts in a pair of texts. The counts of a corpus are the sum of its pairs' counts, and its
/// BLEU is the score of that sum: not the mean of the pairs' scores.
///
/// ```
/// # use embosk::evaluate::text::{BleuCounts, Order};
/// let pairs = [("Ann lives in Rome.", "Ann lives in Rome."), ("Bob", "Bob left us.")];
/// let corpus: BleuCounts = pairs.iter().map(|(candidate, reference)| BleuCounts::new(candidate, reference)).sum();
/// assert!((corpus.score(Order::Full) - 100.0 * (1.0_f64 - 9.0 / 6.0).exp()).abs() < 1e-9);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BleuCounts {
    matches: [u64; MAX_ORDER],
    totals: [u64; MAX_ORDER],
    candidate: u64,
    reference: u64,
}

/// Which n-grams a BLEU score is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Those up to four tokens, so that fewer than four tokens score 0.
    #[default]
    Full,
    /// Those that the candidate is long enough for: sacreBLEU's `effective_order=True`, meant for short
    /// texts.
    Effective,
}

impl BleuCounts {
    /// Counts the n-grams of one to four tokens (13a, with case) that both texts have.
    pub fn new(candidate: &str, reference: &str) -> Self {
        let (candidate, reference) = (prepare_13a(candidate), prepare_13a(reference));
        let (candidate, reference) = (tokens_13a(&candidate), tokens_13a(&reference));
        let mut totals = [0; MAX_ORDER];
        for (total, order) in totals.iter_mut().zip(1..) {
            *total = (candidate.len() + 1).saturating_sub(order) as u64;
        }
        Self {
            matches: matches(&candidate, &reference),
            totals,
            candidate: candidate.len() as u64,
            reference: reference.len() as u64,
        }
    }

    /// Returns BLEU in `0..=100`, with exponential smoothing: each order without a match counts half as much as the
    /// previous order without one.
    pub fn score(&self, order: Order) -> f64 {
        let orders = match order {
            Order::Full => MAX_ORDER,
            Order::Effective => self.totals.iter().filter(|&&total| total > 0).count(),
        };
        if self.matches[0] == 0 || self.totals[orders - 1] == 0 {
            return 0.0;
        }
        let mut smoothing = 1.0;
        let mut log_precisions = 0.0;
        for (&matched, &total) in self.matches.iter().zip(&self.totals).take(orders) {
            let precision = if matched == 0 {
                smoothing *= 2.0;
                1.0 / (smoothing * total as f64)
            } else {
                matched as f64 / total as f64
            };
            log_precisions += precision.ln();
        }
        let length_ratio = self.reference as f64 / self.candidate as f64;
        let log_brevity = (1.0 - length_ratio).min(0.0);
        100.0 * (log_brevity + log_precisions / orders as f64).exp()
    }
}

impl Sum for BleuCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, counts| {
            for order in 0..MAX_ORDER {
                sum.matches[order] += counts.matches[order];
                sum.totals[order] += counts.totals[order];
            }
            sum.candidate += counts.candidate;
            sum.reference += counts.reference;
            sum
        })
    }
}

/// For each order, the number of n-grams that both texts have, each counted as often as the rarer side has it.
fn matches(candidate: &[&str], reference: &[&str]) -> [u64; MAX_ORDER] {
    if reference.len() <= u128::BITS as usize {
        matches_by_place(candidate, reference)
    } else {
        std::array::from_fn(|order| matches_by_count(candidate, reference, order + 1))
    }
}

/// Follows the places of n-grams in a reference of up to 128 tokens, with a bit for each: where a token is, and at
/// which of those places the n-gram that begins with it continues. Equal n-grams have equal places and all others
/// have none in common, so each match takes one place.
fn matches_by_place(candidate: &[&str], reference: &[&str]) -> [u64; MAX_ORDER] {
    let mut places: HashMap<&str, u128, BuildHasherDefault<TextHasher>> =
        HashMap::with_capacity_and_hasher(reference.len(), BuildHasherDefault::default());
    for (place, token) in reference.iter().enumerate() {
        *places.entry(token).or_default() |= 1 << place;
    }
    let mut free = [u128::MAX; MAX_ORDER];
    let mut matched = [0; MAX_ORDER];
    // the places where the n-grams begin that end with the token before, by their length
    let mut begun = [0_u128; MAX_ORDER];
    for token in candidate {
        let here = places.get(token).copied().unwrap_or(0);
        for order in (1..MAX_ORDER).rev() {
            begun[order] = begun[order - 1] & (here >> order);
        }
        begun[0] = here;
        for order in 0..MAX_ORDER {
            let open = begun[order] & free[order];
            free[order] &= !(open & open.wrapping_neg());
            matched[order] += u64::from(open != 0);
        }
    }
    matched
}

fn matches_by_count(candidate: &[&str], reference: &[&str], order: usize) -> u64 {
    let mut unmatched: HashMap<&[&str], usize, BuildHasherDefault<TextHasher>> = HashMap::default();
    for ngram in reference.windows(order) {
        *unmatched.entry(ngram).or_default() += 1;
    }
    let mut matched = 0;
    for ngram in candidate.windows(order) {
        if let Some(count) = unmatched.get_mut(ngram).filter(|count| **count > 0) {
            *count -= 1;
            matched += 1;
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_ways_of_counting_agree(
            candidate in prop::collection::vec("[a-c]{1,2}", 0..150),
            reference in prop::collection::vec("[a-c]{1,2}", 0..=128),
        ) {
            let candidate: Vec<&str> = candidate.iter().map(String::as_str).collect();
            let reference: Vec<&str> = reference.iter().map(String::as_str).collect();
            let counted = std::array::from_fn(|order| matches_by_count(&candidate, &reference, order + 1));
            prop_assert_eq!(matches_by_place(&candidate, &reference), counted);
        }
    }
}
