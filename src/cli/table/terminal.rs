//! A report in a terminal.

use std::ops::RangeBounds;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, Table};

use super::notes::{Signature, notes};
use super::{columns, fixed, lines, number};
use crate::evaluate::metrics::{Metric, Shown, Unit, built_in, in_column_order};
use crate::evaluate::statistics::Score;
use crate::evaluate::{DistinctRow, Report, Row};

/// The width of a defense's spec and of an adversary, as long as they can be broken.
const DEFENSE_WIDTH: usize = 22;
const ADVERSARY_WIDTH: usize = 17;

/// How a table is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Layout {
    // each score is above its interval, and each adversary above their map
    /// Scores with intervals, in 100 columns.
    #[value(name = "table")]
    Usual,
    /// Scores alone, in 80 columns.
    Compact,
}

impl Layout {
    pub(crate) fn width(self) -> usize {
        match self {
            Self::Usual => 100,
            Self::Compact => 80,
        }
    }
}

/// A block for each defense; in it, adversaries who did exactly the same are shown once. The metrics that there is
/// no room for are named below the table.
pub(crate) fn terminal(report: &Report, layout: Layout, signature: Signature) -> String {
    let mut shown = by_importance(report);
    let mut left_out = Vec::new();
    let table = loop {
        let of_order = in_column_order(&report.metrics);
        let table = drawn(report, &in_order(&of_order, &shown), layout);
        if shown.len() < 2 || width(&table) <= layout.width() {
            break table;
        }
        left_out.extend(shown.pop());
    };
    let left_out = match in_order(&in_column_order(&report.metrics), &left_out).as_slice() {
        [] => String::new(),
        metrics => {
            let names: Vec<&str> = metrics.iter().map(|metric| metric.heading.as_str()).collect();
            format!("Not shown: {}. Other formats have everything.\n", names.join(", "))
        }
    };
    format!(
        "{table}\n{}",
        wrapped(&(left_out + &notes(report, signature, layout != Layout::Compact)), layout.width())
    )
}

/// The metrics that were measured, those first that must be seen: retrieval, the leak that can be read and what it is
/// computed from, metrics of the program's own, and what other leaks are computed from.
fn by_importance(report: &Report) -> Vec<&Metric> {
    let leak = report.conclusive.first();
    let base_of = |leak: &Metric| leak.leaking().map(str::to_owned);
    let bases: Vec<String> = report.metrics.iter().filter_map(base_of).collect();
    let base = report.metrics.iter().find(|metric| Some(&metric.name) == leak).and_then(base_of);
    let is_own = |metric: &Metric| built_in().iter().all(|other| other.name != metric.name);
    let rank = |metric: &&Metric| match metric {
        metric if metric.is_retrieval() => 0,
        metric if Some(&metric.name) == leak => 1,
        metric if Some(&metric.name) == base.as_ref() => 2,
        metric if is_own(metric) => 3,
        metric if bases.contains(&metric.name) => 4,
        _ => 5,
    };
    let is_measured = |metric: &&Metric| report.rows.iter().any(|row| row.score(&metric.name).is_some());
    let mut metrics: Vec<&Metric> =
        columns(&report.metrics, Shown::Terminal).into_iter().filter(is_measured).collect();
    metrics.sort_by_key(rank);
    metrics
}

fn in_order<'a>(order: &[&'a Metric], metrics: &[&Metric]) -> Vec<&'a Metric> {
    order.iter().copied().filter(|metric| metrics.iter().any(|other| other.name == metric.name)).collect()
}

fn drawn(report: &Report, columns: &[&Metric], layout: Layout) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(super::headings(columns));
    for block in report.distinct_rows().chunk_by(|a, b| a.row.defense == b.row.defense) {
        let entry = |(place, of): (usize, &DistinctRow<'_>)| {
            // a score of the defense is the same whoever attacks
            let is_shown = |column: &Metric| place == 0 || column.unit() == Unit::Texts;
            let score = |column: &&Metric| {
                if is_shown(column) { score(of.row, column, layout) } else { String::new() }
            };
            std::iter::once(adversaries(of, layout)).chain(columns.iter().map(score)).collect()
        };
        let entries = block.iter().enumerate().map(entry).collect();
        add(&mut table, &broken(&block[0].row.defense, DEFENSE_WIDTH), entries, 1..);
        for row in report.key_stolen.iter().filter(|row| row.defense == block[0].row.defense) {
            let scores = columns.iter().map(|column| score(row, column, layout));
            add(&mut table, "", vec![std::iter::once(row.adversary.clone()).chain(scores).collect()], 1..);
        }
    }
    close_up(&mut table, 2);
    lines(&table)
}

