//! A verdict for people.

use std::fmt::Write;

use comfy_table::Table;
use comfy_table::presets::{ASCII_MARKDOWN, UTF8_HORIZONTAL_ONLY};

use crate::cli::table::{self, Layout, Signature};
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
            block.iter().map(|finding| entry(finding, layout)).collect(),
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
fn entry(finding: &Finding, layout: Layout) -> Vec<String> {
    let adversary = table::broken(&adversary(finding), WIDTH);
    let (metric, limit) = (metric(finding), limit(finding));
    match layout {
        Layout::Usual => {
            let score = format!("{}\n{}", value(finding), bounds(finding));
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
            bounds(finding),
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

fn bounds(finding: &Finding) -> String {
    format!("[{}, {}]", number(finding, finding.lower), number(finding, finding.upper))
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
        "{attacked} texts attacked, {queries} queries. {before}one-sided bounds, which all hold with {percent} % confidence.\n"
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
