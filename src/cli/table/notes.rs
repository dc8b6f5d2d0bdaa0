//! What is said below a table.

use std::fmt::Write;

use super::long;
use crate::evaluate::metrics::{Metric, Scores, Shown};
use crate::evaluate::{KindScore, Report, Reranked, Row, Threat};

/// How much of a signature is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signature {
    /// Its hash, by which two reports of equal settings are told to be that.
    Hash,
    /// All settings.
    Whole,
}

/// What a table has no room for, one line each.
pub(super) fn notes(report: &Report, shown: Signature, has_intervals: bool) -> String {
    let setting = |name: &str| report.signature.get(name).map(ToString::to_string).unwrap_or_default();
    let attacked = match report.rows.first() {
        Some(row) if row.n > 0 => format!("{} texts attacked of ", row.n),
        _ => String::new(),
    };
    let (documents, queries) = (setting("documents"), setting("queries"));
    let over = if queries == "0" { "texts" } else { "texts and queries" };
    let brackets =
        if has_intervals { format!(" In brackets: 95 % intervals over {over}.") } else { String::new() };
    let mut text = format!("{attacked}{documents} documents, {queries} queries.{brackets}\n");
    text += &recovered(report);
    text += &guessed_by_kind(report);
    text += &reranked(report);
    text += &leaks(report);
    text += threats(report);
    for strength in &report.strengths {
        let _ = match strength.warning() {
            Some(warning) => writeln!(text, "WEAK EVIDENCE: {warning}."),
            None if report.is_conclusive() && !strength.is_conclusive() => {
                writeln!(text, "{} cannot be read: {strength}.", strength.leak.replace('_', " "))
            }
            None => Ok(()),
        };
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "WARNING: {warning}.");
    }
    text += &signed(report, shown);
    if let Some(reason) = &report.reason {
        let _ = writeln!(text, "INCONCLUSIVE: {reason}.");
    }
    text
}

/// The threat that less noise on queries than on documents is meant for, if there is any.
fn threats(report: &Report) -> &'static str {
    if report.rows.iter().any(|row| row.threat == Some(Threat::StolenStore)) {
        "Less noise on queries than on documents is meant for a stolen store; its operator sees queries too.\n"
    } else {
        ""
    }
}

/// How many texts were recovered word for word under each defense, by the adversary that recovers the most: a line,
/// or nothing if nothing was attacked. Means can hide a few texts that are recovered whole.
pub(crate) fn recovered(report: &Report) -> String {
    let recovers = |row: &&Row| row.score("exact_match").is_some();
    let Some(n) = report.rows.iter().filter(recovers).map(|row| row.n).max() else { return String::new() };
    let most = worst_rows(&report.rows, |row| row.recovered as f64);
    let by = |row: &Row| if row.recovered > 0 { format!(" ({})", row.adversary) } else { String::new() };
    let counts = most.iter().map(|row| format!("{} {}{}", row.defense, row.recovered, by(row)));
    format!("Recovered word for word, of {n} texts: {}.\n", counts.collect::<Vec<_>>().join("; "))
}

/// Which kinds of fact are guessed, by the adversary that guesses the most under each defense: a line for each
/// defense, or nothing if nothing was guessed. Kinds differ widely.
fn guessed_by_kind(report: &Report) -> String {
    let guess = |row: &Row| row.score("guess").map_or(-1.0, |score| score.value);
    let guesses = worst_rows(&report.rows, guess).into_iter().filter(|row| !row.guess_by_kind.is_empty());
    let line = |row: &Row| {
        let right = |KindScore { n, score }: &KindScore| (score.value * *n as f64).round();
        let kinds = row.guess_by_kind.iter().map(|(kind, of)| format!("{kind} {} of {}", right(of), of.n));
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        format!("  {} ({}): {kinds}\n", row.defense, row.adversary)
    };
    let lines: String = guesses.map(line).collect();
    if lines.is_empty() { lines } else { format!("Facts guessed, by kind:\n{lines}") }
}

/// The row of each defense with the highest score, the first of equals.
fn worst_rows(rows: &[Row], score: impl Fn(&Row) -> f64) -> Vec<&Row> {
    let mut worst: Vec<&Row> = Vec::new();
    for row in rows {
        match worst.iter_mut().find(|other| other.defense == row.defense) {
            Some(other) if score(other) < score(row) => *other = row,
            Some(_) => {}
            None => worst.push(row),
        }
    }
    worst
}