/// Adds a defense with the cells of its entries, one below the other. The columns of numbers are on the right of
/// their cells.
pub(crate) fn add(
    table: &mut Table,
    defense: &str,
    entries: Vec<Vec<String>>,
    numbers: impl RangeBounds<usize>,
) {
    let entries: Vec<Vec<String>> = entries.into_iter().map(level).collect();
    let cell =
        |column: usize| entries.iter().map(|cells| cells[column].as_str()).collect::<Vec<_>>().join("\n");
    let cells = (0..entries.first().map_or(0, Vec::len))
        .map(|column| if numbers.contains(&column) { number(cell(column)) } else { Cell::new(cell(column)) });
    table.add_row(std::iter::once(Cell::new(defense)).chain(cells));
}

/// Gives cells the same number of lines.
fn level(cells: Vec<String>) -> Vec<String> {
    let lines = |cell: &String| cell.matches('\n').count();
    let most = cells.iter().map(lines).max().unwrap_or(0);
    let filled = |cell: String| {
        let missing = most - lines(&cell);
        cell + &"\n".repeat(missing)
    };
    cells.into_iter().map(filled).collect()
}

/// Leaves two spaces between columns, and none at the ends. The first `left` columns are on the left of their cells.
pub(crate) fn close_up(table: &mut Table, left: usize) {
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding(if at < left { (0, 1) } else { (1, 0) });
    }
}

/// The adversary, the map, and a line for each adversary who did the same.
fn adversaries(DistinctRow { row, same, .. }: &DistinctRow<'_>, layout: Layout) -> String {
    let map = if layout == Layout::Usual { short_map(row) } else { String::new() };
    let same = same.iter().map(|adversary| format!("= {adversary}"));
    let all = [row.adversary.clone(), map].into_iter().chain(same).filter(|line| !line.is_empty());
    all.map(|line| broken(&line, ADVERSARY_WIDTH)).collect::<Vec<_>>().join("\n")
}

/// The map without its numbers: ` clouds, then ridge`.
fn short_map(row: &Row) -> String {
    let Some(map) = &row.map else { return String::new() };
    let steps = map.split(", then ").map(|step| step.split('(').next().unwrap_or_default());
    format!(" {}", steps.collect::<Vec<_>>().join(", then "))
}

fn score(row: &Row, column: &Metric, layout: Layout) -> String {
    let score = row.score(&column.name);
    match layout {
        Layout::Usual => stacked(score, column.digits),
        Layout::Compact => score.map_or_else(|| "–".into(), |score| fixed(score.value, column.digits)),
    }
}

/// The value, and below it `[.77,.88]`. The ends of an interval of BLEU are whole numbers from 10 on.
fn stacked(score: Option<Score>, decimals: usize) -> String {
    let Some(Score { value, low, high }) = score else { return "–".into() };
    let whole = |end: f64| decimals == 1 && end >= 9.95;
    let [low, high] = [low, high].map(|end| end_of(end, if whole(end) { 0 } else { decimals }));
    format!("{}\n[{low},{high}]", fixed(value, decimals))
}

/// `.77`, `-.02`, `0` or `1`.
fn end_of(end: f64, decimals: usize) -> String {
    let text = fixed(end, decimals);
    let (sign, number) = text.strip_prefix('-').map_or(("", text.as_str()), |number| ("-", number));
    let short = match number.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole.to_owned(),
        Some(("0", fraction)) => format!(".{fraction}"),
        _ => number.to_owned(),
    };
    format!("{sign}{short}")
}

/// A spec or an adversary on as many lines as it needs, broken where a part, a name or a value ends.
pub(crate) fn broken(text: &str, width: usize) -> String {
    let mut lines = vec![String::new()];
    // a name and its value stay together where there is room for both
    let short = |piece: &str| piece.trim().chars().count() <= width;
    let pieces = text.split_inclusive(['(', ',', '|']);
    let pieces = pieces
        .flat_map(|piece| if short(piece) { vec![piece] } else { piece.split_inclusive('=').collect() });
    for piece in pieces {
        match lines.last_mut() {
            Some(line)
                if line.is_empty() || line.chars().count() + piece.trim_end().chars().count() <= width =>
            {
                line.push_str(piece);
            }
            _ => lines.push(piece.trim_start().to_owned()),
        }
    }
    lines.join("\n")
}

