use super::{Metric, Shown};
use crate::evaluate::text;

/// The name of the metric that compares attacks and shows that an attack works.
pub(in crate::evaluate) const STRENGTH: &str = "bleu";

/// Sentence BLEU, 0 to 100, on average.
pub(super) fn metric() -> Metric {
    Metric::mean(STRENGTH, |pair| Some(text::bleu(pair.output, pair.truth)))
        .heading("BLEU")
        .digits(1)
        .range(0.0, 100.0)
        .shown(Shown::Page)
        .signature("sentence-mean|tok:13a|smooth:exp|eff:no")
}
