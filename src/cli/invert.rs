use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use ndarray::{Array2, Axis};
use serde_json::json;

use super::error::CliError;
use super::models::{self, Search};
use super::session::Session;
use super::terminal::{Terminal, print, warn};
use super::{embed, files};
use crate::Role;
use crate::attacks::vec2text::Vec2Text;
use crate::attacks::{Attack, Inversion, Resources};
use crate::embedder::{OracleOf, SentenceTransformer};
use crate::evaluate::corpus::read_texts;
use crate::models::linear::Precision;
use crate::models::threads::threads;

/// Vectors that are attacked together, and then printed.
const BATCH: usize = 64;
/// Mebibytes that `--batch-size auto` stays within.
const BOUND: usize = 1024;

/// Turn vectors back into text with vec2text.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub(crate) struct Args {
    /// An inverter's folder, its name on the hub (owner/model), or the name of a shipped pair: reference or
    /// minilm. Without it: the shipped pair that was trained on the embedder, else minilm.
    #[arg(long, value_name = "DIR")]
    inverter: Option<String>,
    /// A corrector's folder, its name on the hub, or the name of a shipped one. A shipped inverter brings its own.
    #[arg(long, requires = "inverter", value_name = "DIR")]
    corrector: Option<String>,
    /// The embedder that the vectors are from: a sentence-transformers folder, its name on the hub, or the one
    /// that is shipped.
    #[arg(long, default_value = models::REFERENCE, value_name = "E")]
    embedder: String,
    /// Texts to embed and recover, one a line.
    #[arg(long, group = "source", value_name = "TEXTS.txt")]
    input: Option<PathBuf>,
    /// Vectors to recover texts from: a matrix of float32, one a row.
    #[arg(long, group = "source", value_name = "FILE.npy")]
    vectors: Option<PathBuf>,
    #[command(flatten)]
    search: Search,
    /// The loop of the paper: every step is run, the last one counts, no local search. The embedder
    /// reads as many tokens of a text as the inverter's `max_seq_length` says.
    #[arg(long)]
    paper: bool,
    /// Hypotheses that each thread decodes together; or auto:MIB, as many as stay within so much memory
    /// beside the weights; auto is auto:1024.
    #[arg(long, value_name = "N|auto[:MIB]", default_value = "16", value_parser = batch_size)]
    batch_size: BatchSize,
    /// How the models' weights are held: f32, bf16 (half the memory) or q8 (a quarter; 8 bits, with a scale
    /// for 32 values).
    #[arg(long, default_value = "f32", value_name = "f32|bf16|q8")]
    weights: Precision,
    /// One JSON object a text, or the recovered texts alone.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Jsonl,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BatchSize {
    Hypotheses(usize),
    Mebibytes(usize),
}

fn batch_size(text: &str) -> Result<BatchSize, &'static str> {
    let number = |text: &str| text.parse().ok().filter(|number| (1..=1 << 20).contains(number));
    let size = match (text, text.strip_prefix("auto:")) {
        ("auto", _) => Some(BatchSize::Mebibytes(BOUND)),
        (_, Some(size)) => number(size).map(BatchSize::Mebibytes),
        _ => number(text).map(BatchSize::Hypotheses),
    };
    size.ok_or("a batch size is a whole number above 0, auto, or auto:MIB, such as auto:2000")
}

/// The batch size that stays within so much memory. Where none does, that is said.
fn within(attack: Vec2Text, mebibytes: usize) -> Vec2Text {
    let least = (attack.batch_memory() * threads()).div_ceil(1 << 20);
    if least > mebibytes {
        warn(&format!(
            "warning: even batches of one hypothesis may take {least} MiB on all threads, more than the \
             {mebibytes} MiB of --batch-size; a narrower --beam-width takes less"
        ));
    }
    attack.batch_size_within(mebibytes << 20)
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    let terminal = session.terminal;
    let texts = args.input.as_ref().map(read_texts).transpose()?;
    if let (Some(path), Some([])) = (&args.input, texts.as_deref()) {
        return Err(files::bad(path, "it is empty; there is nothing to invert"));
    }
    let vectors = args.vectors.as_deref().map(files::read_npy).transpose()?;
    if let (Some(path), Some(0)) = (&args.vectors, vectors.as_ref().map(Array2::nrows)) {
        return Err(files::bad(path, "it has no rows; there is nothing to invert"));
    }
    if let (Some(path), Some(vectors)) = (&args.vectors, &vectors) {
        check(vectors).map_err(|error| files::bad(path, error))?;
    }
    let (attack, embedder) = load(args, terminal)?;
    let attack = args.search.apply(attack).paper(args.paper).precision(args.weights)?;
    let attack = match args.batch_size {
        BatchSize::Hypotheses(count) => attack.batch_size(count),
        BatchSize::Mebibytes(size) => within(attack, size),
    };
    models::fit(&attack, &embedder)?;
    let embedder = if args.paper { embedder.max_length(attack.max_length())? } else { embedder };
    let vectors = match (vectors, &texts) {
        (Some(vectors), _) if embedder.is_normalized() => scaled(vectors, terminal),
        (Some(vectors), _) => vectors,
        (None, texts) => {
            embed::embed(&embedder, Role::Document, texts.as_deref().unwrap_or_default(), terminal)?
        }
    };
    invert(args.format, &attack, &embedder, texts.as_deref(), &vectors, terminal)
}

