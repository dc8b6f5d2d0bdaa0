mod entities;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use embosk::evaluate::statistics::{Score, mean, proportion, resampled};
use embosk::evaluate::text::{self, BleuCounts, ChrfCounts, Order};
use embosk::lines::{Field, Record, records};
use entities::Entities;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{CliError, files, print, progress, table};

/// Score recovered texts against the true ones.
///
/// Reads {"input", "output"} lines of any tool, `embosk invert` too. Texts are compared as they are.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One JSON object a line, with the strings "input" (the true text) and "output".
    #[arg(long, value_name = "PAIRS.jsonl")]
    input: PathBuf,
    /// What is personal in the texts: for each pair a line {"input": [[start, end], …], "output": …} of
    /// offsets in characters. Adds entity recall and, where "output" is labelled too, entity precision.
    #[arg(long, value_name = "SPANS.jsonl")]
    entities: Option<PathBuf>,
    /// BLEU of n-grams only up to a text's length, so that a text of less than four tokens may score above 0.
    #[arg(long)]
    effective_order: bool,
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

impl Record for Pair {
    const FIELDS: &'static [Field] = &[Field::text("input"), Field::text("output")];
}

/// Each metric over all pairs.
#[derive(Serialize)]
struct Scores {
    exact_match: Score,
    bleu: Option<Score>,
    token_f1: Option<Score>,
    rouge_l: Option<Score>,
    rouge_1: Option<Score>,
    chrf: Option<Score>,
    corpus_bleu: Option<Score>,
    corpus_chrf: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_recall: Option<Score>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_precision: Option<Score>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let pairs = read(&args.input)?;
    let order = if args.effective_order { Order::Effective } else { Order::Full };
    let entities = args.entities.as_deref().map(|path| entities::read(path, &pairs)).transpose()?;
    let spinner = progress::spinner().with_message(format!("scoring {} pairs", pairs.len()));
    let scores = Scores::of(&pairs, order, entities.as_deref());
    spinner.finish_and_clear();
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&scores)? + "\n",
        Format::Table => scores.table(pairs.len()),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<Vec<Pair>, CliError> {
    let pairs = records(path)?.collect::<Result<Vec<Pair>, _>>()?;
    if pairs.is_empty() {
        return Err(files::bad(path, "it is empty; there is nothing to score"));
    }
    Ok(pairs)
}

impl Scores {
    fn of(pairs: &[Pair], order: Order, entities: Option<&[Entities<'_>]>) -> Self {
        let each = |metric: fn(&str, &str) -> f64| {
            mean(&pairs.par_iter().map(|pair| metric(&pair.output, &pair.input)).collect::<Vec<_>>(), 0)
        };
        let exact = pairs.iter().filter(|pair| text::exact_match(&pair.output, &pair.input)).count();
        let ngrams: Vec<BleuCounts> =
            pairs.par_iter().map(|pair| BleuCounts::new(&pair.output, &pair.input)).collect();
        let letters: Vec<ChrfCounts> =
            pairs.par_iter().map(|pair| ChrfCounts::new(&pair.output, &pair.input)).collect();
        let per_pair = |scores: Vec<f64>| mean(&scores, 0);
        Self {
            exact_match: proportion(exact, pairs.len()),
            bleu: per_pair(ngrams.iter().map(|counts| counts.score(order)).collect()),
            token_f1: each(text::token_f1),
            rouge_l: each(text::rouge_l),
            rouge_1: each(text::rouge_1),
            chrf: per_pair(letters.iter().map(ChrfCounts::score).collect()),
            corpus_bleu: resampled(pairs.len(), 0, |sample| {
                sample.iter().map(|&pair| ngrams[pair]).sum::<BleuCounts>().score(order)
            }),
            corpus_chrf: resampled(pairs.len(), 0, |sample| {
                sample.iter().map(|&pair| letters[pair]).sum::<ChrfCounts>().score()
            }),
            entity_recall: entities.and_then(|entities| recall(pairs, entities)),
            entity_precision: entities.and_then(|entities| precision(pairs, entities)),
        }
    }

    fn table(&self, pairs: usize) -> String {
        let rows = [
            ("exact match", Some(self.exact_match), 3),
            ("BLEU", self.bleu, 1),
            ("BLEU, corpus", self.corpus_bleu, 1),
            ("chrF++", self.chrf, 1),
            ("chrF++, corpus", self.corpus_chrf, 1),
            ("token F1", self.token_f1, 3),
            ("ROUGE-1", self.rouge_1, 3),
            ("ROUGE-L", self.rouge_l, 3),
            ("entity recall", self.entity_recall, 3),
            ("entity precision", self.entity_precision, 3),
        ];
        let measured = rows.iter().filter(|(name, score, _)| score.is_some() || !name.starts_with("entity"));
        let lines: Vec<String> = measured
            .map(|&(name, score, digits)| format!("{name:<18}{}", table::long(score, digits)))
            .collect();
        format!("{}\n{pairs} pairs; in brackets the 95 % interval\n", lines.join("\n"))
    }
}

/// Over the pairs whose true text holds an entity.
fn recall(pairs: &[Pair], entities: &[Entities<'_>]) -> Option<Score> {
    let found = pairs.iter().zip(entities);
    let found = found.filter_map(|(pair, entities)| text::entity_recall(&pair.output, &entities.input));
    mean(&found.collect::<Vec<_>>(), 0)
}

/// Over the pairs whose recovered text holds an entity.
fn precision(pairs: &[Pair], entities: &[Entities<'_>]) -> Option<Score> {
    let right = pairs.iter().zip(entities);
    let right =
        right.filter_map(|(pair, entities)| text::entity_precision(entities.output.as_deref()?, &pair.input));
    mean(&right.collect::<Vec<_>>(), 0)
}
