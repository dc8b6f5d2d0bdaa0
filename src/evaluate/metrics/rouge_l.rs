use super::{Metric, Shown};
use crate::evaluate::text;

/// ROUGE-L, on average.
pub(super) fn metric() -> Metric {
    Metric::mean("rouge_l", |pair| Some(text::rouge_l(pair.output, pair.truth)))
        .heading("ROUGE-L")
        .shown(Shown::Files)
        .signature("f-measure|stemmer:no")
}
