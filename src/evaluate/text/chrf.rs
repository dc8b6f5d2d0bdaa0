use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash};
use std::iter::Sum;

use super::hash::TextHasher;
use super::tokens::is_space;

const CHARACTERS: usize = 6;
const WORDS: usize = 2;
const ORDERS: usize = CHARACTERS + WORDS;

/// Recall counts this many times as much as precision.
const BETA: f64 = 2.0;

/// Returns sentence chrF++ in `0..=100`, as sacreBLEU 2 computes it for one reference with `CHRF(word_order=2)`:
/// n-grams of up to six characters, without white space, and of up to two words, with case (Popović, WMT 2017, doi
/// 10.18653/v1/W17-4770).
///
/// ```
/// # use embosk::evaluate::text::chrf;
/// assert!((chrf("Ann lives in Rome.", "Ann lives in Rome.") - 100.0).abs() < 1e-9);
/// assert!(chrf("Anna lived in Rome.", "Ann lives in Rome.") > 50.0);
/// assert_eq!(chrf("", "Ann lives in Rome."), 0.0);
/// ```
pub fn chrf(candidate: &str, reference: &str) -> f64 {
    ChrfCounts::new(candidate, reference).score()
}

/// What chrF++ counts in a pair of texts. The counts of a corpus are the sum of its pairs' counts, and its
/// chrF++ is the score of that sum: not the mean of the pairs' scores.
///
/// ```
/// # use embosk::evaluate::text::ChrfCounts;
/// let pairs = [("Ann lives in Rome.", "Ann lives in Rome."), ("Bob", "Bob left us.")];
/// let corpus: ChrfCounts = pairs.iter().map(|(candidate, reference)| ChrfCounts::new(candidate, reference)).sum();
/// assert!((60.0..90.0).contains(&corpus.score()));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChrfCounts {
    matches: [u64; ORDERS],
    candidate: [u64; ORDERS],
    reference: [u64; ORDERS],
}

impl ChrfCounts {
    /// Counts the n-grams of characters and of words that both texts have.
    pub fn new(candidate: &str, reference: &str) -> Self {
        let mut counts = Self::default();
        let (candidate_words, reference_words) = (words(candidate), words(reference));
        let (candidate, reference) = (Letters::new(candidate), Letters::new(reference));
        for n in 1..=CHARACTERS {
            counts.set(n - 1, || candidate.runs(n), || reference.runs(n));
        }
        for n in 1..=WORDS {
            counts.set(CHARACTERS + n - 1, || candidate_words.windows(n), || reference_words.windows(n));
        }
        counts
    }

    fn set<N, C, R>(&mut self, order: usize, candidate: impl Fn() -> C, reference: impl Fn() -> R)
    where
        N: Hash + Eq,
        C: Iterator<Item = N>,
        R: Iterator<Item = N>,
    {
        self.reference[order] = reference().count() as u64;
        // where the reference has none, there is nothing that the candidate could miss
        if self.reference[order] > 0 {
            self.candidate[order] = candidate().count() as u64;
            self.matches[order] = matches(candidate(), reference());
        }
    }

    /// Returns chrF++ in `0..=100`: the F-score of mean precision and mean recall over the orders that both sides are
    /// long enough for.
    pub fn score(&self) -> f64 {
        let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
        for order in 0..ORDERS {
            let (candidate, reference) = (self.candidate[order] as f64, self.reference[order] as f64);
            if candidate > 0.0 && reference > 0.0 {
                precision += self.matches[order] as f64 / candidate;
                recall += self.matches[order] as f64 / reference;
                orders += 1.0;
            }
        }
        if precision + recall <= 0.0 {
            return 0.0;
        }
        let (precision, recall, weight) = (precision / orders, recall / orders, BETA * BETA);
        100.0 * (1.0 + weight) * precision * recall / (weight * precision + recall)
    }
}

impl Sum for ChrfCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, counts| {
            for order in 0..ORDERS {
                sum.matches[order] += counts.matches[order];
                sum.candidate[order] += counts.candidate[order];
                sum.reference[order] += counts.reference[order];
            }
            sum
        })
    }
}

/// A text without its white space, and where its characters begin.
struct Letters {
    text: String,
    starts: Vec<usize>,
}

impl Letters {
    fn new(text: &str) -> Self {
        let text: String = text.chars().filter(|&symbol| !is_space(symbol)).collect();
        let mut starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        starts.push(text.len());
        Self { text, starts }
    }

    /// All runs of `n` characters.
    fn runs(&self, n: usize) -> impl Iterator<Item = &str> {
        self.starts.windows(n + 1).map(move |starts| &self.text[starts[0]..starts[n]])
    }
}

/// The words of a text, with a punctuation mark at the end of a word split off, or otherwise one at its beginning.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        let is_mark = |symbol: Option<char>| symbol.is_some_and(|symbol| symbol.is_ascii_punctuation());
        if word.chars().nth(1).is_none() {
            words.push(word);
        } else if is_mark(word.chars().next_back()) {
            words.extend([&word[..word.len() - 1], &word[word.len() - 1..]]);
        } else if is_mark(word.chars().next()) {
            words.extend([&word[..1], &word[1..]]);
        } else {
            words.push(word);
        }
    }
    words
}

/// The number of n-grams that both sides have, each counted as often as the rarer side has it.
fn matches<N: Hash + Eq>(candidate: impl Iterator<Item = N>, reference: impl Iterator<Item = N>) -> u64 {
    let mut unmatched: HashMap<N, usize, BuildHasherDefault<TextHasher>> = HashMap::default();
    for ngram in reference {
        *unmatched.entry(ngram).or_default() += 1;
    }
    let mut matched = 0;
    for ngram in candidate {
        if let Some(count) = unmatched.get_mut(&ngram).filter(|count| **count > 0) {
            *count -= 1;
            matched += 1;
        }
    }
    matched
}
