//! How much of a text came back: scores of one candidate against one reference.
//!
//! Every score is in `0..=1`, but for [`bleu`], which is in `0..=100` as its users expect. A *word* of
//! [`token_f1`] and [`entity_recall`] is a maximal run of Unicode letters, numerals and underscores;
//! combining marks that are not letters split words, so compose texts (NFC) first.

use std::collections::{HashMap, HashSet};

const MAX_ORDER: usize = 4;

/// Whether two texts are the same once both are trimmed and every run of white space counts as one space.
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

/// Sentence BLEU in `0..=100`, as sacreBLEU 2 computes it for one reference with
/// `BLEU(tokenize="13a", smooth_method="exp", effective_order=False)`, up to 4-grams and with case
/// (<https://github.com/mjpost/sacrebleu>; Post, 2018, arXiv 1804.08771).
///
/// A candidate of fewer than four tokens scores 0, even where it equals its reference: that is what
/// "no effective order" means. So does an empty text on either side.
///
/// ```
/// # use embosk::evaluate::text::bleu;
/// assert_eq!(bleu("Ann lives in Rome.", "Ann lives in Rome."), 100.0);
/// assert_eq!(bleu("Ann lives", "Ann lives"), 0.0);
/// ```
pub fn bleu(candidate: &str, reference: &str) -> f64 {
    let (candidate, reference) = (tokenize_13a(candidate), tokenize_13a(reference));
    let (candidate, reference) = (tokens(&candidate), tokens(&reference));
    if candidate.len() < MAX_ORDER || matches(&candidate, &reference, 1) == 0 {
        return 0.0;
    }
    let mut smoothing = 1.0;
    let mut log_precisions = 0.0;
    for order in 1..=MAX_ORDER {
        let total = (candidate.len() + 1 - order) as f64;
        let precision = match matches(&candidate, &reference, order) {
            0 => {
                smoothing *= 2.0;
                1.0 / (smoothing * total)
            }
            matched => matched as f64 / total,
        };
        log_precisions += precision.ln();
    }
    let length_ratio = reference.len() as f64 / candidate.len() as f64;
    let log_brevity = (1.0 - length_ratio).min(0.0);
    100.0 * (log_brevity + log_precisions / MAX_ORDER as f64).exp()
}

/// F1 in `0..=1` between the two sets of lower-cased words: `2 |C ∩ R| / (|C| + |R|)`.
///
/// Order and repetition do not count. Two texts without a word score 1, one alone scores 0.
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

/// ROUGE-L F-measure in `0..=1`, as rouge-score 0.1.2 computes `rougeL` without a stemmer
/// (<https://github.com/google-research/google-research/tree/master/rouge>; Lin, 2004).
///
/// Its tokens are runs of `a-z` and `0-9` after lower-casing, so an accented letter separates tokens, and
/// a text in another script has none. A text without tokens scores 0, also against another such text.
///
/// ```
/// # use embosk::evaluate::text::rouge_l;
/// assert_eq!(rouge_l("Ann, Rome", "Ann lives in Rome"), 2.0 / 3.0);
/// ```
pub fn rouge_l(candidate: &str, reference: &str) -> f64 {
    let (candidate, reference) = (candidate.to_lowercase(), reference.to_lowercase());
    let (candidate, reference) = (ascii_words(&candidate), ascii_words(&reference));
    if candidate.is_empty() || reference.is_empty() {
        return 0.0;
    }
    let common = longest_common_subsequence(&candidate, &reference);
    2.0 * common as f64 / (candidate.len() + reference.len()) as f64
}

/// The share, in `0..=1`, of the entities that stand in the candidate as they are written; `None` where
/// there are none to find.
///
/// An entity stands in a text where it cuts neither a word (`Ann` is not in `Anna`) nor a number (neither
/// `200` nor `1,200` is in `1,200,000`). White space is collapsed as in [`exact_match`]; case counts, so a
/// caller who does not mind it lower-cases both sides. Blank entities are left out, and one that is listed
/// twice counts twice. Scripts without spaces between words have to be segmented first.
///
/// ```
/// # use embosk::evaluate::text::entity_recall;
/// assert_eq!(entity_recall("Ann paid $1,200.", &["Ann", "$1,200", "Rome", "200"]), Some(0.5));
/// assert_eq!(entity_recall("Ann paid $1,200.", &[]), None);
/// ```
pub fn entity_recall(candidate: &str, entities: &[&str]) -> Option<f64> {
    let candidate = collapse_whitespace(candidate);
    let entities: Vec<String> = entities
        .iter()
        .map(|entity| collapse_whitespace(entity))
        .filter(|entity| !entity.is_empty())
        .collect();
    let found = entities.iter().filter(|entity| stands_in(entity, &candidate)).count();
    (!entities.is_empty()).then(|| found as f64 / entities.len() as f64)
}