fn width(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

/// Breaks lines between words; what continues a line is indented further than it.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let mut wrapped = String::new();
    for line in text.lines() {
        let words = line.trim_start_matches(' ');
        let indent = line.len() - words.len();
        wrapped.push_str(&" ".repeat(indent));
        let mut length = indent;
        for (place, word) in words.split(' ').enumerate() {
            let needed = word.chars().count();
            if place > 0 && length + 1 + needed > width {
                wrapped.push('\n');
                length = indent + 2;
                wrapped.push_str(&" ".repeat(length));
            } else if place > 0 {
                wrapped.push(' ');
                length += 1;
            }
            wrapped.push_str(word);
            length += needed;
        }
        wrapped.push('\n');
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::table;

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
            assert_eq!(broken(spec, DEFENSE_WIDTH), expected);
        }
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
        let terminal = terminal(&report, Layout::Usual, Signature::Hash);
        let (markdown, csv) = (table::markdown(&report), table::csv(&report).expect("text"));
        assert_eq!(terminal.matches("71.0\n").count() + terminal.matches("71.0 ").count(), 1, "{terminal}");
        let place = |part: &str| terminal.find(part).expect("it is shown");
        assert!(
            place("naive") < place("informed(9)") && place("informed(9)") < place("= leaked(8)"),
            "{terminal}"
        );
        assert!(markdown.contains("| informed(9) = leaked(8) "), "{markdown}");
        assert_eq!(csv.lines().count(), 4, "files keep all");
    }

    #[test]
    fn a_map_is_short_in_a_terminal() {
        let short = |map: Option<&str>| {
            let row = serde_json::json!({ "defense": "none", "adversary": "naive", "n": 2, "map": map });
            short_map(&serde_json::from_value(row).expect("a row"))
        };
        assert_eq!(
            short(Some("unpaired(score=0.671 of 0.671), then ridge(identity, lambda=1)")),
            " unpaired, then ridge"
        );
        assert_eq!(short(Some("scaled procrustes")), " scaled procrustes");
        assert_eq!(short(None), "");
    }

    #[test]
    fn scores_are_short_but_not_wrong() {
        let stacked = |value, low, high, digits| stacked(Some(Score { value, low, high }), digits);
        assert_eq!(stacked(0.834, 0.771, 1.0, 2), "0.83\n[.77,1]");
        assert_eq!(stacked(-0.004, -0.02, 0.004, 2), "0.00\n[-.02,0]");
        assert_eq!(stacked(0.996, 0.996, 0.9949, 2), "1.00\n[1,.99]");
        assert_eq!(stacked(99.13, 98.06, 100.0, 1), "99.1\n[98,100]");
        assert_eq!(stacked(2.16, 1.94, 2.53, 1), "2.2\n[1.9,2.5]");
        assert_eq!(stacked(0.762, 0.7161, 0.8123, 3), "0.762\n[.716,.812]");
        assert_eq!(super::stacked(None, 2), "–");
    }

    /// Every usual adversary on stacks with long specs, where nearly everything is negative or whole.
    fn wide() -> Report {
        let score = |value: f64| serde_json::json!({ "value": value, "low": -0.04, "high": 0.994 });
        let row = |defense: &str, adversary: &str, value: f64| {
            serde_json::json!({
                "defense": defense, "adversary": adversary, "n": 50,
                "map": "unpaired(score=0.671 of 0.671), then ridge(identity, lambda=1)", "exact_match": score(value),
                "bleu": { "value": 97.3, "low": 9.1, "high": 99.7 }, "word_recall": score(value), "guess": score(value),
                "entity_recall": score(value), "leak": score(value), "word_leak": score(value),
                "guess_leak": score(value), "ndcg_at_10": score(value)
            })
        };
        let stack = "rotation(key=fingerprint:84375e6e, kind=hadamard) | gaussian(sigma=0.0125, on=documents) | \
                     rerank(candidates=200)";
        let adversaries = ["naive", "informed(10000)", "averaging(16, 768)", "retrained(leaked(768))"];
        let rows =
            adversaries.iter().zip(1..).map(|(name, number)| row(stack, name, 0.1 * f64::from(number)));
        let report = serde_json::json!({
            "signature": { "documents": 2000, "corpus": "records" },
            "rows": rows.collect::<Vec<_>>(), "ceiling": null, "floor": null, "conclusive": ["leak", "word_leak"],
            "reason": "this reason is so long that it takes more than a line in a terminal that has a hundred columns, or eighty"
        });
        Report::from_json(&report.to_string()).expect("a report")
    }

    #[test]
    fn nothing_is_wider_than_the_layout() {
        for (layout, most, shown) in [(Layout::Usual, 100, "leak"), (Layout::Compact, 80, "leak")] {
            let text = terminal(&wide(), layout, Signature::Hash);
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest.is_some_and(|widest| widest <= most && widest > most - 25), "{widest:?}: {text}");
            let head = text.lines().nth(1).expect("headings");
            for heading in [shown, "nDCG@10", "BLEU"] {
                assert!(head.contains(heading), "{text}");
            }
            assert!(!head.contains("exact") && text.contains("Not shown: exact, "), "{text}");
        }
    }

    #[test]
    fn the_signature_is_one_hash_unless_it_is_asked_for() {
        let [short, whole] =
            [Signature::Hash, Signature::Whole].map(|shown| terminal(&wide(), Layout::Usual, shown));
        let line = |text: &str| text.lines().find(|line| line.starts_with("signature: ")).map(str::to_owned);
        let hash = line(&short).expect("a signature");
        assert_eq!(hash.len(), "signature: ".len() + 12);
        assert_eq!(line(&whole), Some(format!("{hash} corpus:records|documents:2000")));
    }

    #[test]
    fn a_line_is_wrapped_between_words() {
        assert_eq!(wrapped("one two three\n  four five", 10), "one two\n  three\n  four\n    five\n");
        assert_eq!(wrapped("unbreakable", 4), "unbreakable\n");
    }
}
