//! A report for people or for a spreadsheet.

use std::fmt::Write;

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_HORIZONTAL_ONLY};
use comfy_table::{Cell, CellAlignment, Table};

use super::error::CliError;
use crate::evaluate::metrics::{Metric, Scores, Shown, Unit, in_column_order};
use crate::evaluate::statistics::Score;
use crate::evaluate::{DistinctRow, KindScore, Report, Reranked, Row, Threat};

/// The width of a defense's spec in a terminal, as long as it can be broken.
const DEFENSE_WIDTH: usize = 24;

/// For the terminal: a block for each defense. In it, each score is above its interval, and each adversary above
/// their map and the adversaries who did exactly the same.
pub(crate) fn terminal(report: &Report) -> String {
    let columns = columns(&report.metrics, Shown::Terminal);
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(headings(&columns));
    for block in report.distinct_rows().chunk_by(|a, b| a.row.defense == b.row.defense) {
        let adversaries = block.iter().map(adversaries).collect::<Vec<_>>().join("\n");
        let scores = columns.iter().map(|column| {
            // a score of the defense is the same whoever attacks
            let rows = if column.unit() == Unit::Texts { block } else { &block[..1] };
            let score = |of: &DistinctRow<'_>| {
                stacked(of.row.score(&column.name), column.digits) + &"\n".repeat(of.same.len())
            };
            number(rows.iter().map(score).collect::<Vec<_>>().join("\n"))
        });
        let names = [Cell::new(broken(&block[0].row.defense)), Cell::new(adversaries)];
        table.add_row(names.into_iter().chain(scores));
        for row in report.key_stolen.iter().filter(|row| row.defense == block[0].row.defense) {
            let scores = columns.iter().map(|column| number(stacked(row.score(&column.name), column.digits)));
            table.add_row([Cell::new(""), Cell::new(&row.adversary)].into_iter().chain(scores));
        }
    }
    format!("{}\n{}", lines(&table), notes(report))
}

/// The adversary, the map, and a line for each adversary who did the same.
fn adversaries(DistinctRow { row, same, .. }: &DistinctRow<'_>) -> String {
    let same: String = same.iter().map(|adversary| format!("\n  = {adversary}")).collect();
    format!("{}\n{}{same}", row.adversary, short_map(row))
}

/// All scores, for a document.
pub(crate) fn markdown(report: &Report) -> String {
    let mut table = Table::new();
    let columns = columns(&report.metrics, Shown::Files);
    let headings = headings(&columns).into_iter();
    table.load_style(ASCII_MARKDOWN).set_header(headings.chain([Cell::new("map")]));
    let stolen = report.key_stolen.iter().map(|row| DistinctRow { row, same: Vec::new() });
    for DistinctRow { row, same, .. } in report.distinct_rows().into_iter().chain(stolen) {
        let scores = columns.iter().map(|column| number(long(row.score(&column.name), column.digits)));
        let defense = Cell::new(row.defense.replace('|', "\\|"));
        let map = [Cell::new(row.map.as_deref().unwrap_or("–"))];
        let adversaries = std::iter::once(row.adversary.as_str()).chain(same).collect::<Vec<_>>().join(" = ");
        table.add_row([defense, Cell::new(adversaries)].into_iter().chain(scores).chain(map));
    }
    format!("{}\n\n{}", lines(&table), notes(report))
}

/// All scores, each with its interval's ends in separate columns, and the signature. What was not measured is empty.
pub(crate) fn csv(report: &Report) -> Result<String, CliError> {
    let rows = report.rows.iter().chain(&report.key_stolen);
    csv_of(std::iter::once(csv_head(report)).chain(rows.map(|row| csv_record(report, row))))
}

