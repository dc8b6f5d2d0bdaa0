use super::{Metric, Shown};
use crate::evaluate::text;

/// The share of texts that were recovered exactly.
pub(super) fn metric() -> Metric {
    Metric::share("exact_match", |pair| Some(text::exact_match(pair.output, pair.truth)))
        .heading("exact")
        .title("exact match")
        .shown(Shown::Page)
        .signature("whitespace:collapsed")
}
