mod entities;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use rayon::prelude::*;
use serde::Deserialize;

use self::entities::Entities;
use super::error::CliError;
use super::session::Session;
use super::terminal::print;
use super::{files, table};
use crate::evaluate::Metric;
use crate::evaluate::metrics::{Scores, TextPair, check, in_column_order};
use crate::evaluate::statistics::{Score, resampled};
use crate::evaluate::text::{self, BleuCounts, ChrfCounts, Order};
use crate::lines::{Field, Record, records};

/// Score recovered texts against the true ones.
///
/// Reads {"input", "output"} lines of any tool, such as `embosk invert`. Texts are compared as they are.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One JSON object per line, with the strings "input" (the true text) and "output".
    #[arg(long, value_name = "PAIRS.jsonl")]
    input: PathBuf,
    /// The facts in the texts: for each pair, a line {"input": [[start, end], …], "output": …} of offsets in
    /// characters. Adds entity recall and, if "output" is labelled too, entity precision.
    #[arg(long, value_name = "SPANS.jsonl")]
    entities: Option<PathBuf>,
    /// Compute BLEU of n-grams only up to a text's length, so that a text of fewer than four tokens may score above
    /// 0.
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

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    let metrics = metrics(session.names.metrics());
    check(&metrics)?;
    let pairs = read(&args.input)?;
    let order = if args.effective_order { Order::Effective } else { Order::Full };
    let entities = args.entities.as_deref().map(|path| entities::read(path, &pairs)).transpose()?;
    let spinner = session.terminal.spinner().with_message(format!("scoring {} pairs", pairs.len()));
    let scores = scores(&metrics, &Counted::new(&pairs, order, entities.as_deref()));
    spinner.finish_and_clear();
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&scores)? + "\n",
        Format::Table => table(&metrics, &scores, pairs.len()),
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

/// The metrics of an evaluation, and more that need only texts. Metrics that need vectors have no score here.
fn metrics(mut metrics: Vec<Metric>) -> Vec<Metric> {
    metrics.extend([
        Metric::mean("rouge_1", |pair| Some(text::rouge_1(pair.output, pair.truth)))
            .heading("ROUGE-1")
            .column_after("token_f1"),
        Metric::mean("chrf", |pair| Some(text::chrf(pair.output, pair.truth)))
            .heading("chrF++")
            .range(0.0, 100.0)
            .column_after("bleu"),
        Metric::mean("corpus_bleu", |_| None).heading("BLEU, corpus").range(0.0, 100.0).column_after("bleu"),
        Metric::mean("corpus_chrf", |_| None)
            .heading("chrF++, corpus")
            .range(0.0, 100.0)
            .column_after("chrf"),
        Metric::mean("entity_precision", |pair| text::entity_precision(pair.output_entities?, pair.truth))
            .heading("entity precision")
            .column_after("entity_recall"),
    ]);
    metrics
}

/// Scores all pairs by each metric. Metrics that score no pair are left out.
fn scores(metrics: &[Metric], counted: &Counted<'_>) -> Scores {
    let scores = metrics.iter().map(|metric| (metric.name.as_str(), counted.score(metric)));
    scores.filter(|(_, score)| score.is_some()).collect()
}

fn table(metrics: &[Metric], scores: &Scores, pairs: usize) -> String {
    let measured = in_column_order(metrics).into_iter().filter_map(|metric| {
        let score = scores.score(&metric.name)?;
        Some(format!("{:<18}{}\n", metric.title, table::long(Some(score), metric.fine_digits())))
    });
    format!("{}{pairs} pairs; in brackets the 95 % interval\n", measured.collect::<String>())
}

/// The pairs, and the counts behind BLEU and chrF++, which are shared with the scores of the whole corpus.
struct Counted<'a> {
    pairs: Vec<TextPair<'a>>,
    ngrams: Vec<BleuCounts>,
    letters: Vec<ChrfCounts>,
    order: Order,
}

impl<'a> Counted<'a> {
    fn new(pairs: &'a [Pair], order: Order, entities: Option<&'a [Entities<'a>]>) -> Self {
        let pair = |(at, pair): (usize, &'a Pair)| {
            let texts = TextPair::new(&pair.input, &pair.output);
            match entities.map(|entities| &entities[at]) {
                Some(labels) => texts.entities(&labels.input, labels.output.as_deref()),
                None => texts,
            }
        };
        Self {
            pairs: pairs.iter().enumerate().map(pair).collect(),
            ngrams: pairs.par_iter().map(|pair| BleuCounts::new(&pair.output, &pair.input)).collect(),
            letters: pairs.par_iter().map(|pair| ChrfCounts::new(&pair.output, &pair.input)).collect(),
            order,
        }
    }

    fn score(&self, metric: &Metric) -> Option<Score> {
        let Self { pairs, ngrams, letters, order } = self;
        match metric.name.as_str() {
            "corpus_bleu" => resampled(pairs.len(), 0, |sample| {
                sample.iter().map(|&pair| ngrams[pair]).sum::<BleuCounts>().score(*order)
            }),
            "corpus_chrf" => resampled(pairs.len(), 0, |sample| {
                sample.iter().map(|&pair| letters[pair]).sum::<ChrfCounts>().score()
            }),
            _ => metric.summary(&self.column(metric), 0),
        }
    }

    fn column(&self, metric: &Metric) -> Vec<Option<f64>> {
        match metric.name.as_str() {
            "bleu" => self.ngrams.iter().map(|counts| Some(counts.score(self.order))).collect(),
            "chrf" => self.letters.iter().map(|counts| Some(counts.score())).collect(),
            _ => self.pairs.par_iter().map(|pair| metric.of_pair(pair)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::metrics::built_in;

    #[test]
    fn a_metric_that_is_named_like_one_of_these_is_refused() {
        let with = |name: &str| check(&metrics([built_in(), &[Metric::mean(name, |_| None)]].concat()));
        assert!(with("digits").is_ok());
        for name in ["rouge_1", "chrf", "corpus_bleu", "bleu"] {
            let message = with(name).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(message.contains(&format!("two metrics `{name}`")), "{message}");
        }
    }
}
