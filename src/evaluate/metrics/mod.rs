//! The metrics of an evaluation, in one table.
//!
//! A [`Metric`] is declared once: its name, how it is printed and computed, its interval, and how a
//! [`Budget`](super::Budget) may limit it. Reports, tables, CSV and JSON files, `--find`, the gate and its
//! baselines all follow from the declaration.
//!
//! # Adding a built-in metric
//!
//! 1. Write a file in this folder with a function `metric()` that declares it.
//! 2. Add the file and a line to the table of [`built_in`], at the place of its column.
//!
//! [`Evaluation::metric`](super::Evaluation::metric) adds a metric to a single evaluation.

mod bleu;
mod columns;
mod cosine;
mod entity_recall;
mod exact_match;
mod first_stage;
mod guess;
mod kinds;
mod leak;
mod linkage;
mod metric;
mod pair;
mod restored_cosine;
mod retrieval;
mod rouge_l;
mod scores;
mod store;
mod summary;
mod table;
mod token_f1;
mod word_f1;
mod word_recall;

use std::sync::LazyLock;

pub use columns::Columns;
pub use kinds::{Direction, Interval, Shown, Unit};
pub use metric::Metric;
pub use pair::TextPair;
pub use scores::Scores;
pub use table::{by_limit, in_column_order};

pub(super) use bleu::STRENGTH;
pub(super) use exact_match::recovered;
pub(super) use first_stage::{FIRST_STAGE_RECALL, TOP_10_KEPT};
pub(super) use guess::{GUESS, set_candidates};
pub(super) use kinds::Basis;
pub(super) use leak::over_floor;
pub(super) use linkage::LINKAGE;
pub(super) use pair::cosine;
pub(super) use store::{CANDIDATE_RECALL_AT_1, CANDIDATE_RECALL_AT_10, MEMBERSHIP_AUC, MEMBERSHIP_TPR};
pub(super) use summary::{
    Measured, attack_scores, bases, losses, measure_queries, measure_texts, measure_unrelated, search_depth,
    shares, signatures,
};
pub(crate) use table::check;
pub(super) use table::{find, quoted};

/// The table, in the order in which reports write the scores.
static BUILT_IN: LazyLock<Vec<Metric>> = LazyLock::new(|| {
    vec![
        exact_match::metric(),
        bleu::metric(),
        token_f1::metric(),
        rouge_l::metric(),
        word_recall::metric(),
        word_f1::metric(),
        entity_recall::metric(),
        guess::metric(),
        cosine::metric(),
        Metric::floor_of("floor", "bleu").digits(1),
        Metric::leak_of("leak", "bleu").least_gap(10.0),
        Metric::leak_of("word_leak", word_recall::WORD_RECALL).heading("word leak").least_gap(0.1),
        Metric::leak_of("guess_leak", GUESS).heading("guess leak").least_gap(0.25),
        retrieval::ndcg(),
        retrieval::recall(),
        retrieval::mrr(),
        first_stage::recall(),
        first_stage::top_10_kept(),
        linkage::metric(),
        store::membership_tpr(),
        store::membership_auc(),
        store::candidate_recall_at_1(),
        store::candidate_recall_at_10(),
        restored_cosine::metric(),
    ]
});

/// The metrics that every evaluation measures.
///
/// ```
/// use embosk::evaluate::metrics;
///
/// let names: Vec<&str> = metrics::built_in().iter().map(|metric| metric.name.as_str()).collect();
/// assert!(names.starts_with(&["exact_match", "bleu"]) && names.contains(&"leak"));
/// ```
pub fn built_in() -> &'static [Metric] {
    &BUILT_IN
}
