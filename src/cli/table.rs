//! A report as a person reads it, or a spreadsheet.

use std::fmt::Write;

use comfy_table::presets::{ASCII_MARKDOWN, UTF8_HORIZONTAL_ONLY};
use comfy_table::{Cell, CellAlignment, Table};
use embosk::evaluate::statistics::Score;
use embosk::evaluate::{Report, Row};

/// A defense's spec takes this much of a terminal's line, as long as it can be broken.
const DEFENSE_WIDTH: usize = 24;

/// A score, and how it is printed.
struct Column {
    heading: &'static str,
    /// Its name in the JSON.
    name: &'static str,
    /// How many decimals are worth printing.
    decimals: usize,
    score: fn(&Row) -> Option<Score>,
    /// Whether it is of the defense, whoever attacks it.
    of_defense: bool,
    /// Whether the table for the terminal has room for it.
    in_terminal: bool,
}

impl Column {
    const fn new(
        heading: &'static str,
        name: &'static str,
        decimals: usize,
        score: fn(&Row) -> Option<Score>,
    ) -> Self {
        Self { heading, name, decimals, score, of_defense: false, in_terminal: true }
    }

    const fn of_defense(self) -> Self {
        Self { of_defense: true, ..self }
    }

    const fn not_in_terminal(self) -> Self {
        Self { in_terminal: false, ..self }
    }
}

const COLUMNS: [Column; 13] = [
    Column::new("exact", "exact_match", 2, |row| row.attack.exact_match),
    Column::new("BLEU", "bleu", 1, |row| row.attack.bleu),
    Column::new("token F1", "token_f1", 2, |row| row.attack.token_f1),
    Column::new("ROUGE-L", "rouge_l", 2, |row| row.attack.rouge_l).not_in_terminal(),
    Column::new("entities", "entity_recall", 2, |row| row.attack.entity_recall),
    Column::new("cosine", "cosine", 2, |row| row.attack.cosine),
    Column::new("restored", "restored_cosine", 2, |row| row.restored_cosine).not_in_terminal(),
    Column::new("floor", "floor", 1, |row| row.floor).not_in_terminal(),
    Column::new("leak", "leak", 2, |row| row.leak),
    Column::new("nDCG@10", "ndcg_at_10", 3, |row| row.retrieval.ndcg_at_10).of_defense(),
    Column::new("recall@10", "recall_at_10", 3, |row| row.retrieval.recall_at_10)
        .of_defense()
        .not_in_terminal(),
    Column::new("MRR@10", "mrr_at_10", 3, |row| row.retrieval.mrr_at_10).of_defense().not_in_terminal(),
    Column::new("linkage", "linkage_recall_at_1", 3, |row| row.linkage).of_defense().not_in_terminal(),
];

/// For the terminal: a block for each defense, in it each score above its interval, and each adversary above
/// the map that they took.
pub(crate) fn terminal(report: &Report) -> String {
    let columns: Vec<&Column> = COLUMNS.iter().filter(|column| column.in_terminal).collect();
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(headings(&columns));
    for block in report.rows.chunk_by(|a, b| a.defense == b.defense) {
        let adversaries = block.iter().map(|row| format!("{}\n{}", row.adversary, short_map(row)));
        let scores = columns.iter().map(|column| {
            let rows = if column.of_defense { &block[..1] } else { block };
            let scores = rows.iter().map(|row| stacked((column.score)(row), column.decimals));
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
    let headings = headings(&COLUMNS.iter().collect::<Vec<_>>()).into_iter();
    table.load_style(ASCII_MARKDOWN).set_header(headings.chain([Cell::new("map")]));
    for row in &report.rows {
        let scores = COLUMNS.iter().map(|column| number(long((column.score)(row), column.decimals)));
        let defense = Cell::new(row.defense.replace('|', "\\|"));
        let map = [Cell::new(row.map.as_deref().unwrap_or("–"))];
        table.add_row([defense, Cell::new(&row.adversary)].into_iter().chain(scores).chain(map));
    }
    format!("{}\n\n{}", lines(&table), notes(report))
}

/// All scores, each with its interval's ends in columns of their own, and the signature. What was not
/// measured is empty.
pub(crate) fn csv(report: &Report) -> String {
    let signature = signature(report);
    let lines = report.rows.iter().map(|row| csv_line(row, &signature));
    std::iter::once(csv_head()).chain(lines).collect()
}

fn csv_head() -> String {
    let scores = COLUMNS.iter().map(|Column { name, .. }| format!("{name},{name}_low,{name}_high"));
    format!("defense,adversary,n,{},map,signature\n", scores.collect::<Vec<_>>().join(","))
}

fn csv_line(row: &Row, signature: &str) -> String {
    let scores = COLUMNS.iter().map(|column| match (column.score)(row) {
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

fn headings(columns: &[&Column]) -> Vec<Cell> {
    let scores = columns.iter().map(|column| number(column.heading.into()));
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
    if let (Some(floor), Some(ceiling)) = (report.floor, report.ceiling) {
        let bleu = |score: Option<Score>| long(score, 1);
        let _ = writeln!(
            text,
            "leak = (BLEU − floor) / (ceiling − floor); ceiling {} (undefended), floor {} (its outputs against unrelated \
             texts; each row has its own).",
            bleu(ceiling.bleu),
            bleu(floor.bleu)
        );
    }
    let _ = writeln!(text, "signature: {}", signature(report));
    if let Some(reason) = &report.reason {
        let _ = writeln!(text, "INCONCLUSIVE: {reason}.");
    }
    text
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
        let row = serde_json::json!({
            "defense": "gaussian(sigma=1, on=queries)", "adversary": "averaging(16, 768)", "n": 2,
            "map": "clouds, then ridge(identity, lambda=0.1)"
        });
        let line = csv_line(&serde_json::from_value(row).expect("a row"), "seed:0|metrics:\"a,b\"");
        let fields =
            |line: &str| line.split('"').step_by(2).map(|part| part.matches(',').count()).sum::<usize>();
        assert_eq!(fields(&line), fields(&csv_head()), "{line}");
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
