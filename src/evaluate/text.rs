//! How much of a text was recovered: scores of one candidate against one reference.
//!
//! Every score is in `0..=1`, except for [`bleu`] and [`chrf`], which are in `0..=100` as their users expect. Both
//! can also be computed for a whole corpus: [`BleuCounts`], [`ChrfCounts`].
//!
//! A *word* of [`token_f1`], [`ContentWords`], [`entity_recall`] and [`entity_precision`] is a maximal run of Unicode letters,
//! numerals and underscores; combining marks that are not letters split words, so compose texts (NFC) first.

mod bleu;
mod chrf;
mod content_words;
mod entities;
mod hash;
mod rouge;
mod stop_words;
mod tokens;

use std::collections::HashSet;

pub use bleu::{BleuCounts, Order, bleu};
pub use chrf::{ChrfCounts, chrf};
pub use content_words::ContentWords;
pub use entities::{entity_precision, entity_recall, spans};
pub use rouge::{rouge_1, rouge_l};

pub(super) use content_words::ENGLISH;

/// Returns whether two texts are the same once both are trimmed and every run of white space counts as one space.
///
/// Case and punctuation count.
///
/// ```
/// # use embosk::evaluate::text::exact_match;
/// assert!(exact_match(" Ann lives\nin Rome", "Ann lives in Rome"));
/// assert!(!exact_match("ann lives in Rome", "Ann lives in Rome"));
/// ```
pub fn exact_match(candidate: &str, reference: &str) -> bool {
    candidate.split_whitespace().eq(reference.split_whitespace())
}

/// Returns F1 in `0..=1` between the two sets of lower-cased words: `2 |C ∩ R| / (|C| + |R|)`.
///
/// Order and repetition do not count. Two texts without words score 1; if only one has none, they score 0.
///
/// ```
/// # use embosk::evaluate::text::token_f1;
/// assert_eq!(token_f1("in Rome, in ROME lives Ann", "Ann lives in Rome"), 1.0);
/// assert_eq!(token_f1("Ann", "Bob"), 0.0);
/// ```
pub fn token_f1(candidate: &str, reference: &str) -> f64 {
    let (candidate, reference) = (candidate.to_lowercase(), reference.to_lowercase());
    let (candidate, reference) = (word_set(&candidate), word_set(&reference));
    if candidate.is_empty() && reference.is_empty() {
        return 1.0;
    }
    let common = candidate.intersection(&reference).count();
    2.0 * common as f64 / (candidate.len() + reference.len()) as f64
}

fn word_set(text: &str) -> HashSet<&str> {
    text.split(|symbol| !is_word(symbol)).filter(|word| !word.is_empty()).collect()
}

fn is_word(symbol: char) -> bool {
    symbol.is_alphanumeric() || symbol == '_'
}
