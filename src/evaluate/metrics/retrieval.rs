//! Retrieval by cosine, over the judged queries.

use super::{Metric, Shown};
use crate::evaluate::retrieval;

/// How many documents of a ranking count.
const CUTOFF: usize = 10;

/// The normalized discounted cumulative gain of the first ten.
pub(super) fn ndcg() -> Metric {
    Metric::retrieval("ndcg_at_10", |found| retrieval::ndcg(found, CUTOFF))
        .heading("nDCG@10")
        .limited_as("ndcg_drop")
        .shown(Shown::Line)
}

/// The share of relevant documents among the first ten.
pub(super) fn recall() -> Metric {
    Metric::retrieval("recall_at_10", |found| retrieval::recall(found, CUTOFF))
        .heading("recall@10")
        .limited_as("recall_drop")
        .shown(Shown::Files)
}

/// One over the rank of the first relevant document among the first ten.
pub(super) fn mrr() -> Metric {
    Metric::retrieval("mrr_at_10", |found| retrieval::mrr(found, CUTOFF))
        .heading("MRR@10")
        .limited_as("mrr_drop")
        .shown(Shown::Files)
}
