//! How likely a text is as language: trigrams of units, smoothed as Witten and Bell do.

use std::collections::HashMap;

/// The unit before a text's first one, and the one after its last.
pub(super) const EDGE: u32 = u32::MAX;

/// A trigram model of units. Each order is interpolated with the one below it, with the weights of Witten and
/// Bell (1991): as many counts go to the lower order as different units were seen.
#[derive(Debug, Default)]
pub(super) struct Language {
    pairs: HashMap<(u32, u32), Followers>,
    singles: HashMap<u32, Followers>,
    any: Followers,
}

/// What was seen after a context.
#[derive(Debug, Default)]
struct Followers {
    total: u32,
    counts: HashMap<u32, u32>,
    /// The most frequent first, of equals the lower number; sorted when all is counted.
    common: Vec<u32>,
}

impl Followers {
    fn add(&mut self, unit: u32) {
        self.total += 1;
        *self.counts.entry(unit).or_default() += 1;
    }

    fn finish(&mut self) {
        self.common = self.counts.keys().copied().collect();
        self.common.sort_unstable_by_key(|unit| (std::cmp::Reverse(self.counts[unit]), *unit));
        self.common.truncate(COMMON);
    }

    fn smoothed(&self, unit: u32, lower: f32) -> f32 {
        let (total, kinds) = (self.total as f32, self.counts.len() as f32);
        let seen = self.counts.get(&unit).copied().unwrap_or(0) as f32;
        (seen + kinds * lower) / (total + kinds).max(1.0)
    }
}

/// Continuations that are kept for a context.
const COMMON: usize = 64;
/// As many units are taken to exist, for the probability of one that was never seen.
const UNITS: f32 = 100_000.0;

impl Language {
    pub(super) fn fit<'a>(texts: impl Iterator<Item = &'a [u32]>) -> Self {
        let mut model = Self::default();
        for text in texts {
            let (mut before, mut last) = (EDGE, EDGE);
            for &unit in text.iter().chain([&EDGE]) {
                model.any.add(unit);
                model.singles.entry(last).or_default().add(unit);
                model.pairs.entry((before, last)).or_default().add(unit);
                (before, last) = (last, unit);
            }
        }
        model.any.finish();
        model.singles.values_mut().for_each(Followers::finish);
        model.pairs.values_mut().for_each(Followers::finish);
        model
    }

    /// The logarithm of the probability of `unit` after two others.
    fn log_probability(&self, before: u32, last: u32, unit: u32) -> f32 {
        let mut probability = self.any.smoothed(unit, 1.0 / UNITS);
        if let Some(followers) = self.singles.get(&last) {
            probability = followers.smoothed(unit, probability);
        }
        if let Some(followers) = self.pairs.get(&(before, last)) {
            probability = followers.smoothed(unit, probability);
        }
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

    /// What is seen most after two units; after the second alone where the two were never seen.
    pub(super) fn continuations(&self, before: u32, last: u32) -> &[u32] {
        let pairs = self.pairs.get(&(before, last)).filter(|followers| followers.counts.len() >= 4);
        pairs.or_else(|| self.singles.get(&last)).map_or(&[], |followers| &followers.common)
    }

    /// The most frequent units.
    #[cfg(test)]
    fn commonest(&self) -> &[u32] {
        &self.any.common
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
