//! Which texts are trained on, and which are held out.

use std::collections::HashSet;
use std::path::Path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::attacks::vec2text::TrainingTexts;
use crate::cli::error::CliError;
use crate::cli::models;
use crate::cli::terminal::Terminal;
use crate::evaluate::corpus::read_texts;
use crate::evaluate::records::{Split as Records, generate};

/// How many texts are held out: one in twenty, within a least and a most number.
const ONE_IN: usize = 20;
const LEAST: usize = 60;
const MOST: usize = 256;

/// The fewest texts that training can use.
const FEWEST: usize = 100;

/// Texts in the order in which they are used.
pub(super) struct Split {
    pub(super) trained: Vec<String>,
    pub(super) held_out: Vec<String>,
}

/// The texts of all corpora, without repeats of the same words and without texts that have no words.
pub(super) fn texts(corpora: &[String], seed: u64) -> Result<Vec<String>, CliError> {
    let mut texts = Vec::new();
    for name in corpora {
        match models::records(name)? {
            Some(count) => texts.extend(generate(Records::Train, seed).take(count).map(|record| record.text)),
            None => texts.extend(read_texts(Path::new(name))?),
        }
    }
    let mut seen = HashSet::new();
    texts.retain(|text| TrainingTexts::hash(text).is_some_and(|hash| seen.insert(hash)));
    if texts.len() < FEWEST {
        return Err(CliError::new(format!(
            "the corpus has {} different texts; at least {FEWEST} are needed, and some thousands to learn from",
            texts.len()
        )));
    }
    Ok(texts)
}

impl Split {
    /// Splits texts. Texts that the models in `known` held out are held out again, then the texts with the lowest
    /// hashes, so that a text is on the same side in every training. Texts that the models were trained on are not
    /// held out.
    pub(super) fn new(
        texts: Vec<String>,
        known: &[TrainingTexts],
        seed: u64,
        terminal: Terminal,
    ) -> Result<Self, CliError> {
        let wanted = (texts.len() / ONE_IN).clamp(LEAST, MOST).min(texts.len() / 4);
        let was = |text: &str, apart: bool| {
            known.iter().any(|known| if apart { known.is_held_out(text) } else { known.contains(text) })
        };
        let (mut held_out, rest): (Vec<String>, Vec<String>) =
            texts.into_iter().partition(|text| was(text, true));
        let (mut new, mut trained): (Vec<String>, Vec<String>) =
            rest.into_iter().partition(|text| !was(text, false));
        if held_out.len() + new.len() < wanted {
            terminal.remark(
                "the initial attack was trained on most of these texts, so some that it knows are held out; scores on \
                 held-out texts will be too high",
            );
            new.append(&mut trained);
        }
        new.sort_by_cached_key(|text| TrainingTexts::hash(text));
        let more = wanted.saturating_sub(held_out.len()).min(new.len());
        trained.extend(new.split_off(more));
        held_out.append(&mut new);
        if trained.is_empty() {
            return Err(CliError::new("all texts were held out before; give others to train on"));
        }
        shuffle(&mut trained, seed);
        shuffle(&mut held_out, seed);
        Ok(Self { trained, held_out })
    }
}

/// Shuffles texts (Fisher–Yates), because time may end the list early.
fn shuffle(texts: &mut [String], seed: u64) {
    texts.sort();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for last in (1..texts.len()).rev() {
        let index = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        texts.swap(last, index as usize);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn texts(from: usize, to: usize) -> Vec<String> {
        (from..to).map(|n| format!("text number {n}")).collect()
    }

    fn split(texts: Vec<String>, known: &[TrainingTexts]) -> Split {
        Split::new(texts, known, 1, Terminal::Quiet).unwrap()
    }

    #[test]
    fn a_text_is_on_one_side_in_whatever_order_and_company() {
        let first = split(texts(0, 1000), &[]);
        assert_eq!((first.trained.len(), first.held_out.len()), (940, 60));
        let mut other = texts(0, 1000);
        other.reverse();
        let other = split(other, &[]);
        assert_eq!((&first.trained, &first.held_out), (&other.trained, &other.held_out));
        assert_ne!(first.trained, {
            let mut sorted = first.trained.clone();
            sorted.sort();
            sorted
        });
        assert_eq!(split(texts(0, 9000), &[]).held_out.len(), 256);
        assert_eq!(split(texts(0, 100), &[]).held_out.len(), 25);
    }

    #[test]
    fn the_split_of_a_model_before_is_kept() {
        let known = TrainingTexts::new(texts(0, 500), 16);
        let next = split(texts(0, 1000), std::slice::from_ref(&known));
        assert!(next.held_out.iter().all(|text| !known.contains(text)) && next.held_out.len() == 60);
        assert_eq!(next.trained.len(), 940);
        // all are known: some must be held out all the same
        assert_eq!(split(texts(0, 400), &[known]).held_out.len(), 60);
    }
}
