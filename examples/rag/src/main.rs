//! Stores texts from files in SQLite or PostgreSQL, and finds them again by questions.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use embosk::{Embedder, Key, embedder};
use embosk_rag::store::{Index, Numbers, Store};
use embosk_rag::{Access, Coarse, Collection, Document, Error, HITS, PostgresStore, Settings, SqliteStore};

/// How many files a step of a move takes.
const FILES_AT_ONCE: usize = 100;

/// Store texts in a database that holds neither text nor exact vector, and find them by questions.
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
        database: Opening,
        /// The file or folder.
        path: PathBuf,
    },
    /// Find the chunks that answer a question best.
    Ask {
        #[command(flatten)]
        database: Opening,
        /// The question.
        question: String,
        /// How many chunks to show.
        #[arg(short, value_name = "HITS", default_value_t = HITS)]
        k: usize,
    },
    /// Move a collection to another key, or from --plain to a key. What was interrupted continues.
    Rekey {
        #[command(flatten)]
        database: Opening,
    },
}

#[derive(Debug, Clone, Args)]
struct Opening {
    /// The file of SQLite, or the address of a PostgreSQL database: postgres://user@localhost/name. env:NAME stands for
    /// the content of a variable: an address with a password is taken from there alone.
    #[arg(long, value_name = "FILE|URL|env:NAME")]
    database: String,
    /// The file of the key; `embosk keygen --output FILE` makes one.
    #[arg(long, value_name = "FILE", required_unless_present = "plain", conflicts_with = "plain")]
    key: Option<PathBuf>,
    /// Protect nothing, to compare with.
    #[arg(long)]
    plain: bool,
    /// The file of the key that the collection moves to, until the move is finished.
    #[arg(long, value_name = "FILE")]
    new_key: Option<PathBuf>,
    /// Rotate all coordinates under the key, instead of searching a few with noise.
    #[arg(long, conflicts_with_all = ["dims", "sigma"])]
    rotate: bool,
    /// How many coordinates the store searches; fixed at the first ingestion.
    #[arg(long, value_name = "N", default_value_t = 16)]
    dims: usize,
    /// The standard deviation of the noise on each of them.
    #[arg(long, value_name = "SIGMA", default_value_t = 0.1)]
    sigma: f64,
    /// How many rows are opened for each question.
    #[arg(long, value_name = "N", default_value_t = Settings::default().candidates)]
    candidates: usize,
    /// How a new collection keeps the vectors that are searched: float, half, int8 or bit.
    #[arg(long, value_name = "NUMBERS", default_value = Numbers::Float.name(), value_parser = numbers)]
    numbers: Numbers,
}

impl Opening {
    fn access(&self, key: Option<&PathBuf>) -> Result<Access, Error> {
        let components = Coarse::Components { dims: self.dims, sigma: self.sigma };
        let coarse = if self.rotate { Coarse::Rotated } else { components };
        let settings = Settings { coarse, candidates: self.candidates };
        match key {
            Some(file) => Ok(Access::Protected { key: Key::from_file(file)?, settings }),
            None => Ok(Access::Plain),
        }
    }

    fn is_server(&self) -> bool {
        is_address(&self.database)
    }

    /// How messages call it: an address may hold a password.
    fn name(&self) -> &str {
        if self.is_server() { "the database" } else { &self.database }
    }

    fn index(&self) -> Index {
        Index { numbers: self.numbers, ..Index::default() }
    }
}

/// The database's file or address. Every user of this machine can read its command lines.
fn database(given: &str) -> Result<String, &'static str> {
    if let Some(name) = given.strip_prefix("env:") {
        return env::var(name).map_err(|_| "there is no such variable, or it holds no text");
    }
    if is_address(given) && has_password(given) {
        return Err(
            "the address holds a password, which others can read in the list of processes; put the address into \
                    a variable, and give its name: --database env:NAME",
        );
    }
    Ok(given.to_owned())
}

