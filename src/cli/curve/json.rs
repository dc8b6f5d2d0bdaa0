//! The curve for scripts and spreadsheets.

use serde::Serialize;
use serde_json::{Value, json};

use super::points::{Curve, MeasuredStack};
use crate::cli::error::CliError;
use crate::cli::table;
use crate::evaluate::Row;

/// The report, each row with its place on the curve.
pub(super) fn json(curve: &Curve<'_>, command: &str) -> Result<String, serde_json::Error> {
    let mut report = serde_json::to_value(curve.report)?;
    let mut rows = Vec::new();
    for (stack, row) in each(curve) {
        let mut value = serde_json::to_value(row)?;
        value["sweep"] = json!(stack.of.as_ref().map(|(line, _)| &curve.lines[*line].title));
        value["strength"] = json!(stack.of.as_ref().map(|(_, values)| values));
        value["ndcg_kept"] = json!(curve.kept(row).map(|kept| kept.value));
        value["worst"] = json!(is_worst(stack, row));
        value["front"] = json!(stack.front);
        rows.push(value);
    }
    report["rows"] = Value::Array(rows);
    report["command"] = json!(command);
    report["find"] = match &curve.found {
        None => Value::Null,
        Some((limit, answer)) => found(limit.to_string(), answer)?,
    };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

fn found(limit: String, answer: &impl Serialize) -> Result<Value, serde_json::Error> {
    let mut value = serde_json::to_value(answer)?;
    value["limit"] = json!(limit);
    Ok(value)
}

/// The report's columns as `evaluate` writes them, followed by the place on the curve.
pub(super) fn csv(curve: &Curve<'_>) -> Result<String, CliError> {
    let own = ["sweep", "strength", "ndcg_kept", "worst", "front"].map(str::to_owned);
    let head = [table::csv_head(curve.report), own.into()].concat();
    let rows = curve.report.rows.iter().filter_map(|row| csv_record(curve, row));
    table::csv_of(std::iter::once(head).chain(rows))
}

/// A row of the report, and what the curve adds to it.
fn csv_record(curve: &Curve<'_>, row: &Row) -> Option<Vec<String>> {
    let stack = curve.stacks.iter().find(|stack| stack.defense == row.defense)?;
    let sweep = stack.of.as_ref().map_or("", |(line, _)| &curve.lines[*line].title);
    let values = stack.of.as_ref().map_or(&[][..], |(_, values)| values);
    let strength = values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let kept = curve.kept(row).map_or_else(String::new, |kept| kept.value.to_string());
    let own = [sweep.into(), strength, kept, is_worst(stack, row).to_string(), stack.front.to_string()];
    Some([table::csv_record(curve.report, row), own.into()].concat())
}

fn each<'c>(curve: &'c Curve<'_>) -> impl Iterator<Item = (&'c MeasuredStack<'c>, &'c Row)> {
    curve.stacks.iter().flat_map(|stack| stack.rows.iter().map(move |row| (stack, *row)))
}

fn is_worst(stack: &MeasuredStack<'_>, row: &Row) -> bool {
    stack.worst.adversary == row.adversary
}
