use std::path::PathBuf;
use std::process::ExitCode;

use ndarray::{Array2, s};

use super::error::CliError;
use super::protect::RoleName;
use super::session::Session;
use super::terminal::Terminal;
use super::{files, models};
use crate::embedder::SentenceTransformer;
use crate::evaluate::corpus::read_texts;
use crate::{Embedder, Error};

/// Texts that go to the embedder together; it sorts them by length and spreads them over the cores.
const BATCH: usize = 1024;

/// Embed texts, one a line.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A sentence-transformers folder, its name on the hub, or the embedder that is shipped.
    #[arg(long, default_value = models::REFERENCE, value_name = "E")]
    embedder: String,
    /// Whether the texts are stored and searched, or search.
    #[arg(long, value_enum, default_value_t = RoleName::Document)]
    role: RoleName,
    /// The texts, one a line; an empty line is an empty text.
    #[arg(long, value_name = "TEXTS.txt")]
    input: PathBuf,
    /// Where the vectors go: a matrix of float32, one a row.
    #[arg(long, value_name = "FILE.npy")]
    output: PathBuf,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    files::check_output(&args.output)?;
    let texts = read_texts(&args.input)?;
    if texts.is_empty() {
        return Err(files::bad(&args.input, "it is empty; there is nothing to embed"));
    }
    let embedder = models::embedder(&args.embedder, session.terminal)?;
    files::write_npy(&args.output, &embed(&embedder, args.role.into(), &texts, session.terminal)?)?;
    Ok(ExitCode::SUCCESS)
}

/// All vectors, `[texts, dim]`, with progress.
pub(crate) fn embed(
    embedder: &SentenceTransformer,
    role: crate::Role,
    texts: &[String],
    terminal: Terminal,
) -> Result<Array2<f32>, CliError> {
    let bar = terminal.bar("embedding", texts.len());
    let mut vectors = Array2::zeros((texts.len(), embedder.dimension()));
    for (index, batch) in texts.chunks(BATCH).enumerate() {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        let rows = embedder.embed(role, &batch).map_err(Error::Embedder)?;
        vectors.slice_mut(s![index * BATCH..index * BATCH + batch.len(), ..]).assign(&rows);
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    Ok(vectors)
}
