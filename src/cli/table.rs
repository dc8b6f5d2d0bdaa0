//! A report for people or for a spreadsheet.

mod notes;
mod terminal;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{Cell, CellAlignment, Table};

pub(crate) use self::notes::{Signature, recovered, signed};
use self::notes::{notes, signature};
pub(crate) use self::terminal::{Layout, add, broken, close_up, terminal, wrapped};
use super::error::CliError;
use crate::evaluate::metrics::{Metric, Shown, in_column_order};
use crate::evaluate::statistics::Score;
use crate::evaluate::{DistinctRow, Report, Row};

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
    format!("{}\n\n{}", lines(&table), notes(report, Signature::Whole, true))
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
    first.into_iter().chain(scores).chain(["map", "threat", "signature"].map(str::to_owned)).collect()
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
    let threat = row.threat.map(|threat| threat.to_string().replace(' ', "_")).unwrap_or_default();
    first.into_iter().chain(scores).chain([map, threat, signature(report)]).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_score_is_followed_by_its_interval() {
        let score = Some(Score { value: 93.14, low: 91.0, high: 95.0 });
        assert_eq!((long(score, 1).as_str(), long(None, 1).as_str()), ("93.1 [91.0, 95.0]", "–"));
    }
}
