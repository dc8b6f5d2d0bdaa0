//! What to do if a verdict is inconclusive.

use super::super::conclusion::Advice;
use super::super::metrics::Unit;
use super::super::report::Report;
use super::{Finding, FindingKind, Outcome};

/// Returns the advice, the best first: keys that no adversary attacks, more texts and queries if these decide, and a
/// stronger attack if a canary needs one. More texts do not decide limits that are doubted.
pub(super) fn advice(
    report: &Report,
    findings: &[Finding],
    has_open_key: bool,
    is_doubted: impl Fn(&Finding) -> bool,
) -> Vec<Advice> {
    let open = || findings.iter().filter(|finding| finding.outcome == Outcome::Inconclusive);
    let mut advice = Vec::new();
    if has_open_key {
        advice.push(attacked_key(report));
    }
    let is_promising = |finding: &&Finding| match finding.kind {
        FindingKind::Canary => finding.value > finding.limit,
        _ => finding.unit == Unit::Texts && !is_doubted(finding),
    };
    let needed = open().filter(is_promising).filter_map(|finding| finding.needed).max();
    let are_there = |needed: usize| needed <= setting(report, "documents");
    advice.extend(needed.map(|needed| {
        if are_there(needed) { Advice::MoreSamples(needed) } else { Advice::MoreDocuments(needed) }
    }));
    let of_queries = open().filter(|finding| finding.unit == Unit::Queries);
    advice.extend(of_queries.filter_map(|finding| finding.needed).max().map(Advice::MoreQueries));
    if open().any(|finding| finding.kind == FindingKind::Canary && finding.value <= finding.limit) {
        advice.extend(stronger(report));
    }
    advice
}

/// The adversary that attacks a key: with the pairs that determine any key or, if the corpus has fewer documents to
/// leak, with those that count.
fn attacked_key(report: &Report) -> Advice {
    let (pairs, samples) = (setting(report, "dimension"), setting(report, "samples"));
    let left = setting(report, "documents").saturating_sub(samples);
    if left < pairs {
        return Advice::DocumentsToLeak { documents: samples + pairs, pairs };
    }
    Advice::AttackKey { pairs: if left < 2 * pairs { pairs } else { 2 * pairs } }
}

/// What makes the attack stronger.
fn stronger(report: &Report) -> Vec<Advice> {
    let is_of_size = |advice: &&Advice| {
        matches!(advice, Advice::MoreSamples(_) | Advice::MoreDocuments(_) | Advice::MoreQueries(_))
    };
    let others = report.advice.iter().filter(|other| !is_of_size(other));
    let others: Vec<Advice> = others.cloned().collect();
    if others.is_empty() { vec![Advice::GuidedSearch, Advice::FineTune] } else { others }
}

fn setting(report: &Report, name: &str) -> usize {
    report.signature.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0) as usize
}
