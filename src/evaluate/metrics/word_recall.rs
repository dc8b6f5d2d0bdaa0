use super::{Metric, Shown};

/// The name of the metric whose leak is that of words.
pub(super) const WORD_RECALL: &str = "word_recall";

/// The rules for what a content word is.
pub(super) const CONTENT_WORDS: &str = "content-word-sets|lowercase|stemmed:no|without:english-stop-words,words-in-over-10%-of-documents(5-at-least)";

/// The share of a text's content words that were recovered, on average over texts that have any.
pub(super) fn metric() -> Metric {
    Metric::mean(WORD_RECALL, |pair| pair.content_words.recall(pair.output, pair.truth))
        .heading("words")
        .title("word recall")
        .shown(Shown::Page)
        .signature(CONTENT_WORDS)
}
