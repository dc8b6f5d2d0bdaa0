use std::path::PathBuf;
use std::{fmt, io};

use embosk::BoxError;
use embosk::defenses::{self, Refusal};

use crate::store::Index;

/// Why the application refused. No message holds a text, a vector's values or a key.
///
/// The file of the database is not named: whoever opened it knows which it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A text cannot be read.
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing to store.
    NoTexts,
    /// There are too few chunks to fit the projection of the first ingestion.
    TooFewChunks {
        /// How many there are.
        chunks: usize,
        /// How many coordinates the projection should have.
        dims: usize,
    },
    /// The file does not exist, or holds no collection.
    NoCollection,
    /// The file is something else.
    NotOurs,
    /// The collection has a format that this release does not know.
    Format {
        /// The collection's format.
        found: i32,
    },
    /// The collection is protected, and no key was given.
    Protected,
    /// The collection is not protected, and a key was given.
    NotProtected,
    /// The collection was made under another key.
    OtherKey {
        /// The fingerprint of the collection's key.
        stored: String,
        /// The fingerprint of the key that was given.
        given: String,
    },
    /// The collection was made by another stack of defenses.
    OtherStack(embosk::Error),
    /// The collection was made with another embedder.
    OtherEmbedder {
        /// The collection's embedder.
        stored: String,
        /// The embedder that is asked.
        given: String,
    },
    /// A row does not open.
    Row {
        /// The row's id.
        id: String,
        /// Why.
        refusal: Refusal,
    },
    /// A part of a row is missing.
    Incomplete {
        /// The row's id.
        id: String,
    },
    /// What is stored of a space cannot be read.
    Spaces,
    /// A setting is outside its range, or a vector or the embedder was refused.
    Embosk(embosk::Error),
    /// SQLite failed.
    Sqlite(rusqlite::Error),
    /// Another store failed.
    Store(BoxError),
    /// The store cannot keep vectors like this.
    Unsupported {
        /// The store's name.
        store: &'static str,
        /// How they should be kept.
        index: Index,
        /// How it can keep them.
        supported: &'static str,
    },
    /// The rows of the collection move to another key.
    Moving,
    /// Another process changed what was to be replaced.
    Meanwhile,
    /// The operating system gave no randomness.
    Randomness,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::NoTexts => f.write_str("there is no text to store; name a folder with .txt or .md files"),
            Self::TooFewChunks { chunks, dims } => write!(
                f,
                "fitting {dims} coordinates takes more than {dims} chunks, but there are only {chunks}; add texts, or \
                 set a smaller --dims, or use --rotate"
            ),
            Self::NoCollection => f.write_str("there is no collection; ingest texts first"),
            Self::NotOurs => f.write_str(
                "this is not an embosk-rag database, and it was not changed; name another file",
            ),
            Self::Format { found } => {
                write!(
                    f,
                    "the collection has format {found}, which this release does not read; use the release that made \
                     it, or ingest the texts into a new database"
                )
            }
            Self::Protected => f.write_str("the collection is protected; give its key"),
            Self::NotProtected => f.write_str(
                "the collection is not protected; move it to the key first (`embosk-rag rekey --plain --new-key \
                 FILE`), or leave the key out",
            ),
            Self::OtherKey { stored, given } => write!(
                f,
                "the collection was made under the key {stored}, but the key given is {given}; give the collection's \
                 key, or move the collection to this one (`embosk-rag rekey`)"
            ),
            Self::OtherStack(error) => write!(
                f,
                "{error}; give the settings that the collection was made with, or ingest the texts into a new database"
            ),
            Self::OtherEmbedder { stored, given } => write!(
                f,
                "the collection was made with the embedder {stored}, and this is {given}; use that embedder, or \
                 ingest the texts into a new database"
            ),
            Self::Row { id, refusal } => {
                write!(f, "row {id}: {refusal}; restore the row, or ingest its file into a new database")
            }
            Self::Incomplete { id } => write!(
                f,
                "row {id}: a part of it is missing; restore the row, or ingest its file into a new database"
            ),
            Self::Spaces => f.write_str(
                "the table of spaces is damaged or from another release; restore the database, or ingest the texts \
                 into a new one",
            ),
            Self::Embosk(error) => error.fmt(f),
            Self::Sqlite(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Unsupported { store, index, supported } => {
                let Index { numbers, metric } = index;
                write!(f, "{store} cannot store `{}` vectors compared by {}; it supports {supported}", numbers.name(), metric.name())
            }
            Self::Moving => f.write_str(
                "the collection is being moved to another key; give both keys (`--key` and `--new-key`), or finish \
                 the move (`embosk-rag rekey`)",
            ),
            Self::Meanwhile => f.write_str("another process replaced the same file meanwhile; ingest it again"),
            Self::Randomness => f.write_str("the operating system gave no randomness"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    /// What refused the row `id`.
    pub(crate) fn row(id: &str, error: embosk::Error) -> Self {
        match error {
            embosk::Error::Defense(defenses::Error::Sealed { refusal, .. }) => {
                Self::Row { id: id.to_owned(), refusal }
            }
            other => other.into(),
        }
    }
}

impl From<embosk::Error> for Error {
    fn from(error: embosk::Error) -> Self {
        Self::Embosk(error)
    }
}

impl From<defenses::Error> for Error {
    fn from(error: defenses::Error) -> Self {
        Self::Embosk(error.into())
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => Self::NotOurs,
            _ => Self::Sqlite(error),
        }
    }
}
