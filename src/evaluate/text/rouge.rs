use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::hash::TextHasher;

/// Returns the ROUGE-1 F-measure in `0..=1`, as rouge-score 0.1.2 computes `rouge1` without a stemmer: the words that
/// both texts have, each counted as often as the rarer side has it.
///
/// Its tokens are those of [`rouge_l`], and texts without tokens score the same.
///
/// ```
/// # use embosk::evaluate::text::rouge_1;
/// assert_eq!(rouge_1("Rome, Ann", "Ann lives in Rome"), 2.0 / 3.0);
/// ```
pub fn rouge_1(candidate: &str, reference: &str) -> f64 {
    f_measure(candidate, reference, common_words)
}

/// Returns the ROUGE-L F-measure in `0..=1`, as rouge-score 0.1.2 computes `rougeL` without a stemmer
/// (<https://github.com/google-research/google-research/tree/master/rouge>; Lin, 2004).
///
/// Its tokens are runs of `a-z` and `0-9` after lower-casing, so an accented letter separates tokens, and a text in
/// another script has none. A text without tokens scores 0, even against another such text.
///
/// ```
/// # use embosk::evaluate::text::rouge_l;
/// assert_eq!(rouge_l("Ann, Rome", "Ann lives in Rome"), 2.0 / 3.0);
/// ```
pub fn rouge_l(candidate: &str, reference: &str) -> f64 {
    f_measure(candidate, reference, longest_common_subsequence)
}

fn f_measure(candidate: &str, reference: &str, common: impl Fn(&[&str], &[&str]) -> usize) -> f64 {
    let (candidate, reference) = (candidate.to_lowercase(), reference.to_lowercase());
    let (candidate, reference) = (ascii_words(&candidate), ascii_words(&reference));
    if candidate.is_empty() || reference.is_empty() {
        return 0.0;
    }
    2.0 * common(&candidate, &reference) as f64 / (candidate.len() + reference.len()) as f64
}

fn ascii_words(lower_case: &str) -> Vec<&str> {
    let separates = |symbol: char| !(symbol.is_ascii_lowercase() || symbol.is_ascii_digit());
    lower_case.split(separates).filter(|word| !word.is_empty()).collect()
}

fn common_words(candidate: &[&str], reference: &[&str]) -> usize {
    let mut unmatched: HashMap<&str, usize, BuildHasherDefault<TextHasher>> = HashMap::default();
    for word in reference {
        *unmatched.entry(word).or_default() += 1;
    }
    let take = |word: &&&str| match unmatched.get_mut(**word) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    };
    candidate.iter().filter(take).count()
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
