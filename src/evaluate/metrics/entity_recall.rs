use super::{Metric, Shown};
use crate::evaluate::text;

/// The share of labelled names, dates, amounts … that were recovered, over texts that have any.
pub(super) fn metric() -> Metric {
    Metric::mean("entity_recall", |pair| text::entity_recall(pair.output, pair.entities))
        .heading("entities")
        .title("entity recall")
        .needs("labelled entities")
        .shown(Shown::Page)
        .signature("whole-words")
}
