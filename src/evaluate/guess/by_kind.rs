//! How often facts of each kind are guessed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Questions;
use crate::evaluate::statistics::{Score, proportion};

/// The share of facts of one kind that were guessed, with the interval of Clopper and Pearson.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KindScore {
    /// How many facts of this kind were asked for.
    pub n: usize,
    /// The share that was guessed.
    #[serde(flatten)]
    pub score: Score,
}

/// Counts the right guesses of each kind.
pub(in crate::evaluate) fn by_kind(
    questions: &Questions,
    right: &[Option<bool>],
) -> BTreeMap<String, KindScore> {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (question, right) in questions.of_texts.iter().zip(right) {
        let (Some(question), Some(right)) = (question, right) else { continue };
        let (successes, n) = counts.entry(question.fact.kind.clone()).or_default();
        *successes += usize::from(*right);
        *n += 1;
    }
    let score = |(successes, n)| KindScore { n, score: proportion(successes, n) };
    counts.into_iter().map(|(kind, counted)| (kind, score(counted))).collect()
}
