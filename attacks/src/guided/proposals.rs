//! Edits of a hypothesis that are worth a query, the most promising first.

use std::collections::HashSet;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::edits::Edit;
use super::estimates::{Estimator, Features, Known};
use super::language::{EDGE, Language};
use super::prepared::Prepared;

/// Units that are proposed for a place by each source.
const A_PLACE: usize = 6;
/// Missing words that are tried at every place.
const MISSING: usize = 24;
/// Random moves of a run of units.
const MOVES: usize = 6;

/// What edits are made from.
pub(super) struct Material<'a> {
    pub(super) prepared: &'a Prepared,
    pub(super) estimator: &'a Estimator,
    /// How much a mean log-probability counts beside the cosine.
    pub(super) fluency_weight: f32,
    pub(super) longest: usize,
}

/// A hypothesis that is to be improved.
pub(super) struct Parent<'a> {
    pub(super) known: Known<'a>,
    pub(super) fluency: f32,
}

/// An edit, and what is known of it.
pub(super) type Proposal = (Edit, Features);

impl Material<'_> {
    /// Proposes edits of a hypothesis, those first that are expected to add most to its score.
    pub(super) fn edits(&self, parent: &Parent<'_>, rng: &mut ChaCha8Rng) -> Vec<Proposal> {
        let missing = largest(parent.known.missing.iter().copied(), MISSING);
        let mut found = Vec::new();
        self.by_gradient(&parent.known, &mut found);
        self.replacements(&parent.known, &missing, &mut found);
        self.insertions(&parent.known, &missing, rng, &mut found);
        rearrangements(parent.known.units.len(), rng, &mut found);
        let mut seen = HashSet::new();
        found.retain(|edit| seen.insert(*edit));
        self.sorted(parent, found, rng)
    }

    fn sorted(&self, parent: &Parent<'_>, found: Vec<Edit>, rng: &mut ChaCha8Rng) -> Vec<Proposal> {
        let weigh = |edit: Edit| {
            let features = parent.known.of(edit);
            let fluency = self.prepared.language.fluency(&edit.apply(parent.known.units)) - parent.fluency;
            // an order of words has no estimate
            let luck = if matches!(edit, Edit::Swap { .. } | Edit::Move { .. }) { chance(rng) } else { 0.0 };
            (self.estimator.gain(&features) + luck + self.fluency_weight * fluency, (edit, features))
        };
        let mut weighed: Vec<(f32, Proposal)> = found.into_iter().map(weigh).collect();
        weighed.sort_by(|(a, (first, _)), (b, (second, _))| b.total_cmp(a).then(first.cmp(second)));
        weighed.into_iter().map(|(_, proposal)| proposal).collect()
    }

    /// The units that the gradient and the word scores would most like to see at each place.
    fn by_gradient(&self, known: &Known<'_>, found: &mut Vec<Edit>) {
        let Some((swaps, pieces)) = &known.swaps else { return };
        let [by_gradient, by_word] = self.estimator.slopes();
        let words: Vec<f32> = pieces.units.iter().map(|&unit| by_word * known.score(unit)).collect();
        for ((at, &own), swaps) in known.units.iter().enumerate().zip(swaps.rows()) {
            let gains = swaps.iter().zip(&words).map(|(swap, word)| by_gradient * swap + word);
            let best = largest(gains, A_PLACE).into_iter().map(|column| pieces.units[column as usize]);
            found.extend(best.filter(|&unit| unit != own).map(|unit| Edit::Replace { at, unit }));
        }
    }

    /// Missing words and likely continuations in the place of each unit, and each unit taken out.
    fn replacements(&self, known: &Known<'_>, missing: &[u32], found: &mut Vec<Edit>) {
        for (at, &own) in known.units.iter().enumerate() {
            let likely = continuations(&self.prepared.language, known.units, at);
            let mut likely: Vec<u32> = likely.iter().copied().filter(|&unit| unit != EDGE).collect();
            likely.sort_by(|&a, &b| known.score(b).total_cmp(&known.score(a)));
            let units = missing.iter().copied().chain(likely.into_iter().take(A_PLACE));
            found.extend(units.filter(|&unit| unit != own).map(|unit| Edit::Replace { at, unit }));
            if known.units.len() > 1 {
                found.push(Edit::Delete { at });
            }
        }
    }

    /// Missing words at the two places where they read best, and likely continuations.
    fn insertions(&self, known: &Known<'_>, missing: &[u32], rng: &mut ChaCha8Rng, found: &mut Vec<Edit>) {
        let length = known.units.len();
        if length >= self.longest {
            return;
        }
        let language = &self.prepared.language;
        for &unit in missing.iter().filter(|unit| !known.units.contains(unit)) {
            let mut places: Vec<(f32, Edit)> = (0..=length)
                .map(|at| Edit::Insert { at, unit })
                .map(|edit| (language.fluency(&edit.apply(known.units)), edit))
                .collect();
            places.sort_by(|a, b| b.0.total_cmp(&a.0));
            found.extend(places.into_iter().take(2).map(|(_, edit)| edit));
        }
        for at in 0..=length {
            let likely = continuations(language, known.units, at);
            if likely.is_empty() {
                continue;
            }
            let unit = likely[below(likely.len().min(8), rng)];
            if unit != EDGE {
                found.push(Edit::Insert { at, unit });
            }
        }
    }
}

fn rearrangements(length: usize, rng: &mut ChaCha8Rng, found: &mut Vec<Edit>) {
    found.extend((1..length).map(|at| Edit::Swap { at: at - 1 }));
    for _ in 0..MOVES.min(length.saturating_sub(2)) {
        let count = 1 + below(3.min(length - 1), rng);
        let at = below(length - count + 1, rng);
        let to = below(length - count + 1, rng);
        if to != at {
            found.push(Edit::Move { at, count, to });
        }
    }
}
/// What the language has after the units before a place.
fn continuations<'a>(language: &'a Language, units: &[u32], at: usize) -> &'a [u32] {
    let before = |back: usize| if at >= back { units[at - back] } else { EDGE };
    language.continuations(before(2), before(1))
}

/// Up to 0.01, at random.
fn chance(rng: &mut ChaCha8Rng) -> f32 {
    0.01 * (rng.next_u32() as f32 / u32::MAX as f32)
}

pub(super) fn below(end: usize, rng: &mut ChaCha8Rng) -> usize {
    ((u64::from(rng.next_u32()) * end as u64) >> 32) as usize
}

/// The places of the `count` largest values, the largest first.
pub(super) fn largest(values: impl Iterator<Item = f32>, count: usize) -> Vec<u32> {
    let mut best: Vec<(f32, u32)> = Vec::with_capacity(count + 1);
    for (place, value) in values.enumerate() {
        if best.len() == count && best.last().is_none_or(|last| value <= last.0) {
            continue;
        }
        let at = best.partition_point(|better| better.0 >= value);
        best.insert(at, (value, place as u32));
        best.truncate(count);
    }
    best.into_iter().map(|(_, place)| place).collect()
}
