//! English words that carry no content: articles, pronouns, conjunctions, prepositions, auxiliaries, and adverbs of
//! place, time and degree. They include the parts of contractions (`don`, `ll`, `s`).

/// Whether a lower-cased word is one of them.
pub(super) fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

/// Sorted.
#[rustfmt::skip]
const STOP_WORDS: [&str; 267] = [
    "a", "about", "above", "across", "after", "again", "against", "ain", "all", "almost", "along",
    "alongside", "already", "also", "although", "always", "am", "among", "amongst", "an", "and", "another",
    "any", "anybody", "anyone", "anything", "anyway", "anywhere", "are", "aren", "around", "as", "at", "be",
    "because", "been", "before", "behind", "being", "below", "beneath", "beside", "besides", "between",
    "beyond", "both", "but", "by", "can", "cannot", "could", "couldn", "d", "despite", "did", "didn", "do",
    "does", "doesn", "doing", "don", "done", "down", "during", "each", "either", "else", "elsewhere",
    "enough", "etc", "even", "ever", "every", "everybody", "everyone", "everything", "everywhere", "except",
    "few", "for", "from", "further", "furthermore", "get", "gets", "getting", "got", "had", "hadn", "has",
    "hasn", "have", "haven", "having", "he", "hence", "her", "here", "hers", "herself", "him", "himself",
    "his", "how", "however", "i", "if", "in", "indeed", "inside", "instead", "into", "is", "isn", "it",
    "its", "itself", "just", "later", "least", "less", "let", "lets", "ll", "m", "many", "may", "maybe",
    "me", "meanwhile", "might", "mightn", "mine", "more", "moreover", "most", "much", "must", "mustn", "my",
    "myself", "near", "needn", "neither", "never", "no", "nobody", "none", "nor", "not", "nothing", "now",
    "nowhere", "of", "off", "often", "on", "once", "one", "ones", "oneself", "only", "onto", "or", "other",
    "others", "otherwise", "ought", "our", "ours", "ourselves", "out", "outside", "over", "own", "past",
    "per", "perhaps", "quite", "rather", "re", "s", "same", "several", "shall", "shan", "she", "should",
    "shouldn", "since", "so", "some", "somebody", "someone", "something", "somewhere", "soon", "still",
    "such", "t", "than", "that", "the", "their", "theirs", "them", "themselves", "then", "there",
    "therefore", "these", "they", "this", "those", "though", "through", "throughout", "thus", "till", "to",
    "too", "toward", "towards", "twice", "under", "underneath", "unless", "until", "up", "upon", "us", "ve",
    "very", "via", "was", "wasn", "we", "were", "weren", "what", "whatever", "when", "where", "whereas",
    "whether", "which", "whichever", "while", "who", "whoever", "whom", "whose", "why", "will", "with",
    "within", "without", "won", "would", "wouldn", "yes", "yet", "you", "your", "yours", "yourself",
    "yourselves",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_finds_its_words() {
        assert!(STOP_WORDS.is_sorted() && STOP_WORDS.iter().all(|word| is_stop_word(word)));
        for content in ["patient", "rent", "c", "2019", "rome", "will2"] {
            assert!(!is_stop_word(content), "{content}");
        }
    }
}
