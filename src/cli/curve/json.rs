//! The curve for scripts and spreadsheets.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};

use super::points::{Curve, MeasuredStack};
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
pub(super) fn csv(curve: &Curve<'_>) -> String {
    let report = table::csv(curve.report);
    let mut lines = report.lines();
    let mut text = format!("{},sweep,strength,ndcg_kept,worst,front\n", lines.next().unwrap_or_default());
    for (line, row) in lines.zip(&curve.report.rows) {
        let Some(stack) = curve.stacks.iter().find(|stack| stack.defense == row.defense) else { continue };
        let sweep = stack.of.as_ref().map_or("", |(line, _)| &curve.lines[*line].title);
        let values = stack.of.as_ref().map_or(&[][..], |(_, values)| values);
        let strength = values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let kept = curve.kept(row).map_or_else(String::new, |kept| kept.value.to_string());
        let sweep = sweep.replace('"', "\"\"");
        let (worst, front) = (is_worst(stack, row), stack.front);
        let _ = writeln!(text, "{line},\"{sweep}\",{strength},{kept},{worst},{front}");
    }
    text
}

fn each<'c>(curve: &'c Curve<'_>) -> impl Iterator<Item = (&'c MeasuredStack<'c>, &'c Row)> {
    curve.stacks.iter().flat_map(|stack| stack.rows.iter().map(move |row| (stack, *row)))
}

fn is_worst(stack: &MeasuredStack<'_>, row: &Row) -> bool {
    stack.worst.adversary == row.adversary
}
