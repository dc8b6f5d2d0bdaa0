//! What a search learns from the attacker's own texts before it sees a vector.

use std::collections::HashMap;

use ndarray::{Array2, Axis};

use super::WORDS;
use super::gradient::Pieces;
use super::language::Language;
use super::scores::WordScores;
use super::words::Vocabulary;
use crate::check::embedded;
use crate::rows::normalized;
use crate::{Error, Oracle, OwnTexts, WhiteBox};

/// Fewer own texts than this teach too little.
pub(super) const LEAST_TEXTS: usize = 50;

/// A unit is proposed if the attacker's texts have it this often.
const LEAST_COUNT: u32 = 2;

/// How many single words are embedded in one call.
const BATCH: usize = 1024;

/// Texts without vectors teach language until they have this many units.
const LANGUAGE_UNITS: usize = 10_000_000;

/// Words, language and word scores of the attacker's own texts.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) vocabulary: Vocabulary,
    pub(super) language: Language,
    pub(super) scores: WordScores,
    /// The own texts as numbers of units.
    pub(super) texts: Vec<Vec<u32>>,
    /// Their vectors at norm 1, `[texts, dim]`.
    pub(super) directions: Array2<f32>,
    /// The embedder's pieces, if the attacker has its weights.
    pub(super) pieces: Option<Pieces>,
    pub(super) case: Case,
}

/// Whether the embedder sees upper case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Kept,
    Lowered,
}

impl Case {
    /// Asks the oracle for two texts that differ in case only.
    fn of(oracle: &dyn Oracle) -> Result<Self, Error> {
        let vectors = oracle.embed(&["The House in Rome", "the house in rome"]).map_err(Error::Oracle)?;
        let lowered = vectors.nrows() == 2 && vectors.row(0) == vectors.row(1);
        Ok(if lowered { Self::Lowered } else { Self::Kept })
    }

    pub(super) fn apply(self, text: &str) -> String {
        match self {
            Self::Kept => text.to_owned(),
            Self::Lowered => text.to_lowercase(),
        }
    }
}

impl Prepared {
    /// Learns from `own` texts, and the language from `more` texts too.
    pub(super) fn new(
        own: &OwnTexts<'_>,
        more: &[String],
        (oracle, white_box): (&dyn Oracle, Option<&dyn WhiteBox>),
    ) -> Result<Self, Error> {
        if own.texts.len() < LEAST_TEXTS {
            return Err(Error::Setting(format!(
                "guided search learns words from the attacker's own texts; there are {} of them, and at least \
                 {LEAST_TEXTS} are needed",
                own.texts.len()
            )));
        }
        let case = Case::of(oracle)?;
        let mut seen = Vocabulary::default();
        let mut texts: Vec<Vec<u32>> = own.texts.iter().map(|text| seen.numbers(&case.apply(text))).collect();
        let mut left = LANGUAGE_UNITS;
        let more = more.iter().map(|text| seen.numbers(&case.apply(text))).take_while(|text| {
            left = left.saturating_sub(text.len());
            left > 0
        });
        let mut more: Vec<Vec<u32>> = more.collect();
        let (vocabulary, proposed) = frequent_first(&seen, &mut [&mut texts, &mut more]);
        let directions = normalized(own.vectors);
        let single = single_words(oracle, &vocabulary, (proposed, directions.ncols()))?;
        let scores = WordScores::fit(&texts, directions.view(), single.view())?;
        let language = Language::fit(texts.iter().chain(&more).map(Vec::as_slice));
        let pieces = white_box.map(|white_box| Pieces::new(white_box, &vocabulary, proposed));
        let pieces = pieces.transpose().map_err(Error::Oracle)?;
        Ok(Self { vocabulary, language, scores, texts, directions, pieces, case })
    }
}

/// All units of the texts, the most frequent first, and how many of them are proposed. The texts get the new numbers.
fn frequent_first(seen: &Vocabulary, texts: &mut [&mut Vec<Vec<u32>>]) -> (Vocabulary, usize) {
    let mut counts: HashMap<u32, u32> = HashMap::new();
    for &unit in texts.iter().flat_map(|texts| texts.iter()).flatten() {
        *counts.entry(unit).or_default() += 1;
    }
    let mut sorted: Vec<(u32, u32)> = counts.into_iter().collect();
    sorted.sort_unstable_by_key(|&(unit, count)| (std::cmp::Reverse(count), seen.unit(unit)));
    let mut vocabulary = Vocabulary::default();
    let numbers: HashMap<u32, u32> =
        sorted.iter().map(|&(unit, _)| (unit, vocabulary.number(seen.unit(unit)))).collect();
    texts.iter_mut().flat_map(|texts| texts.iter_mut()).flatten().for_each(|unit| *unit = numbers[unit]);
    (vocabulary, sorted.partition_point(|&(_, count)| count >= LEAST_COUNT).min(WORDS))
}

/// The vectors of the first units, each by itself, at norm 1: `[count, dim]`.
fn single_words(
    oracle: &dyn Oracle,
    vocabulary: &Vocabulary,
    (count, dim): (usize, usize),
) -> Result<Array2<f32>, Error> {
    let words: Vec<&str> = (0..count as u32).map(|number| vocabulary.unit(number)).collect();
    let mut single = Array2::zeros((count, dim));
    for (words, mut rows) in words.chunks(BATCH).zip(single.axis_chunks_iter_mut(Axis(0), BATCH)) {
        let vectors = embedded(oracle, words, dim)?;
        rows.assign(&normalized(vectors.view()));
    }
    Ok(single)
}
