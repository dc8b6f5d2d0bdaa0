//! A verdict for people.

use std::fmt::Write;

use comfy_table::Table;
use comfy_table::presets::{ASCII_MARKDOWN, UTF8_HORIZONTAL_ONLY};

use crate::cli::table::{self, Layout, Signature};
use crate::evaluate::{Finding, FindingKind, Outcome, Report, Verdict};

/// For the terminal, in 100 columns: a block for each stack, and the verdict.
pub(super) fn terminal(verdict: &Verdict, report: &Report, signature: Signature) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(HEADINGS_OF_TERMINAL);
    for block in verdict.findings.chunk_by(|a, b| (a.kind, &a.defense) == (b.kind, &b.defense)) {
        let defense = table::broken(&block[0].defense, SUBJECT_WIDTH);
        let subject = match block[0].kind {
            FindingKind::Limit => defense,
            other => format!("{}:\n{defense}", kind(other)),
        };
        table::add(&mut table, &subject, block.iter().map(entry).collect(), 1..=2);
    }
    table::close_up(&mut table, 2);
    let notes = table::wrapped(&notes(verdict, report, signature), Layout::Usual.width());
    format!("{}\n{notes}", table::lines(&table))
}

/// The cells of a finding behind its defense: the score is above its bounds.
fn entry(finding: &Finding) -> Vec<String> {
    vec![
        metric(finding),
        limit(finding),
        format!("{}\n{}", value(finding), bounds(finding)),
        table::broken(&adversary(finding), SUBJECT_WIDTH),
        outcome(finding).replace(": ", ":\n").replace(" would decide", ""),
    ]
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
    format!("{heading}\n\n{}\n\n{}", table::lines(&table), notes(verdict, report, Signature::Whole))
}

/// The width of a defense and of an adversary, as long as they can be broken.
const SUBJECT_WIDTH: usize = 18;

const HEADINGS_OF_TERMINAL: [&str; 6] = ["defense", "metric", "limit", "score", "adversary", "verdict"];

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
        (Outcome::Fail, _) => "FAIL".into(),
        (Outcome::Inconclusive, Some(needed)) => {
            format!("inconclusive: about {needed} {} would decide", finding.unit)
        }
        (outcome, _) => outcome.to_string(),
    }
}

fn notes(verdict: &Verdict, report: &Report, signature: Signature) -> String {
    let percent = 100.0 * verdict.confidence;
    let attacked = report.rows.first().map_or(0, |row| row.n);
    let queries = report.undefended.queries.len();
    let mut text = format!(
        "{attacked} texts attacked, {queries} queries. In brackets: one-sided bounds, which hold together with {percent} % confidence.\n"
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
