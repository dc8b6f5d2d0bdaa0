//! What a search loses before its candidates are re-ranked.

use super::{Metric, Shown, Unit};

/// Their names, under which the evaluation passes the scores in.
pub(in crate::evaluate) const FIRST_STAGE_RECALL: &str = "first_stage_recall";
pub(in crate::evaluate) const TOP_10_KEPT: &str = "top_10_kept";

/// The share of relevant documents that are among the candidates. `None` for a defense that re-ranks nothing.
pub(super) fn recall() -> Metric {
    given(FIRST_STAGE_RECALL, "stage 1", "relevant-among-candidates")
}

/// The share of the ten documents that an undefended search finds that are among the candidates. Re-ranking finds
/// these again, up to the rounding of sealed vectors.
pub(super) fn top_10_kept() -> Metric {
    given(TOP_10_KEPT, "kept@10", "undefended-top-10-among-candidates|by-exact-search")
}

fn given(name: &str, heading: &str, rules: &str) -> Metric {
    Metric::given(name, Unit::Queries)
        .heading(heading)
        .title(&name.replace('_', " "))
        .digits(3)
        .shown(Shown::Files)
        .signature(rules)
}