fn is_address(database: &str) -> bool {
    database.starts_with("postgres://") || database.starts_with("postgresql://")
}

/// Whether an address has a password: before the host (`user:password@`), or among the settings.
fn has_password(address: &str) -> bool {
    let (_, rest) = address.split_once("://").unwrap_or_default();
    let (place, settings) = rest.split_once('?').unwrap_or((rest, ""));
    let user = place.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || settings.split('&').any(|setting| setting.starts_with("password="))
}

fn numbers(name: &str) -> Result<Numbers, String> {
    Index::from_names(name, Index::default().metric.name())
        .map(|index| index.numbers)
        .map_err(|_| "choose float, half, int8 or bit".into())
}

fn main() -> ExitCode {
    let mut verb = Arguments::parse().verb;
    let (Verb::Ingest { database: opening, .. }
    | Verb::Ask { database: opening, .. }
    | Verb::Rekey { database: opening }) = &mut verb;
    match database(&opening.database) {
        Ok(found) => opening.database = found,
        Err(message) => {
            eprintln!("embosk-rag: --database: {message}");
            return ExitCode::FAILURE;
        }
    }
    let opening = opening.clone();
    match run(&verb, &opening) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("embosk-rag: {}: {error}", opening.name());
            ExitCode::FAILURE
        }
    }
}

/// Reads keys and texts before it opens a database, or makes one.
fn run(verb: &Verb, database: &Opening) -> Result<(), Error> {
    let access = database.access(database.key.as_ref())?;
    let new = database.new_key.as_ref().map(|key| database.access(Some(key))).transpose()?;
    let documents = match verb {
        Verb::Ingest { path, .. } => Document::read(path)?,
        _ => Vec::new(),
    };
    if database.is_server() {
        let store = PostgresStore::connect(&database.database)?.index(database.index());
        return run_on(store, verb, &access, new.as_ref(), &documents);
    }
    let store = match verb {
        Verb::Ingest { .. } => SqliteStore::open_or_create(&database.database)?,
        _ => SqliteStore::open(&database.database)?,
    };
    run_on(store.index(database.index()), verb, &access, new.as_ref(), &documents)
}

fn run_on(
    store: impl Store,
    verb: &Verb,
    access: &Access,
    new: Option<&Access>,
    documents: &[Document],
) -> Result<(), Error> {
    match (verb, new) {
        (Verb::Ingest { .. }, new) => {
            let done = match new {
                None => Collection::ingest(store, reference()?, access, documents)?.1,
                Some(new) => Collection::open_both(store, reference()?, access, new)?.add(documents)?,
            };
            println!(
                "{} files added, {} replaced, {} unchanged; {} chunks stored",
                done.added, done.replaced, done.unchanged, done.chunks
            );
        }
        (Verb::Ask { question, k, .. }, new) => {
            let collection = match new {
                None => Collection::open(store, reference()?, access)?,
                Some(new) => Collection::open_both(store, reference()?, access, new)?,
            };
            for (rank, hit) in collection.ask(question, *k)?.iter().enumerate() {
                println!("{}. {:.3}  {}", rank + 1, hit.score, *hit.name);
                println!("{}\n", *hit.text);
            }
        }
        (Verb::Rekey { .. }, Some(new)) => {
            let mut collection = Collection::migrate(store, reference()?, access, new)?;
            loop {
                match collection.advance(FILES_AT_ONCE)? {
                    0 => break,
                    left => eprintln!("{left} files are left"),
                }
            }
            println!("the collection is under the new key");
        }
        (Verb::Rekey { .. }, None) => {
            return Err(
                embosk::Error::Setting("--new-key is missing; name the file of the new key".into()).into()
            );
        }
    }
    Ok(())
}

fn reference() -> Result<Arc<dyn Embedder>, Error> {
    Ok(Arc::new(embedder::reference()?))
}
