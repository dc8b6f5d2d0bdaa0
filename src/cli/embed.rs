use std::path::PathBuf;
use std::process::ExitCode;

use ndarray::{Array2, s};

use super::error::CliError;
use super::loaded::Loaded;
use super::models::{self, Cache, Opening};
use super::protect::RoleName;
use super::service::ServiceOptions;
use super::session::Session;
use super::terminal::Terminal;
use super::{files, rehearsal};
use crate::embedder::embed_checked;
use crate::evaluate::corpus::read_texts;

/// How many texts go to the embedder together; it sorts them by length and spreads them over the cores.
const BATCH: usize = 1024;

/// Embed texts, one per line.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The embedder: `reference` (the shipped one), a sentence-transformers folder, a model on the Hugging Face hub
    /// (owner/model), or an address (http(s)://host[:port]/v1#model).
    #[arg(long, default_value = models::REFERENCE, value_name = "E")]
    embedder: String,
    /// Whether the texts are documents, which are searched, or queries.
    #[arg(long, value_enum, default_value_t = RoleName::Document)]
    role: RoleName,
    /// The texts, one per line; an empty line is an empty text.
    #[arg(long, value_name = "TEXTS.txt")]
    input: PathBuf,
    /// Where the vectors go: a matrix of float32, one vector per row.
    #[arg(long, value_name = "FILE.npy")]
    output: PathBuf,
    #[command(flatten)]
    cache: Cache,
    #[command(flatten)]
    address: ServiceOptions,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    files::check_output(&args.output)?;
    let texts = read_texts(&args.input)?;
    if texts.is_empty() {
        return Err(files::bad(&args.input, "it is empty; there is nothing to embed"));
    }
    args.address.check(&[&args.embedder])?;
    let opening = Opening { services: &args.address, cache: &args.cache, terminal: session.terminal };
    let embedder = opening.embedder(&args.embedder)?;
    let vectors = embed(&embedder, args.role.into(), &texts, session.terminal)?;
    if args.address.is_rehearsal() {
        rehearsal::tell(&embedder)?;
        return Ok(ExitCode::SUCCESS);
    }
    files::write_npy(&args.output, &vectors)?;
    Ok(ExitCode::SUCCESS)
}

/// All vectors, `[texts, dim]`, with progress.
pub(crate) fn embed(
    embedder: &Loaded,
    role: crate::Role,
    texts: &[String],
    terminal: Terminal,
) -> Result<Array2<f32>, CliError> {
    let bar = terminal.bar("embedding", texts.len());
    let mut vectors = Array2::zeros((texts.len(), embedder.dimension()));
    for (index, batch) in texts.chunks(BATCH).enumerate() {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        let rows = embed_checked(embedder, role, &batch)?;
        vectors.slice_mut(s![index * BATCH..index * BATCH + batch.len(), ..]).assign(&rows);
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    Ok(vectors)
}
