use super::{Metric, Shown};
use crate::evaluate::text;

/// F1 over word sets, on average.
pub(super) fn metric() -> Metric {
    Metric::mean("token_f1", |pair| Some(text::token_f1(pair.output, pair.truth)))
        .heading("token F1")
        .shown(Shown::Files)
        .signature("word-sets|lowercase")
}