/// Refuses vectors that no text can have.
fn check(vectors: &Array2<f32>) -> Result<(), String> {
    crate::defenses::check_finite(vectors).map_err(|error| error.to_string())?;
    match vectors.rows().into_iter().position(|row| row.iter().all(|&value| value == 0.0)) {
        Some(row) => {
            Err(format!("row {row} is zero, so it has no direction to find a text by; leave the row out"))
        }
        None => Ok(()),
    }
}

/// Brings vectors to norm 1, as those of the embedder are: at another length the models would read them as
/// another direction. Rows that have norm 1 but for rounding stay bit for bit.
fn scaled(mut vectors: Array2<f32>, terminal: Terminal) -> Array2<f32> {
    let mut count = 0;
    for mut row in vectors.rows_mut() {
        let norm = row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        if (norm - 1.0).abs() > 1e-5 {
            row.mapv_inplace(|value| (f64::from(value) / norm) as f32);
            count += 1;
        }
    }
    if count > 0 {
        let rows = vectors.nrows();
        terminal.remark(&format!(
            "{count} of {rows} vectors were scaled to norm 1, which the embedder's vectors have"
        ));
    }
    vectors
}

fn load(args: &Args, terminal: Terminal) -> Result<(Vec2Text, SentenceTransformer), CliError> {
    let named =
        args.inverter.as_deref().map(|inverter| models::pair(inverter, args.corrector.as_deref(), terminal));
    let named = named.transpose()?;
    let embedder = models::embedder(&args.embedder, terminal)?;
    let attack = named.map_or_else(|| models::attack(models::usual_attack(&embedder), terminal), Ok)?;
    Ok((attack, embedder))
}

/// Prints batch by batch, and ends early when nobody reads any more.
fn invert(
    format: Format,
    attack: &Vec2Text,
    embedder: &SentenceTransformer,
    texts: Option<&[String]>,
    vectors: &Array2<f32>,
    terminal: Terminal,
) -> Result<ExitCode, CliError> {
    let bar = terminal.bar("inverting", vectors.nrows());
    let oracle = OracleOf(embedder);
    let (mut helped, mut gain) = (0, 0.0);
    for (index, batch) in vectors.axis_chunks_iter(Axis(0), BATCH).enumerate() {
        let inversions = attack.invert(batch, &Resources::new(&oracle))?;
        let text = |row: usize| texts.map(|texts| texts[index * BATCH + row].as_str());
        let lines: String =
            inversions.iter().enumerate().map(|(row, found)| line(format, text(row), found)).collect();
        helped += inversions.iter().filter(|found| found.local_gain > 0.0).count();
        gain += inversions.iter().map(|found| found.local_gain).sum::<f32>();
        bar.inc(inversions.len() as u64);
        if !bar.suspend(|| print(&lines))? {
            break;
        }
    }
    bar.finish_and_clear();
    if helped > 0 {
        let mean = gain / vectors.nrows() as f32;
        let texts = vectors.nrows();
        terminal.remark(&format!(
            "the local search brought {helped} of {texts} texts nearer; mean gain in cosine {mean:.4}"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn line(format: Format, input: Option<&str>, found: &Inversion) -> String {
    let Inversion { steps, output, cosine, queries, local_gain } = found;
    match format {
        Format::Jsonl => {
            let object = json!({
                "input": input, "steps": steps, "output": output, "cosine": cosine, "queries": queries,
                "local_gain": local_gain,
            });
            format!("{object}\n")
        }
        Format::Text => format!("{}\n", output.replace(['\n', '\r'], " ")),
    }
}
