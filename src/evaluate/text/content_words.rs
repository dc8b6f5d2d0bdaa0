use std::collections::{BTreeSet, HashMap, HashSet};

use rayon::prelude::*;

use super::stop_words::is_stop_word;
use super::word_set;

/// A word is common in a corpus if more than one document in this many has it, …
const ONE_IN: usize = 10;

/// … and at least this many have it. In a corpus of 20 documents, three with a word do not make it common.
const LEAST: usize = 5;

/// Tells the words of a text that carry its content from those that any text may have.
///
/// A content word is a maximal run of letters, numerals and underscores, lower-cased and not stemmed. It is neither
/// an English stop word nor common in the corpus: in more than a tenth of its documents, and in at least five.
///
/// ```
/// use embosk::evaluate::text::ContentWords;
///
/// let words = ContentWords::new();
/// assert_eq!(words.recall("Ann is in Oslo", "Ann lives in Rome"), Some(1.0 / 3.0));
/// assert_eq!(words.recall("anything", "it is what it is"), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentWords {
    common: HashSet<String>,
}

/// Content words without a corpus.
pub(in crate::evaluate) static ENGLISH: std::sync::LazyLock<ContentWords> =
    std::sync::LazyLock::new(ContentWords::new);

impl ContentWords {
    /// Leaves out only English stop words.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves out English stop words, and the words that are common in these documents.
    pub fn of_corpus<T: AsRef<str> + Sync>(documents: &[T]) -> Self {
        let counts = documents.par_iter().fold(HashMap::new, count).reduce(HashMap::new, add);
        let is_common = |count: usize| count * ONE_IN > documents.len() && count >= LEAST;
        let common = counts.into_iter().filter(|(_, count)| is_common(*count)).map(|(word, _)| word);
        Self { common: common.collect() }
    }

    /// Returns the content words of a text, each once.
    pub fn of(&self, text: &str) -> BTreeSet<String> {
        let text = text.to_lowercase();
        let is_content = |word: &&str| !is_stop_word(word) && !self.common.contains(*word);
        word_set(&text).into_iter().filter(is_content).map(str::to_owned).collect()
    }

    /// Returns the share, in `0..=1`, of the reference's content words that the candidate has. `None` if the
    /// reference has no content word.
    pub fn recall(&self, candidate: &str, reference: &str) -> Option<f64> {
        let (candidate, reference) = (self.of(candidate), self.of(reference));
        (!reference.is_empty()).then(|| shared(&candidate, &reference) / reference.len() as f64)
    }

    /// Returns F1 in `0..=1` between the two sets of content words: `2 |C ∩ R| / (|C| + |R|)`. `None` if the
    /// reference has no content word.
    pub fn f1(&self, candidate: &str, reference: &str) -> Option<f64> {
        let (candidate, reference) = (self.of(candidate), self.of(reference));
        let total = (candidate.len() + reference.len()) as f64;
        (!reference.is_empty()).then(|| 2.0 * shared(&candidate, &reference) / total)
    }
}

fn shared(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f64 {
    a.intersection(b).count() as f64
}

type Counts = HashMap<String, usize>;

/// Counts the document for each of its words.
fn count<T: AsRef<str>>(mut counts: Counts, document: T) -> Counts {
    let text = document.as_ref().to_lowercase();
    for word in word_set(&text).into_iter().filter(|word| !is_stop_word(word)) {
        match counts.get_mut(word) {
            Some(count) => *count += 1,
            None => drop(counts.insert(word.to_owned(), 1)),
        }
    }
    counts
}

fn add(a: Counts, b: Counts) -> Counts {
    let (mut all, fewer) = if a.len() < b.len() { (b, a) } else { (a, b) };
    for (word, count) in fewer {
        *all.entry(word).or_default() += count;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_words_case_order_and_repetition_do_not_count() {
        let words = ContentWords::new();
        for (candidate, reference, recall, f1) in [
            ("Ann lives in Rome.", "ann LIVES, in rome", Some(1.0), Some(1.0)),
            ("Rome, Rome: the Ann", "Ann lives in Rome", Some(2.0 / 3.0), Some(0.8)),
            ("Ann", "Ann lives in Rome", Some(1.0 / 3.0), Some(0.5)),
            ("", "Ann lives in Rome", Some(0.0), Some(0.0)),
            ("Ann lives in Rome with Bob", "Ann", Some(1.0), Some(0.4)),
            ("Ann", "she's with him, isn't she?", None, None),
            ("anything", "", None, None),
            // not stemmed, and numbers are words
            ("he lived at 12", "she lives at 12", Some(0.5), Some(0.5)),
            ("Zoë", "zoË", Some(1.0), Some(1.0)),
        ] {
            assert_eq!(words.recall(candidate, reference), recall, "{candidate} / {reference}");
            assert_eq!(words.f1(candidate, reference), f1, "{candidate} / {reference}");
        }
    }

    #[test]
    fn a_word_is_common_in_more_than_a_tenth_of_the_documents_and_in_five() {
        // of 100 documents, `ticket` is in all, `printer` in 11, `router` in 10
        let document = |at: usize| match at {
            0..11 => format!("Ticket {at}: the printer"),
            11..21 => format!("Ticket {at}: the router"),
            _ => format!("Ticket {at}"),
        };
        let corpus: Vec<String> = (0..100).map(document).collect();
        let words = ContentWords::of_corpus(&corpus);
        assert_eq!(words.of("Ticket 7: the printer, the router"), ["7", "router"].map(str::to_owned).into());
        // of 20 documents, a word in four is not yet common
        let few = |with: usize| {
            ContentWords::of_corpus(
                &vec!["printer"; with].into_iter().chain(vec![""; 20 - with]).collect::<Vec<_>>(),
            )
        };
        assert_eq!([4, 5].map(|with| few(with).of("printer").len()), [1, 0]);
        assert_eq!(ContentWords::of_corpus::<&str>(&[]), ContentWords::new());
    }
}
