use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use embosk::evaluate::corpus::read_texts;
use embosk::evaluate::statistics::{Score, mean, proportion};
use embosk::evaluate::text;
use serde::{Deserialize, Serialize};

use super::{CliError, files, print, table};

/// Score recovered texts against the true ones.
///
/// Reads {"input", "output"} lines of any tool, `embosk invert` too. Texts are compared as they are.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One JSON object a line, with the strings "input" (the true text) and "output".
    #[arg(long, value_name = "PAIRS.jsonl")]
    input: PathBuf,
    /// How to print the scores.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[derive(Deserialize)]
struct Pair {
    input: String,
    output: String,
}

/// Each metric over all pairs.
#[derive(Serialize)]
struct Scores {
    exact_match: Score,
    bleu: Option<Score>,
    token_f1: Option<Score>,
    rouge_l: Option<Score>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let pairs = read(&args.input)?;
    let scores = Scores::of(&pairs);
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&scores)? + "\n",
        Format::Table => scores.table(pairs.len()),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<Vec<Pair>, CliError> {
    let pairs: Vec<Pair> = read_texts(path)?
        .iter()
        .zip(1..)
        .map(|(line, number)| parse(path, line, number))
        .collect::<Result<_, _>>()?;
    if pairs.is_empty() {
        return Err(files::bad(path, "it is empty; there is nothing to score"));
    }
    Ok(pairs)
}

/// serde's own message is not passed on: it may quote a text.
fn parse(path: &Path, line: &str, number: usize) -> Result<Pair, CliError> {
    serde_json::from_str(line).map_err(|_| {
        let message = r#"it is not a JSON object with the strings "input" and "output""#;
        CliError::new(format!("{}, line {number}: {message}", path.display()))
    })
}

impl Scores {
    fn of(pairs: &[Pair]) -> Self {
        let average = |metric: fn(&str, &str) -> f64| {
            mean(&pairs.iter().map(|pair| metric(&pair.output, &pair.input)).collect::<Vec<_>>(), 0)
        };
        let exact = pairs.iter().filter(|pair| text::exact_match(&pair.output, &pair.input)).count();
        Self {
            exact_match: proportion(exact, pairs.len()),
            bleu: average(text::bleu),
            token_f1: average(text::token_f1),
            rouge_l: average(text::rouge_l),
        }
    }

    fn table(&self, pairs: usize) -> String {
        let rows = [
            ("exact match", table::long(Some(self.exact_match), 3)),
            ("BLEU", table::long(self.bleu, 1)),
            ("token F1", table::long(self.token_f1, 3)),
            ("ROUGE-L", table::long(self.rouge_l, 3)),
        ];
        let lines = rows.map(|(name, score)| format!("{name:<12}{score}"));
        format!("{}\n{pairs} pairs; in brackets the 95 % interval\n", lines.join("\n"))
    }
}
