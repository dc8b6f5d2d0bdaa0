//! A verdict for people.

use std::fmt::Write;

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_HORIZONTAL_ONLY};
use comfy_table::{Cell, CellAlignment, Table};

use crate::cli::table;
use crate::evaluate::{Finding, FindingKind, Outcome, Report, Verdict};

/// For the terminal: a block for each stack, and the verdict.
pub(super) fn terminal(verdict: &Verdict, report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(HEADINGS);
    for block in verdict.findings.chunk_by(|a, b| (a.kind, &a.defense) == (b.kind, &b.defense)) {
        let column = |of: fn(&Finding) -> String| block.iter().map(of).collect::<Vec<_>>().join("\n");
        let subject = if block[0].kind == FindingKind::Limit {
            table::broken(&block[0].defense)
        } else {
            format!("{}:\n{}", kind(block[0].kind), table::broken(&block[0].defense))
        };
        let right = |text| Cell::new(text).set_alignment(CellAlignment::Right);
        table.add_row([
            Cell::new(subject),
            Cell::new(column(metric)),
            right(column(limit)),
            right(column(value)),
            right(column(bounds)),
            Cell::new(column(adversary)),
            Cell::new(column(outcome)),
        ]);
    }
    format!("{}\n{}", table::lines(&table), notes(verdict, report))
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
    format!("{heading}\n\n{}\n\n{}", table::lines(&table), notes(verdict, report))
}

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

fn notes(verdict: &Verdict, report: &Report) -> String {
    let percent = 100.0 * verdict.confidence;
    let attacked = report.rows.first().map_or(0, |row| row.n);
    let queries = report.undefended.queries.len();
    let mut text = format!(
        "{attacked} texts attacked, {queries} queries. In brackets: one-sided bounds, which hold together with {percent} % confidence.\n"
    );
    text += &table::recovered(report);
    let _ = writeln!(text, "signature: {}", table::signature(report));
    for warning in &verdict.warnings {
        let _ = writeln!(text, "WEAK EVIDENCE: {warning}.");
    }
    if let Some(reason) = &verdict.reason {
        let _ = writeln!(text, "{reason}.");
    }
    text + &format!("{}\n", verdict.outcome.to_string().to_uppercase())
}