/// The 13a tokenizer (NIST's mteval-v13a for Western languages); the tokens are what [`tokens`] splits off.
fn tokenize_13a(text: &str) -> String {
    let text = text.trim_end_matches(is_space).replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let text = split_symbols(&format!(" {text} "));
    let text = split_pairs(&text, |left, right| !left.is_ascii_digit() && is_point(right), false);
    let text = split_pairs(&text, |left, right| is_point(left) && !right.is_ascii_digit(), true);
    split_pairs(&text, |left, right| left.is_ascii_digit() && right == '-', false)
}

/// Sets every ASCII symbol apart, save the four whose neighbours decide: `'`, `,`, `-` and `.`.
fn split_symbols(text: &str) -> String {
    let mut split = String::with_capacity(2 * text.len());
    for symbol in text.chars() {
        if symbol.is_ascii_punctuation() && !matches!(symbol, '\'' | ',' | '-' | '.') {
            split.extend([' ', symbol, ' ']);
        } else {
            split.push(symbol);
        }
    }
    split
}

/// Puts a space between the two characters of each pair that `splits` picks, and one before or after both.
/// Pairs do not overlap: a character that closed one pair does not open the next.
fn split_pairs(text: &str, splits: impl Fn(char, char) -> bool, before: bool) -> String {
    let mut split = String::with_capacity(2 * text.len());
    let mut rest = text.chars().peekable();
    while let Some(left) = rest.next() {
        match rest.next_if(|&right| splits(left, right)) {
            Some(right) if before => split.extend([' ', left, ' ', right]),
            Some(right) => split.extend([left, ' ', right, ' ']),
            None => split.push(left),
        }
    }
    split
}

fn tokens(text: &str) -> Vec<&str> {
    text.split(is_space).filter(|token| !token.is_empty()).collect()
}

/// White space as Python's `str.split` has it: Unicode's, and the four ASCII separators.
fn is_space(symbol: char) -> bool {
    symbol.is_whitespace() || matches!(symbol, '\x1c'..='\x1f')
}

fn is_point(symbol: char) -> bool {
    matches!(symbol, '.' | ',')
}

/// The number of n-grams of an order that both texts have, each counted as often as the rarer side has it.
fn matches(candidate: &[&str], reference: &[&str], order: usize) -> usize {
    let mut unmatched: HashMap<&[&str], usize> = HashMap::new();
    for ngram in reference.windows(order) {
        *unmatched.entry(ngram).or_default() += 1;
    }
    let mut matched = 0;
    for ngram in candidate.windows(order) {
        if let Some(count) = unmatched.get_mut(ngram).filter(|count| **count > 0) {
            *count -= 1;
            matched += 1;
        }
    }
    matched
}

fn word_set(text: &str) -> HashSet<&str> {
    text.split(|symbol| !is_word(symbol)).filter(|word| !word.is_empty()).collect()
}

fn is_word(symbol: char) -> bool {
    symbol.is_alphanumeric() || symbol == '_'
}

fn ascii_words(lower_case: &str) -> Vec<&str> {
    let separates = |symbol: char| !(symbol.is_ascii_lowercase() || symbol.is_ascii_digit());
    lower_case.split(separates).filter(|word| !word.is_empty()).collect()
}

fn longest_common_subsequence(left: &[&str], right: &[&str]) -> usize {
    let mut lengths = vec![0; right.len() + 1];
    for word in left {
        let mut diagonal = 0;
        for (column, other) in right.iter().enumerate() {
            let above = lengths[column + 1];
            lengths[column + 1] = if word == other { diagonal + 1 } else { above.max(lengths[column]) };
            diagonal = above;
        }
    }
    lengths[right.len()]
}

fn collapse_whitespace(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Occurrences may overlap, so every position is tried.
fn stands_in(entity: &str, text: &str) -> bool {
    text.char_indices().any(|(start, _)| {
        text[start..]
            .strip_prefix(entity)
            .is_some_and(|after| !runs_on(&text[..start], entity) && !runs_on(entity, after))
    })
}

/// Whether a word or a number goes on from the end of `left` into `right`.
fn runs_on(left: &str, right: &str) -> bool {
    let (mut ahead, mut behind) = (right.chars(), left.chars().rev());
    let (Some(last), Some(first)) = (behind.next(), ahead.next()) else { return false };
    let digit = |symbol: Option<char>| symbol.is_some_and(|symbol| symbol.is_ascii_digit());
    (is_word(last) && is_word(first))
        || (digit(Some(last)) && is_point(first) && digit(ahead.next()))
        || (digit(behind.next()) && is_point(last) && digit(Some(first)))
}