/// What each stack that re-ranks costs per query, and what its first stage keeps: one line each.
fn reranked(report: &Report) -> String {
    let mut seen = Vec::new();
    let first_of_stack = |row: &&Row| {
        let is_new = row.reranked.is_some() && !seen.contains(&row.defense);
        seen.extend(is_new.then(|| row.defense.clone()));
        is_new
    };
    let line = |row: &Row| {
        let Reranked { candidates, query_bytes, row_bytes, .. } = row.reranked?;
        let [recall, kept] = ["first_stage_recall", "top_10_kept"].map(|name| long(row.score(name), 3));
        Some(format!(
            "{}: each query opens {candidates} candidates, {query_bytes} bytes; each row stores {row_bytes} more. The \
             candidates hold {recall} of the relevant documents and {kept} of the undefended ten best.\n",
            row.defense
        ))
    };
    let mut text: String = report.rows.iter().filter(first_of_stack).filter_map(line).collect();
    if !report.key_stolen.is_empty() {
        text += "Whoever has the key can open every exact vector: the row `key stolen` shows the undefended leak.\n";
    }
    text
}

/// Explains how leaks are computed, and the floor and ceiling of each.
fn leaks(report: &Report) -> String {
    let (Some(floor), Some(ceiling)) = (&report.floor, &report.ceiling) else { return String::new() };
    let shown = |metric: &&Metric| metric.is_shown(Shown::Line) && report.conclusive.contains(&metric.name);
    let leaks = report.metrics.iter().filter(shown);
    let between: String = leaks.filter_map(|leak| range(leak, &report.metrics, [floor, ceiling])).collect();
    if between.is_empty() {
        return between;
    }
    format!(
        "A leak is (score − floor) / (ceiling − floor): the ceiling is the undefended attack, the floor its outputs against \
         unrelated texts, or chance where that is known; each row has its own.\n{between}"
    )
}

/// `leak: of BLEU, ceiling 98.2 [97.1, 99.0], floor 3.1 [2.8, 3.4].`
fn range(leak: &Metric, metrics: &[Metric], ends: [&Scores; 2]) -> Option<String> {
    let base = metrics.iter().find(|metric| Some(metric.name.as_str()) == leak.leaking())?;
    let [floor, ceiling] = ends.map(|scores| long(scores.score(&base.name), base.digits));
    Some(format!("{}: of {}, ceiling {ceiling}, floor {floor}.\n", leak.heading, base.title))
}

/// The signature's line.
pub(crate) fn signed(report: &Report, shown: Signature) -> String {
    let whole = match shown {
        Signature::Hash => String::new(),
        Signature::Whole => format!(" {}", signature(report)),
    };
    format!("signature: {}{whole}\n", report.signature_hash())
}

/// The settings in one line, with hashes shortened. The JSON has them whole, and the metrics' rules.
pub(crate) fn signature(report: &Report) -> String {
    let short = |(name, value): (&String, &serde_json::Value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let hashes = text.split('+').map(|part| part.get(..12).unwrap_or(part));
        let text = if name.ends_with("sha256") { hashes.collect::<Vec<_>>().join("+") } else { text };
        format!("{name}:{text}")
    };
    let flat = report.signature.iter().filter(|(_, value)| !value.is_array() && !value.is_object());
    flat.map(short).collect::<Vec<_>>().join("|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_fact_are_told_apart_for_the_worst_adversary() {
        let score = |value: f64| serde_json::json!({ "value": value, "low": 0.0, "high": 1.0 });
        let row = |adversary: &str, right: f64| {
            let kind =
                |n: usize, value: f64| serde_json::json!({ "n": n, "value": value, "low": 0.0, "high": 1.0 });
            serde_json::json!({
                "defense": "none", "adversary": adversary, "n": 4, "map": null, "guess": score(right),
                "guess_by_kind": { "date": kind(1, 0.0), "person": kind(3, right) }
            })
        };
        let report = serde_json::json!({
            "signature": {}, "rows": [row("naive", 1.0 / 3.0), row("informed(9)", 2.0 / 3.0)],
            "ceiling": null, "floor": null, "conclusive": [], "reason": null
        });
        let report = Report::from_json(&report.to_string()).expect("a report");
        let expected = "Facts guessed, by kind:\n  none (informed(9)): date 0 of 1, person 2 of 3\n";
        assert_eq!(guessed_by_kind(&report), expected);
        let nothing = serde_json::json!({
            "signature": {}, "rows": [], "ceiling": null, "floor": null, "conclusive": [], "reason": null
        });
        assert_eq!(guessed_by_kind(&Report::from_json(&nothing.to_string()).expect("a report")), "");
    }
}
