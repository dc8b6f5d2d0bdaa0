//! Sentences for an attacker who has no texts of their own.
//!
//! Ten thousand sentences drawn from a trigram model of English (`generate.py`, beside this file). Nobody wrote them,
//! and few make sense. They hold common words in common order, which is what guided search and a denoiser learn from.
//! Texts of the same kind as the stored ones make a stronger attacker.

use std::io::Read;

use flate2::read::GzDecoder;

/// Their name in a signature.
pub(super) const NAME: &str = "built-in English sentences";

static SENTENCES: &[u8] = include_bytes!("sentences.txt.gz");

/// Returns the built-in sentences.
///
/// ```
/// assert_eq!(embosk::evaluate::english().len(), 10_000);
/// ```
pub fn english() -> Vec<String> {
    let mut text = String::new();
    match GzDecoder::new(SENTENCES).read_to_string(&mut text) {
        Ok(_) => text.lines().map(str::to_owned).collect(),
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_sentences_are_many_and_different() {
        let sentences = english();
        let distinct: HashSet<&String> = sentences.iter().collect();
        assert_eq!((sentences.len(), distinct.len()), (10_000, 10_000));
        assert!(sentences.iter().all(|sentence| (6..=25).contains(&sentence.split_whitespace().count())));
    }
}
