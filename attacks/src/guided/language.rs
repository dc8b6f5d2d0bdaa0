//! How likely a text is as language: trigrams of units, smoothed as Witten and Bell do.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

/// The unit before a text's first one, and the one after its last.
pub(super) const EDGE: u32 = u32::MAX;

/// Continuations that are kept for a context.
const COMMON: usize = 64;
/// A pair of units has continuations of its own if it was seen before so many different units.
const KINDS: usize = 4;
/// As many units are taken to exist, for the probability of one that was never seen.
const UNITS: f32 = 100_000.0;

/// A trigram model of units. Each order is interpolated with the one below it, with the weights of Witten and
/// Bell (1991): as many counts go to the lower order as different units were seen.
#[derive(Debug, Default)]
pub(super) struct Language {
    pairs: Contexts<(u32, u32)>,
    singles: Contexts<u32>,
    any: Contexts<()>,
}

impl Language {
    pub(super) fn fit<'a>(texts: impl Iterator<Item = &'a [u32]>) -> Self {
        let (mut pairs, mut singles, mut any) = (Vec::new(), Vec::new(), Vec::new());
        for text in texts {
            let (mut before, mut last) = (EDGE, EDGE);
            for &unit in text.iter().chain([&EDGE]) {
                pairs.push(((before, last), unit));
                singles.push((last, unit));
                any.push(((), unit));
                (before, last) = (last, unit);
            }
        }
        Self { pairs: Contexts::new(pairs), singles: Contexts::new(singles), any: Contexts::new(any) }
    }

    /// The logarithm of the probability of `unit` after two others.
    fn log_probability(&self, before: u32, last: u32, unit: u32) -> f32 {
        let mut probability = self.any.smoothed((), unit, 1.0 / UNITS);
        probability = self.singles.smoothed(last, unit, probability);
        probability = self.pairs.smoothed((before, last), unit, probability);
        probability.max(f32::MIN_POSITIVE).ln()
    }

    /// The mean log-probability of a text's units, with its end.
    pub(super) fn fluency(&self, text: &[u32]) -> f32 {
        let (mut before, mut last, mut sum) = (EDGE, EDGE, 0.0);
        for &unit in text.iter().chain([&EDGE]) {
            sum += self.log_probability(before, last, unit);
            (before, last) = (last, unit);
        }
        sum / (text.len() + 1) as f32
    }

    /// What is seen most after two units; after the second alone if the two were seen with few others or never.
    pub(super) fn continuations(&self, before: u32, last: u32) -> &[u32] {
        let of_pair = self.pairs.common((before, last));
        if of_pair.len() >= KINDS { of_pair } else { self.singles.common(last) }
    }

    /// The most frequent units.
    #[cfg(test)]
    fn commonest(&self) -> &[u32] {
        self.any.common(())
    }
}

/// How often each unit was seen after each context, in a few long lists: a language has millions of contexts.
#[derive(Debug)]
struct Contexts<K> {
    places: HashMap<K, Followers>,
    /// Units and their counts, of one context after the other, in the order of the units.
    counts: Vec<(u32, u32)>,
    /// The most frequent units of one context after the other; of equals, the lower number first.
    common: Vec<u32>,
}

/// What was seen after one context.
#[derive(Debug, Default)]
struct Followers {
    total: u32,
    /// Where they are in the lists.
    counts: Range<usize>,
    common: Range<usize>,
}

impl<K> Default for Contexts<K> {
    fn default() -> Self {
        Self { places: HashMap::new(), counts: Vec::new(), common: Vec::new() }
    }
}

impl<K: Copy + Eq + Hash + Ord> Contexts<K> {
    /// Counts what was seen: contexts, and the unit after each.
    fn new(mut seen: Vec<(K, u32)>) -> Self {
        seen.sort_unstable();
        let mut contexts = Self::default();
        for group in seen.chunk_by(|a, b| a.0 == b.0) {
            let start = contexts.counts.len();
            let of_unit = group.chunk_by(|a, b| a.1 == b.1);
            contexts.counts.extend(of_unit.map(|equal| (equal[0].1, equal.len() as u32)));
            let mut sorted = contexts.counts[start..].to_vec();
            sorted.sort_unstable_by_key(|&(unit, count)| (Reverse(count), unit));
            let first = contexts.common.len();
            contexts.common.extend(sorted.iter().take(COMMON).map(|&(unit, _)| unit));
            let place = Followers {
                total: group.len() as u32,
                counts: start..contexts.counts.len(),
                common: first..contexts.common.len(),
            };
            contexts.places.insert(group[0].0, place);
        }
        contexts
    }

    /// The probability of a unit after a context, from that in the lower order.
    fn smoothed(&self, context: K, unit: u32, lower: f32) -> f32 {
        let Some(place) = self.places.get(&context) else { return lower };
        let counts = &self.counts[place.counts.clone()];
        let seen = counts.binary_search_by_key(&unit, |&(unit, _)| unit).map_or(0, |at| counts[at].1);
        let (total, kinds) = (place.total as f32, counts.len() as f32);
        (seen as f32 + kinds * lower) / (total + kinds).max(1.0)
    }

    fn common(&self, context: K) -> &[u32] {
        self.places.get(&context).map_or(&[], |place| &self.common[place.common.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_and_what_was_seen_is_likelier() {
        let texts: [&[u32]; 3] = [&[0, 1, 2], &[0, 1, 3], &[4, 1, 2]];
        let model = Language::fit(texts.into_iter());
        // what is never seen shares the rest
        let known: f32 =
            [0, 1, 2, 3, 4, EDGE].map(|unit| model.log_probability(0, 1, unit).exp()).iter().sum();
        assert!((0.9..1.0).contains(&known), "{known}");
        assert!(model.fluency(&[0, 1, 2]) > model.fluency(&[2, 1, 0]));
        assert!(model.fluency(&[0, 1, 2]) > model.fluency(&[0, 1, 9]));
        assert_eq!(model.continuations(EDGE, EDGE), [0, 4]);
        assert_eq!(model.continuations(7, 1), [2, 3], "the pair was never seen");
        assert_eq!(model.commonest()[0], 1);
        assert!(Language::default().fluency(&[1]).is_finite());
    }
}
