use super::{Metric, Shown, Unit};

/// Its name, under which the evaluation passes the score in.
pub(in crate::evaluate) const LINKAGE: &str = "linkage_recall_at_1";

/// The share of documents whose vectors under two keys are matched correctly, by norm and neighbourhood.
/// Among n documents, chance is 1/n. `None` for a defense without a key.
pub(super) fn metric() -> Metric {
    Metric::given(LINKAGE, Unit::Documents)
        .heading("linkage")
        .digits(3)
        .shown(Shown::Files)
        .signature("two-keys|documents:first-1000|aligned-by:first-10000")
}
