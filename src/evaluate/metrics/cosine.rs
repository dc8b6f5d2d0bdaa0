use super::{Metric, Shown};

/// The mean cosine between the clean vectors of the recovered and the true text.
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method's path is of one lifetime only")]
pub(super) fn metric() -> Metric {
    Metric::mean("cosine", |pair| pair.output_cosine())
        .heading("cosine")
        .range(-1.0, 1.0)
        .shown(Shown::Files)
        .signature("clean-embedding(output)~clean-embedding(text)")
}
