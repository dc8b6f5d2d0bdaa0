//! The words of texts, by how many texts they are in.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

/// Shorter words are no facts.
const SHORTEST: usize = 4;

/// Words without their case.
#[derive(Default)]
pub(super) struct Vocabulary {
    counts: HashMap<String, usize>,
    /// The same by their counts, in alphabetical order.
    by_count: BTreeMap<usize, Vec<String>>,
}

impl Vocabulary {
    pub(super) fn of<'t>(texts: impl Iterator<Item = &'t str>) -> Self {
        let mut counts = HashMap::new();
        for text in texts {
            let words: HashSet<String> = words(text).map(|span| text[span].to_lowercase()).collect();
            for word in words {
                *counts.entry(word).or_insert(0) += 1;
            }
        }
        let mut by_count: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (word, count) in &counts {
            by_count.entry(*count).or_default().push(word.clone());
        }
        for words in by_count.values_mut() {
            words.sort_unstable();
        }
        Self { counts, by_count }
    }

    fn count(&self, word: &str) -> usize {
        self.counts.get(&word.to_lowercase()).copied().unwrap_or(0)
    }

    /// Returns where the rarest word of a text stands that `allowed` lets; of equally rare ones the first.
    pub(super) fn rarest(&self, text: &str, allowed: impl Fn(&Range<usize>) -> bool) -> Option<Range<usize>> {
        words(text).filter(allowed).min_by_key(|span| self.count(&text[span.clone()]))
    }

    /// Returns at least `least` words that are in about as many texts as `word`, if there are so many: the most alike
    /// first, and of those that are alike in alphabetical order.
    pub(super) fn alike(&self, word: &str, least: usize) -> Vec<&str> {
        let own = (self.count(word).max(1) as f64).ln();
        let distance = |count: usize| ((count as f64).ln() - own).abs();
        let mut groups: Vec<(&usize, &Vec<String>)> = self.by_count.iter().collect();
        groups.sort_by(|a, b| distance(*a.0).total_cmp(&distance(*b.0)));
        let mut alike = Vec::new();
        for (_, words) in groups {
            if alike.len() >= least {
                break;
            }
            alike.extend(words.iter().map(String::as_str));
        }
        alike
    }
}

/// The words of a text that can be facts: letters alone.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut end = 0;
    let runs = text.split_inclusive(|c: char| !c.is_alphanumeric()).map(move |run| {
        let start = end;
        end += run.len();
        (start, run.trim_end_matches(|c: char| !c.is_alphanumeric()))
    });
    let is_fact =
        |(_, word): &(usize, &str)| word.chars().count() >= SHORTEST && word.chars().all(char::is_alphabetic);
    runs.filter(is_fact).map(|(start, word)| start..start + word.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_by_text_and_compared_by_count() {
        let texts = ["Some words, some WORDS and B12x", "words again", "words once more", "again"];
        let vocabulary = Vocabulary::of(texts.into_iter());
        assert_eq!(["words", "Again", "more", "none"].map(|word| vocabulary.count(word)), [3, 2, 1, 0]);
        let text = "words AGAIN once";
        assert_eq!(vocabulary.rarest(text, |_| true).map(|span| &text[span]), Some("once"));
        assert_eq!(vocabulary.rarest(text, |span| span.end < 12).map(|span| &text[span]), Some("AGAIN"));
        assert_eq!(vocabulary.rarest("a bc B12x", |_| true), None);
        assert_eq!(vocabulary.alike("again", 1), ["again"]);
        assert_eq!(vocabulary.alike("unseen", 4), ["more", "once", "some", "again"]);
    }
}
