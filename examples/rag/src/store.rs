//! What the application asks of a store.

use crate::Error;

/// What is stored once for all rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which embedder the vectors are of.
    pub embedder: String,
    /// What says how the vectors are protected; nothing if they are not.
    pub protection: Option<Protection>,
}

/// How the vectors of a store are protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// The fingerprint of the stack and the key.
    pub fingerprint: String,
    /// The fit of the projection, sealed: it holds averages of the documents' vectors.
    pub fit: Vec<u8>,
}

/// A file whose chunks are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Random, and never used again.
    pub id: String,
    /// The file's name, which may be sealed.
    pub name: Vec<u8>,
    /// The digest of what was read, which may be sealed.
    pub digest: Vec<u8>,
}

/// A chunk to be stored.
#[derive(Clone, PartialEq)]
pub struct Row {
    /// Random, and never used again.
    pub id: String,
    /// What is searched, `[dim]`.
    pub vector: Vec<f32>,
    /// The exact vector, sealed; empty if `vector` is exact.
    pub exact: Vec<u8>,
    /// The text, which may be sealed.
    pub text: Vec<u8>,
}

/// A row that the store found.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The row's id.
    pub id: String,
    /// How far its vector is from the query's.
    pub distance: f64,
    /// The exact vector, sealed.
    pub exact: Vec<u8>,
}

/// A chunk's text, and where it is from.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    /// The text, which may be sealed.
    pub text: Vec<u8>,
    /// The id of its source.
    pub source: String,
    /// The name of its source, which may be sealed.
    pub name: Vec<u8>,
}

/// A collection of chunks, which stores bytes and searches vectors. It knows of no key.
pub trait Store {
    /// Reads the header; `None` before the first ingestion.
    fn header(&self) -> Result<Option<Header>, Error>;

    /// Makes an empty collection for vectors of `dim` coordinates.
    fn create(&mut self, header: &Header, dim: usize) -> Result<(), Error>;

    /// Lists all sources.
    fn sources(&self) -> Result<Vec<Source>, Error>;

    /// Stores a source with its rows, and removes the source `old` with its rows: all of it or, on an error,
    /// nothing.
    fn replace(&mut self, old: Option<&str>, source: &Source, rows: &[Row]) -> Result<(), Error>;

    /// Returns the `k` rows whose vectors are nearest to `vector`, `[dim]`, nearest first.
    fn nearest(&self, vector: &[f32], k: usize) -> Result<Vec<Candidate>, Error>;

    /// Reads the text of a row.
    fn text(&self, id: &str) -> Result<Text, Error>;
}

macro_rules! debug_without_content {
    ($($type:ident: $id:ident),*) => {$(
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($type)).field(stringify!($id), &self.$id).finish_non_exhaustive()
            }
        }
    )*};
}

// they may be of a collection without protection
debug_without_content!(Row: id, Text: source);
