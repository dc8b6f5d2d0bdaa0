//! What an adversary can tell about a whole store: whether a text is in it, and whose vector each is.

use super::{Metric, Shown, Unit};

/// Their names, under which the evaluation passes the scores in.
pub(in crate::evaluate) const MEMBERSHIP_TPR: &str = "membership_tpr";
pub(in crate::evaluate) const MEMBERSHIP_AUC: &str = "membership_auc";
pub(in crate::evaluate) const CANDIDATE_RECALL_AT_1: &str = "candidate_recall_at_1";
pub(in crate::evaluate) const CANDIDATE_RECALL_AT_10: &str = "candidate_recall_at_10";

/// The share of attacked texts that are recognized as stored, at a threshold at which one in a hundred texts that are
/// not stored is, too.
pub(super) fn membership_tpr() -> Metric {
    given(
        MEMBERSHIP_TPR,
        "members",
        "true-positives|at-1%-false-positives|by-nearest-of-up-to-1000-more-vectors|clopper-pearson",
    )
}

/// The probability that an attacked text seems more likely to be stored than a text that is not.
pub(super) fn membership_auc() -> Metric {
    given(MEMBERSHIP_AUC, "member AUC", "by-nearest-of-up-to-1000-more-vectors|ties:half|newcombe-2006")
}

/// The share of attacked vectors whose own text is the likeliest of all documents.
pub(super) fn candidate_recall_at_1() -> Metric {
    given(
        CANDIDATE_RECALL_AT_1,
        "whose@1",
        "among-all-different-documents|ties:against-the-attacker|clopper-pearson",
    )
}

/// The share of attacked vectors whose own text is among the ten likeliest of all documents.
pub(super) fn candidate_recall_at_10() -> Metric {
    given(
        CANDIDATE_RECALL_AT_10,
        "whose@10",
        "among-all-different-documents|ties:against-the-attacker|clopper-pearson",
    )
}

fn given(name: &str, heading: &str, rules: &str) -> Metric {
    Metric::given(name, Unit::Texts)
        .heading(heading)
        .title(&name.replace('_', " "))
        .digits(3)
        .shown(Shown::Files)
        .signature(rules)
}