/// The records as CSV by RFC 4180, but with `\n` at the end of a line.
pub(crate) fn csv_of(records: impl IntoIterator<Item = Vec<String>>) -> Result<String, CliError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for record in records {
        writer.write_record(&record)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// The metrics that a place shows, in the order of their columns.
pub(crate) fn columns(metrics: &[Metric], place: Shown) -> Vec<&Metric> {
    in_column_order(metrics).into_iter().filter(|metric| metric.is_shown(place)).collect()
}

/// The names of the fields of [`csv_record`].
pub(crate) fn csv_head(report: &Report) -> Vec<String> {
    let columns = columns(&report.metrics, Shown::Files);
    let scores = columns
        .iter()
        .flat_map(|Metric { name, .. }| ["", "_low", "_high"].map(|end| format!("{name}{end}")));
    let first = ["defense", "adversary", "n", "recovered"].map(str::to_owned);
    first.into_iter().chain(scores).chain(["map", "signature"].map(str::to_owned)).collect()
}

/// A row of the report.
pub(crate) fn csv_record(report: &Report, row: &Row) -> Vec<String> {
    let columns = columns(&report.metrics, Shown::Files);
    let scores = columns.iter().flat_map(|column| match row.score(&column.name) {
        Some(Score { value, low, high }) => [value, low, high].map(|number| number.to_string()),
        None => [const { String::new() }; 3],
    });
    let first = [row.defense.clone(), row.adversary.clone(), row.n.to_string(), row.recovered.to_string()];
    let map = row.map.clone().unwrap_or_default();
    first.into_iter().chain(scores).chain([map, signature(report)]).collect()
}

/// The map without its numbers: `  clouds, then ridge`.
fn short_map(row: &Row) -> String {
    let Some(map) = &row.map else { return String::new() };
    let steps = map.split(", then ").map(|step| step.split('(').next().unwrap_or_default());
    format!("  {}", steps.collect::<Vec<_>>().join(", then "))
}

/// `0.83 [0.77, 0.88]`.
pub(crate) fn long(score: Option<Score>, decimals: usize) -> String {
    score.map_or_else(
        || "–".into(),
        |Score { value, low, high }| {
            let [value, low, high] = [value, low, high].map(|number| fixed(number, decimals));
            format!("{value} [{low}, {high}]")
        },
    )
}

/// The number with `decimals` decimals, and never `-0.00`.
pub(crate) fn fixed(number: f64, decimals: usize) -> String {
    let text = format!("{number:.decimals$}");
    match text.strip_prefix('-') {
        Some(rest) if !rest.contains(|c: char| ('1'..='9').contains(&c)) => rest.to_owned(),
        _ => text,
    }
}

/// The value, and below it `[.77,.88]`.
fn stacked(score: Option<Score>, decimals: usize) -> String {
    let short = |end: f64| {
        let text = fixed(end, decimals);
        match text.strip_prefix("0.") {
            Some(fraction) => format!(".{fraction}"),
            None => text,
        }
    };
    score.map_or_else(
        || "–\n".into(),
        |Score { value, low, high }| format!("{}\n[{},{}]", fixed(value, decimals), short(low), short(high)),
    )
}

/// The spec on as many lines as it needs, broken where a part, a name or a value ends.
pub(crate) fn broken(defense: &str) -> String {
    let mut lines = vec![String::new()];
    for piece in defense.split_inclusive(['(', '=', ',', '|']) {
        match lines.last_mut() {
            Some(line) if line.is_empty() || line.len() + piece.len() <= DEFENSE_WIDTH => {
                line.push_str(piece);
            }
            _ => lines.push(piece.trim_start().to_owned()),
        }
    }
    lines.join("\n")
}

fn headings(columns: &[&Metric]) -> Vec<Cell> {
    let scores = columns.iter().map(|column| number(column.heading.clone()));
    [Cell::new("defense"), Cell::new("adversary")].into_iter().chain(scores).collect()
}

fn number(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

pub(crate) fn lines(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn notes(report: &Report) -> String {
    let setting = |name: &str| report.signature.get(name).map(ToString::to_string).unwrap_or_default();
    let attacked = match report.rows.first() {
        Some(row) if row.n > 0 => format!("{} texts attacked of ", row.n),
        _ => String::new(),
    };
    let (documents, queries) = (setting("documents"), setting("queries"));
    let mut text = format!(
        "{attacked}{documents} documents, {queries} queries. In brackets: 95 % intervals over texts and queries.\n"
    );
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
    let _ = writeln!(text, "signature: {}", signature(report));
    if let Some(reason) = &report.reason {
        let _ = writeln!(text, "INCONCLUSIVE: {reason}.");
    }
    text
}

/// The threat that noise only on documents is meant for, if there is any.
fn threats(report: &Report) -> &'static str {
    if report.rows.iter().any(|row| row.threat == Some(Threat::StolenStore)) {
        "Noise on documents alone is meant for a stolen store; the store's operator also sees clean queries.\n"
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
    fn a_spec_is_broken_where_it_may_be() {
        let cases = [
            ("none", "none"),
            ("quantization(bits=8)", "quantization(bits=8)"),
            ("rotation(key=fingerprint:84375e6e)", "rotation(key=\nfingerprint:84375e6e)"),
            ("gaussian(sigma=0.01) | quantization(bits=8)", "gaussian(sigma=0.01) |\nquantization(bits=8)"),
            ("", ""),
        ];
        for (spec, expected) in cases {
            assert_eq!(broken(spec), expected);
        }
    }

    #[test]
    fn a_field_of_csv_may_hold_commas_and_quotation_marks() {
        let row = serde_json::json!({
            "defense": "gaussian(sigma=1, on=queries)", "adversary": "averaging(16, 768)", "n": 2,
            "map": "clouds, then \"ridge\""
        });
        let report = serde_json::json!({
            "signature": {}, "rows": [row], "ceiling": null, "floor": null, "conclusive": [], "reason": null
        });
        let report = Report::from_json(&report.to_string()).expect("a report");
        let text = csv(&report).expect("text");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let head = reader.headers().expect("a head").clone();
        let record = reader.records().next().expect("a row").expect("as many fields as the head");
        let field = |name: &str| &record[head.iter().position(|it| it == name).expect("a column")];
        assert_eq!(field("defense"), "gaussian(sigma=1, on=queries)");
        assert_eq!((field("map"), field("bleu")), ("clouds, then \"ridge\"", ""));
    }

    #[test]
    fn adversaries_who_did_the_same_are_shown_once() {
        let row = |adversary: &str, bleu: f64| {
            let score = serde_json::json!({ "value": bleu, "low": bleu, "high": bleu });
            serde_json::json!({ "defense": "none", "adversary": adversary, "n": 2, "map": null, "bleu": score })
        };
        let report = serde_json::json!({
            "signature": {}, "rows": [row("naive", 3.0), row("informed(9)", 71.0), row("leaked(8)", 71.0)],
            "ceiling": null, "floor": null, "conclusive": [], "reason": null
        });
        let report = Report::from_json(&report.to_string()).expect("a report");
        let (terminal, markdown) = (terminal(&report), markdown(&report));
        assert_eq!(terminal.matches("71.0\n").count() + terminal.matches("71.0 ").count(), 1, "{terminal}");
        let place = |part: &str| terminal.find(part).expect("it is shown");
        assert!(
            place("naive") < place("informed(9)") && place("informed(9)") < place("  = leaked(8)"),
            "{terminal}"
        );
        assert!(markdown.contains("| informed(9) = leaked(8) "), "{markdown}");
        assert_eq!(csv(&report).expect("text").lines().count(), 4, "files keep all");
    }

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

    #[test]
    fn a_map_is_short_in_a_terminal() {
        let short = |map: Option<&str>| {
            let row = serde_json::json!({ "defense": "none", "adversary": "naive", "n": 2, "map": map });
            short_map(&serde_json::from_value(row).expect("a row"))
        };
        assert_eq!(
            short(Some("unpaired(score=0.671 of 0.671), then ridge(identity, lambda=1)")),
            "  unpaired, then ridge"
        );
        assert_eq!(short(Some("scaled procrustes")), "  scaled procrustes");
        assert_eq!(short(None), "");
    }

    #[test]
    fn scores_are_short_but_not_wrong() {
        let score = |value, low, high| Some(Score { value, low, high });
        assert_eq!(stacked(score(0.834, 0.771, 1.0), 2), "0.83\n[.77,1.00]");
        assert_eq!(stacked(score(-0.004, -0.02, 0.01), 2), "0.00\n[-0.02,.01]");
        assert_eq!(stacked(None, 2), "–\n");
        assert_eq!(long(score(93.14, 91.0, 95.0), 1), "93.1 [91.0, 95.0]");
    }
}
