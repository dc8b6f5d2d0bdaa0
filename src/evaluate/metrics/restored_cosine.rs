use super::{Metric, Shown};

/// The mean cosine between the clean vectors and the adversary's estimates of them. It measures only the adversary's
/// map, without the attack's language model.
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method's path is of one lifetime only")]
pub(super) fn metric() -> Metric {
    Metric::mean("restored_cosine", |pair| pair.restored_cosine())
        .heading("restored")
        .range(-1.0, 1.0)
        .of_rows_only()
        .without_output()
        .not_limited()
        .column_after("cosine")
        .shown(Shown::Files)
        .signature("restored~clean-embedding(text)")
}
