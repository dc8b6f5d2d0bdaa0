use super::{Metric, Shown, TextPair};

/// The cosine between the clean vectors of the recovered and the true text, on average.
pub(super) fn metric() -> Metric {
    Metric::mean("cosine", TextPair::output_cosine)
        .heading("cosine")
        .range(-1.0, 1.0)
        .shown(Shown::Terminal)
        .signature("clean-embedding(output)~clean-embedding(text)")
}
