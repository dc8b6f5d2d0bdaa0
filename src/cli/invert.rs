use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use embosk::Embedder;
use embosk::attacks::vec2text::Vec2Text;
use embosk::attacks::{Attack, Inversion};
use embosk::embedder::SentenceTransformer;
use embosk::evaluate::corpus::read_texts;
use ndarray::{Array2, Axis};
use serde_json::json;

use super::models::{self, Search};
use super::{CliError, embed, files, print, progress};

/// Vectors that are attacked together, and then printed.
const BATCH: usize = 64;

/// Turn vectors back into text with vec2text.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub(crate) struct Args {
    /// An inverter's folder, its name on the hub (owner/model), or the name of a shipped pair: minilm.
    #[arg(long, value_name = "DIR")]
    inverter: String,
    /// A corrector's folder, its name on the hub, or the name of a shipped one. A shipped inverter brings its own.
    #[arg(long, value_name = "DIR")]
    corrector: Option<String>,
    /// The embedder that the vectors are from: a sentence-transformers folder, or its name on the hub.
    #[arg(long, value_name = "E")]
    embedder: String,
    /// Texts to embed and recover, one a line.
    #[arg(long, group = "source", value_name = "TEXTS.txt")]
    input: Option<PathBuf>,
    /// Vectors to recover texts from: a matrix of float32, one a row.
    #[arg(long, group = "source", value_name = "FILE.npy")]
    vectors: Option<PathBuf>,
    #[command(flatten)]
    search: Search,
    /// The loop of the paper: every step is run, the last one counts, no local search.
    #[arg(long)]
    paper: bool,
    /// One JSON object a text, or the recovered texts alone.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Jsonl,
    Text,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let texts = args.input.as_ref().map(read_texts).transpose()?;
    if let (Some(path), Some([])) = (&args.input, texts.as_deref()) {
        return Err(files::bad(path, "it is empty; there is nothing to invert"));
    }
    let vectors = args.vectors.as_deref().map(files::read_npy).transpose()?;
    if let (Some(path), Some(0)) = (&args.vectors, vectors.as_ref().map(Array2::nrows)) {
        return Err(files::bad(path, "it has no rows; there is nothing to invert"));
    }
    if let (Some(path), Some(vectors)) = (&args.vectors, &vectors) {
        embosk::defenses::check_finite(vectors).map_err(|error| files::bad(path, error))?;
    }
    let attack = models::pair(&args.inverter, args.corrector.as_deref())?;
    let attack = args.search.apply(attack).paper(args.paper);
    let embedder = models::embedder(&args.embedder)?;
    models::fit(&attack, &embedder)?;
    let vectors = match (vectors, &texts) {
        (Some(vectors), _) => vectors,
        (None, texts) => embed::embed(&embedder, texts.as_deref().unwrap_or_default())?,
    };
    invert(args.format, &attack, &embedder, texts.as_deref(), &vectors)
}

/// Prints batch by batch, and ends early when nobody reads any more.
fn invert(
    format: Format,
    attack: &Vec2Text,
    embedder: &SentenceTransformer,
    texts: Option<&[String]>,
    vectors: &Array2<f32>,
) -> Result<ExitCode, CliError> {
    let bar = progress::bar("inverting", vectors.nrows());
    for (index, batch) in vectors.axis_chunks_iter(Axis(0), BATCH).enumerate() {
        let inversions = attack.invert(batch, &|texts| embedder.embed(texts))?;
        let text = |row: usize| texts.map(|texts| texts[index * BATCH + row].as_str());
        let lines: String =
            inversions.iter().enumerate().map(|(row, found)| line(format, text(row), found)).collect();
        bar.inc(inversions.len() as u64);
        if !bar.suspend(|| print(&lines))? {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(ExitCode::SUCCESS)
}

fn line(format: Format, input: Option<&str>, found: &Inversion) -> String {
    let Inversion { steps, output, cosine, queries } = found;
    match format {
        Format::Jsonl => {
            let object = json!({
                "input": input, "steps": steps, "output": output, "cosine": cosine, "queries": queries,
            });
            format!("{object}\n")
        }
        Format::Text => format!("{}\n", output.replace(['\n', '\r'], " ")),
    }
}
