//! Stores texts from files in one SQLite file, and finds them again by questions.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use embosk::{Embedder, Key, embedder};
use embosk_rag::{Access, Collection, Document, Error, HITS, Settings, SqliteStore};

/// Store texts in one SQLite file that holds neither text nor exact vector, and find them by questions.
#[derive(Debug, Parser)]
#[command(name = "embosk-rag", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Store a file, or the .txt and .md files of a folder. Files that are stored already are left as they are.
    Ingest {
        #[command(flatten)]
        database: Database,
        /// The file or folder.
        path: PathBuf,
    },
    /// Find the chunks that answer a question best.
    Ask {
        #[command(flatten)]
        database: Database,
        /// The question.
        question: String,
        /// How many chunks to show.
        #[arg(short, value_name = "HITS", default_value_t = HITS)]
        k: usize,
    },
}

#[derive(Debug, Args)]
struct Database {
    /// The file of SQLite.
    #[arg(long = "database", value_name = "FILE")]
    file: PathBuf,
    /// The file of the key; `embosk keygen --output FILE` makes one.
    #[arg(long, value_name = "FILE", required_unless_present = "plain", conflicts_with = "plain")]
    key: Option<PathBuf>,
    /// Protect nothing, to compare with.
    #[arg(long)]
    plain: bool,
    /// How many coordinates the store searches; fixed at the first ingestion.
    #[arg(long, value_name = "N", default_value_t = Settings::default().dims)]
    dims: usize,
    /// The standard deviation of the noise on each of them.
    #[arg(long, value_name = "SIGMA", default_value_t = Settings::default().sigma)]
    sigma: f64,
    /// How many rows are opened for each question.
    #[arg(long, value_name = "N", default_value_t = Settings::default().candidates)]
    candidates: usize,
}

impl Database {
    fn access(&self) -> Result<Access, Error> {
        let settings = Settings { dims: self.dims, sigma: self.sigma, candidates: self.candidates };
        match &self.key {
            Some(file) => Ok(Access::Protected { key: Key::from_file(file)?, settings }),
            None => Ok(Access::Plain),
        }
    }
}

fn main() -> ExitCode {
    let verb = Arguments::parse().verb;
    let (Verb::Ingest { database, .. } | Verb::Ask { database, .. }) = &verb;
    match run(&verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("embosk-rag: {}: {error}", database.file.display());
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Result<(), Error> {
    match verb {
        Verb::Ingest { database, path } => {
            let (access, documents) = (database.access()?, Document::read(path)?);
            let store = SqliteStore::open_or_create(&database.file)?;
            let (_, done) = Collection::ingest(store, reference()?, &access, &documents)?;
            println!(
                "{} files added, {} replaced, {} unchanged; {} chunks stored",
                done.added, done.replaced, done.unchanged, done.chunks
            );
        }
        Verb::Ask { database, question, k } => {
            let access = database.access()?;
            let collection = Collection::open(SqliteStore::open(&database.file)?, reference()?, &access)?;
            for (rank, hit) in collection.ask(question, *k)?.iter().enumerate() {
                println!("{}. {:.3}  {}", rank + 1, hit.score, *hit.name);
                println!("{}\n", *hit.text);
            }
        }
    }
    Ok(())
}

fn reference() -> Result<Arc<dyn Embedder>, Error> {
    Ok(Arc::new(embedder::reference()?))
}
