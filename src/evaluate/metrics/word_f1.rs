use super::word_recall::CONTENT_WORDS;
use super::{Metric, Shown};

/// F1 over sets of content words, on average over texts that have any.
pub(super) fn metric() -> Metric {
    Metric::mean("word_f1", |pair| pair.content_words.f1(pair.output, pair.truth))
        .heading("word F1")
        .shown(Shown::Files)
        .signature(CONTENT_WORDS)
}
