//! A verdict for people.

use std::fmt::Write;

use comfy_table::Table;
use comfy_table::presets::{ASCII_MARKDOWN, UTF8_HORIZONTAL_ONLY};

use crate::cli::table::{self, Layout, Signature};
use crate::evaluate::metrics::by_limit;
use crate::evaluate::{Finding, FindingKind, Outcome, Report, Verdict};

/// For the terminal: a block for each stack, and the verdict.
pub(super) fn terminal(verdict: &Verdict, report: &Report, layout: Layout, signature: Signature) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(headings(layout));
    for block in verdict.findings.chunk_by(|a, b| (a.kind, &a.defense) == (b.kind, &b.defense)) {
        let defense = table::broken(&block[0].defense, WIDTH);
        let subject = match block[0].kind {
            FindingKind::Limit => defense,
            other => format!("{}:\n{defense}", kind(other).replace("the ", "the\n")),
        };
        let numbers = if layout == Layout::Usual { 1..=2 } else { 1..=1 };
        table::add(
            &mut table,
            &subject,
            block.iter().map(|finding| entry(finding, report, layout)).collect(),
            numbers,
        );
    }
    table::close_up(&mut table, 2);
    let in_brackets = if layout == Layout::Usual { "In brackets: " } else { "Decided by " };
    let notes = table::wrapped(&notes(verdict, report, in_brackets, signature), layout.width());
    format!("{}\n{notes}", table::lines(&table))
}

fn headings(layout: Layout) -> Vec<&'static str> {
    let limit = (layout == Layout::Usual).then_some("limit");
    ["defense", "metric"].into_iter().chain(limit).chain(["score", "adversary", "verdict"]).collect()
}

/// The cells of a finding behind its defense: the score is above its bounds or, in 80 columns, the metric above its
/// limit.
fn entry(finding: &Finding, report: &Report, layout: Layout) -> Vec<String> {
    let adversary = table::broken(&adversary(finding), WIDTH);
    let (metric, limit) = (metric(finding), limit(finding));
    match layout {
        Layout::Usual => {
            let score = format!("{}\n{}", value(finding), bounds(finding, report));
            let unit = format!(" {} would decide", finding.unit);
            let verdict =
                outcome(finding).replace(": ", ":\n").replace(&unit, &format!("\n{}", finding.unit));
            vec![metric, limit, score, adversary, verdict]
        }
        Layout::Compact => {
            vec![format!("{metric}\n{limit}"), value(finding), adversary, word(finding).into()]
        }
    }
}

/// For the page of a run: a row for each finding.
pub(super) fn markdown(verdict: &Verdict, report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(HEADINGS);
    for finding in &verdict.findings {
        let defense = finding.defense.replace('|', "\\|");
        let subject = match finding.kind {
            FindingKind::Limit => defense,
            other => format!("{}: {defense}", kind(other)),
        };
        table.add_row([
            subject,
            metric(finding),
            limit(finding),
            value(finding),
            bounds(finding, report),
            adversary(finding),
            outcome(finding),
        ]);
    }
    let heading = format!("## embosk gate: {}", verdict.outcome);
    let notes = notes(verdict, report, "In brackets: ", Signature::Whole);
    format!("{heading}\n\n{}\n\n{notes}", table::lines(&table))
}

/// The width of a defense and of an adversary, as long as they can be broken.
const WIDTH: usize = 18;

const HEADINGS: [&str; 7] = ["defense", "metric", "limit", "score", "bounds", "adversary", "verdict"];

fn kind(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Canary => "canary",
        FindingKind::Regression => "since the baseline",
        _ => "limit",
    }
}

fn metric(finding: &Finding) -> String {
    finding.metric.clone()
}

fn limit(finding: &Finding) -> String {
    let sign = match finding.kind {
        FindingKind::Canary => "≥",
        FindingKind::Regression => "≤ +",
        _ => "≤",
    };
    format!("{sign} {}", finding.limit).replace("+ ", "+")
}

fn value(finding: &Finding) -> String {
    number(finding, finding.value)
}

/// The bounds, without an end that no score can be near. Bounds around all possible scores say nothing.
fn bounds(finding: &Finding, report: &Report) -> String {
    let Finding { lower, upper, .. } = *finding;
    let (least, most) = possible(finding, report);
    if lower <= least && upper >= most {
        return "nothing known".into();
    }
    let width = most - least;
    let end = |bound: f64| {
        let is_far = bound < least - width || bound > most + width;
        if is_far { "–".into() } else { number(finding, bound) }
    };
    format!("[{}, {}]", end(lower), end(upper))
}

/// The lowest and the highest score, or difference of scores, that a finding can be about.
fn possible(finding: &Finding, report: &Report) -> (f64, f64) {
    let Ok(metric) = by_limit(&report.metrics, &finding.metric) else {
        return (f64::NEG_INFINITY, f64::INFINITY);
    };
    let (least, most) = metric.range;
    if finding.kind == FindingKind::Regression || metric.is_retrieval() {
        (least - most, most - least)
    } else {
        (least, most)
    }
}

