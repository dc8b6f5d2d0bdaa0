use super::{Columns, Metric, Shown};
use crate::evaluate::text;

const EXACT_MATCH: &str = "exact_match";

/// Counts the texts that were recovered exactly.
pub(in crate::evaluate) fn recovered(texts: &Columns) -> usize {
    texts.values(EXACT_MATCH).into_iter().filter(|score| *score > 0.5).count()
}

/// The share of texts that were recovered exactly.
pub(super) fn metric() -> Metric {
    Metric::share(EXACT_MATCH, |pair| Some(text::exact_match(pair.output, pair.truth)))
        .heading("exact")
        .title("exact match")
        .shown(Shown::Page)
        .signature("whitespace:collapsed")
}
