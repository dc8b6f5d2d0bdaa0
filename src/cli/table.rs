//! A report as a person reads it, or a spreadsheet.

use std::fmt::Write;

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_HORIZONTAL_ONLY};
use comfy_table::{Cell, CellAlignment, Table};

use crate::evaluate::metrics::{Metric, Scores, Shown, Unit, in_column_order};
use crate::evaluate::statistics::Score;
use crate::evaluate::{Report, Row};

/// A defense's spec takes this much of a terminal's line, as long as it can be broken.
const DEFENSE_WIDTH: usize = 24;

/// For the terminal: a block for each defense, in it each score above its interval, and each adversary above
/// the map that they took.
pub(crate) fn terminal(report: &Report) -> String {
    let columns = columns(&report.metrics, Shown::Terminal);
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(headings(&columns));
    for block in report.rows.chunk_by(|a, b| a.defense == b.defense) {
        let adversaries = block.iter().map(|row| format!("{}\n{}", row.adversary, short_map(row)));
        let scores = columns.iter().map(|column| {
            // a score of the defense is the same whoever attacks
            let rows = if column.unit() == Unit::Texts { block } else { &block[..1] };
            let scores = rows.iter().map(|row| stacked(row.score(&column.name), column.digits));
            number(scores.collect::<Vec<_>>().join("\n"))
        });
        let names =
            [Cell::new(broken(&block[0].defense)), Cell::new(adversaries.collect::<Vec<_>>().join("\n"))];
        table.add_row(names.into_iter().chain(scores));
    }
    format!("{}\n{}", lines(&table), notes(report))
}

/// All scores, for a document.
pub(crate) fn markdown(report: &Report) -> String {
    let mut table = Table::new();
    let columns = columns(&report.metrics, Shown::Files);
    let headings = headings(&columns).into_iter();
    table.load_style(ASCII_MARKDOWN).set_header(headings.chain([Cell::new("map")]));
    for row in &report.rows {
        let scores = columns.iter().map(|column| number(long(row.score(&column.name), column.digits)));
        let defense = Cell::new(row.defense.replace('|', "\\|"));
        let map = [Cell::new(row.map.as_deref().unwrap_or("–"))];
        table.add_row([defense, Cell::new(&row.adversary)].into_iter().chain(scores).chain(map));
    }
    format!("{}\n\n{}", lines(&table), notes(report))
}

/// All scores, each with its interval's ends in columns of their own, and the signature. What was not
/// measured is empty.
pub(crate) fn csv(report: &Report) -> String {
    let (columns, signature) = (columns(&report.metrics, Shown::Files), signature(report));
    let lines = report.rows.iter().map(|row| csv_line(&columns, row, &signature));
    std::iter::once(csv_head(&columns)).chain(lines).collect()
}

/// The metrics that a place shows, in the order of their columns.
pub(crate) fn columns(metrics: &[Metric], place: Shown) -> Vec<&Metric> {
    in_column_order(metrics).into_iter().filter(|metric| metric.is_shown(place)).collect()
}

fn csv_head(columns: &[&Metric]) -> String {
    let scores = columns.iter().map(|Metric { name, .. }| format!("{name},{name}_low,{name}_high"));
    format!("defense,adversary,n,{},map,signature\n", scores.collect::<Vec<_>>().join(","))
}

fn csv_line(columns: &[&Metric], row: &Row, signature: &str) -> String {
    let scores = columns.iter().map(|column| match row.score(&column.name) {
        Some(Score { value, low, high }) => format!(",{value},{low},{high}"),
        None => ",,,".into(),
    });
    // a spec and `averaging(16, 768)` hold commas
    let quoted = |text: &str| text.replace('"', "\"\"");
    let map = row.map.as_deref().unwrap_or_default();
    let [defense, adversary, map, signature] =
        [row.defense.as_str(), &row.adversary, map, signature].map(quoted);
    let scores: String = scores.collect();
    format!("\"{defense}\",\"{adversary}\",{}{scores},\"{map}\",\"{signature}\"\n", row.n)
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

/// With so many decimals, and no `-0.00`.
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
    if let (Some(floor), Some(ceiling)) = (&report.floor, &report.ceiling) {
        for leak in report.metrics.iter().filter(|metric| metric.is_shown(Shown::Line)) {
            text += &leak_note(leak, &report.metrics, floor, ceiling);
        }
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

/// Explains how a leak is computed; empty for other metrics.
fn leak_note(leak: &Metric, metrics: &[Metric], floor: &Scores, ceiling: &Scores) -> String {
    let Some(base) = leak.leaking() else { return String::new() };
    let Some(base) = metrics.iter().find(|metric| metric.name == base) else { return String::new() };
    let [floor, ceiling] = [floor, ceiling].map(|scores| long(scores.score(&base.name), base.digits));
    format!(
        "{} = ({} − floor) / (ceiling − floor); ceiling {ceiling} (undefended), floor {floor} (its outputs against \
         unrelated texts; each row has its own).\n",
        leak.heading, base.heading
    )
}

/// The settings in one line, hashes shortened. The JSON has them whole, and the metrics' rules.
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
    use crate::evaluate::metrics::built_in;

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
    fn a_line_of_csv_has_as_many_fields_as_its_head() {
        let columns = columns(built_in(), Shown::Files);
        let row = serde_json::json!({
            "defense": "gaussian(sigma=1, on=queries)", "adversary": "averaging(16, 768)", "n": 2,
            "map": "clouds, then ridge(identity, lambda=0.1)"
        });
        let line = csv_line(&columns, &serde_json::from_value(row).expect("a row"), "seed:0|metrics:\"a,b\"");
        let fields =
            |line: &str| line.split('"').step_by(2).map(|part| part.matches(',').count()).sum::<usize>();
        assert_eq!(fields(&line), fields(&csv_head(&columns)), "{line}");
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