fn number(finding: &Finding, value: f64) -> String {
    format!("{value:.*}", finding.digits)
}

fn adversary(finding: &Finding) -> String {
    finding.adversary.clone().unwrap_or_else(|| "–".into())
}

fn outcome(finding: &Finding) -> String {
    match (finding.outcome, finding.needed) {
        (Outcome::Inconclusive, Some(needed)) => {
            format!("inconclusive: about {needed} {} would decide", finding.unit)
        }
        _ => word(finding).into(),
    }
}

fn word(finding: &Finding) -> &'static str {
    match finding.outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "FAIL",
        Outcome::Inconclusive => "inconclusive",
    }
}

/// `before` says what the bounds are here, or where they are.
fn notes(verdict: &Verdict, report: &Report, before: &str, signature: Signature) -> String {
    let percent = 100.0 * verdict.confidence;
    let attacked = report.rows.first().map_or(0, |row| row.n);
    let queries = report.undefended.queries.len();
    let mut text = format!(
        "{attacked} texts attacked, {queries} queries. {before}one-sided bounds. All upper ones hold together with {percent} % confidence, and so do all lower ones.\n"
    );
    text += &table::recovered(report);
    text += &table::signed(report, signature);
    for warning in &verdict.warnings {
        let _ = writeln!(text, "WEAK EVIDENCE: {warning}.");
    }
    if let Some(reason) = &verdict.reason {
        let _ = writeln!(text, "{reason}.");
    }
    text + &format!("{}\n", verdict.outcome.to_string().to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What takes the most room: a long spec, a long adversary, each kind of finding, and limits with many digits.
    fn wide() -> (Verdict, Report) {
        let finding = |kind: &str, metric: &str, outcome: &str| {
            serde_json::json!({
                "kind": kind, "defense": "rotation(key=fingerprint:84375e6e, kind=hadamard) | gaussian(sigma=0.0125)",
                "adversary": "retrained(unpaired(10000))", "metric": metric, "unit": "texts", "digits": 3, "limit": 0.005,
                "value": 0.123, "lower": -0.101, "upper": 0.456, "n": 300, "outcome": outcome, "needed": 49535
            })
        };
        let findings = [
            finding("canary", "bleu", "pass"),
            finding("limit", "entity_recall", "inconclusive"),
            finding("limit", "exact_match", "fail"),
            finding("regression", "recall_drop", "pass"),
        ];
        let verdict = serde_json::json!({
            "outcome": "fail", "confidence": 0.95, "reason": null, "findings": findings
        });
        let report = serde_json::json!({
            "signature": {}, "rows": [], "ceiling": null, "floor": null, "conclusive": [], "reason": null
        });
        let report = Report::from_json(&report.to_string()).expect("a report");
        (serde_json::from_value(verdict).expect("a verdict"), report)
    }

    #[test]
    fn bounds_beyond_what_is_possible_are_not_shown() {
        let (verdict, report) = wide();
        for (kind, metric, lower, upper, shown) in [
            (FindingKind::Limit, "word_leak", -3.491, 3.491, "nothing known"),
            (FindingKind::Limit, "word_leak", 0.0, 1.0, "nothing known"),
            (FindingKind::Limit, "word_leak", -3.491, 0.2, "[–, 0.200]"),
            (FindingKind::Limit, "word_leak", -0.1, 0.2, "[-0.100, 0.200]"),
            (FindingKind::Regression, "leak", -0.5, 1.0, "[-0.500, 1.000]"),
            (FindingKind::Regression, "leak", -1.0, 1.0, "nothing known"),
            (FindingKind::Limit, "ndcg_drop", -0.1, 1.0, "[-0.100, 1.000]"),
        ] {
            let metric = metric.to_owned();
            let finding = Finding { kind, metric, lower, upper, ..verdict.findings[0].clone() };
            assert_eq!(bounds(&finding, &report), shown, "{finding}");
        }
    }

    #[test]
    fn nothing_is_wider_than_the_layout() {
        let (verdict, report) = wide();
        for (layout, says) in
            [(Layout::Usual, "[-0.101, 0.456]"), (Layout::Compact, "Decided by one-sided bounds")]
        {
            let text = terminal(&verdict, &report, layout, Signature::Hash);
            let widest = text.lines().map(|line| line.chars().count()).max().expect("lines");
            assert!(widest <= layout.width() && widest > layout.width() - 12, "{widest}: {text}");
            for part in [says, "0.123", "FAIL", "inconclusive", "entity_recall", "≤ +0.005"] {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert_eq!(text.contains('['), layout == Layout::Usual, "{text}");
        }
    }
}
