//! What the application asks of a store.

use crate::Error;

/// A part of a collection in which all rows are protected in the same way. A collection has one space, or two while
/// its rows move from the first to the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// 1 for a collection's first space, and one more for each that follows.
    pub id: u32,
    /// What is stored once for all rows.
    pub header: Header,
    /// How many coordinates the vectors have that are searched.
    pub dim: usize,
    /// How they are kept and compared.
    pub index: Index,
}

impl Space {
    /// Returns the space after `last`, for a store to make.
    ///
    /// # Errors
    /// [`Error::Embosk`] if vectors that are stored nowhere else would be rounded.
    pub fn after(last: Option<&Self>, header: &Header, dim: usize, index: Index) -> Result<Self, Error> {
        if header.protection.is_none() && index.numbers != Numbers::Float {
            let message = "without protection, vectors are kept as floats, because nothing else holds them; leave \
                           `--numbers` out, or give a key";
            return Err(embosk::Error::Setting(message.into()).into());
        }
        // what was rounded once cannot be kept in another form
        let former = last.filter(|last| last.header.protection.is_some()).map(|last| last.index);
        if let Some(former) = former.filter(|&former| index != Index::default() && index != former) {
            let name = former.numbers.name();
            let message = format!(
                "the collection keeps `{name}` vectors, and a move keeps them so; leave `--numbers` out"
            );
            return Err(embosk::Error::Setting(message).into());
        }
        let id = last.map_or(1, |last| last.id + 1);
        Ok(Self { id, header: header.clone(), dim, index: former.unwrap_or(index) })
    }
}

/// How a store keeps the vectors that it searches, and compares them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// How the coordinates are kept.
    pub numbers: Numbers,
    /// How vectors are compared.
    pub metric: Metric,
}

/// How the coordinates of vectors are kept that a store searches. What is rounded finds candidates that the sealed
/// exact vectors order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbers {
    /// In 32 bits.
    #[default]
    Float,
    /// In 16 bits.
    Half,
    /// In 8 bits.
    Int8,
    /// By their signs.
    Bit,
}

/// How vectors are compared. Signs are always compared by the number of those that differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// The distance is one minus the cosine.
    #[default]
    Cosine,
    /// The distance is the negative inner product.
    InnerProduct,
    /// The distance is Euclid's.
    Euclid,
}

impl Index {
    /// The index whose numbers and metric have these names.
    pub fn from_names(numbers: &str, metric: &str) -> Result<Self, Error> {
        let numbers = Numbers::ALL.into_iter().find(|one| one.name() == numbers);
        let metric = Metric::ALL.into_iter().find(|one| one.name() == metric);
        match (numbers, metric) {
            (Some(numbers), Some(metric)) => Ok(Self { numbers, metric }),
            _ => Err(Error::Spaces),
        }
    }
}

impl Numbers {
    const ALL: [Self; 4] = [Self::Float, Self::Half, Self::Int8, Self::Bit];

    /// Returns the name that a store keeps.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Half => "half",
            Self::Int8 => "int8",
            Self::Bit => "bit",
        }
    }
}

impl Metric {
    const ALL: [Self; 3] = [Self::Cosine, Self::InnerProduct, Self::Euclid];

    /// Returns the name that a store keeps.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::InnerProduct => "inner product",
            Self::Euclid => "Euclid",
        }
    }

    /// Returns how alike two vectors of norm 1 are, by their distance: their cosine.
    pub(crate) fn similarity(self, distance: f64) -> f64 {
        match self {
            Self::Cosine => 1.0 - distance,
            Self::InnerProduct => -distance,
            Self::Euclid => 1.0 - distance.powi(2) / 2.0,
        }
    }
}

/// What is stored once for all rows of a space.
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
    /// The fit of the projection, sealed: it holds averages of the documents' vectors. Without a projection, an
    /// empty text, sealed.
    pub fit: Vec<u8>,
}

impl Protection {
    /// The protection of a space from what is stored of it, which must be both parts or none.
    pub fn from_parts(fingerprint: Option<String>, fit: Option<Vec<u8>>) -> Result<Option<Self>, Error> {
        match (fingerprint, fit) {
            (Some(fingerprint), Some(fit)) => Ok(Some(Self { fingerprint, fit })),
            (None, None) => Ok(None),
            _ => Err(Error::Spaces),
        }
    }
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
    /// How far its vector is from the query's, by the [`Metric`]; of signs, the share that differs.
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
///
/// A source never changes: an ingestion that finds another text puts a new source in its place.
pub trait Store {
    /// Waits until no other process adds documents, and keeps others waiting until [`release`](Self::release), or until
    /// the store is dropped. Names are sealed, so the store itself cannot tell that two processes add the same one.
    fn hold(&mut self) -> Result<(), Error>;

    /// Lets other processes add documents.
    fn release(&mut self) -> Result<(), Error>;

    /// Lists the spaces, oldest first; none before the first ingestion.
    fn spaces(&self) -> Result<Vec<Space>, Error>;

    /// Makes an empty space for vectors of `dim` coordinates, the one after `last`.
    ///
    /// # Errors
    /// If there is such a space already, or the store cannot keep vectors in the way that it was told to.
    fn create(&mut self, last: Option<&Space>, header: &Header, dim: usize) -> Result<Space, Error>;

    /// Removes a space with all that belongs to it, if it has no source, and returns whether it did.
    fn remove(&mut self, space: &Space) -> Result<bool, Error>;

    /// Lists the sources of a space.
    fn sources(&self, space: &Space) -> Result<Vec<Source>, Error>;

    /// Reads the rows of a source. Vectors are as they are kept: rounded, and scaled where only angles count.
    fn rows(&self, space: &Space, source: &str) -> Result<Vec<Row>, Error>;

    /// Stores a source with its rows in `space`, and removes the source `old` with its rows, which may be of another
    /// space: all of it or, on an error, nothing. Changes nothing and returns `false` if there is no such source any
    /// more.
    fn replace(
        &mut self,
        old: Option<(&Space, &str)>,
        space: &Space,
        source: &Source,
        rows: &[Row],
    ) -> Result<bool, Error>;

    /// Returns the `k` rows whose vectors are nearest to `vector`, `[dim]`, nearest first.
    fn nearest(&self, space: &Space, vector: &[f32], k: usize) -> Result<Vec<Candidate>, Error>;

    /// Reads the text of a row.
    fn text(&self, space: &Space, id: &str) -> Result<Text, Error>;

    /// Returns how many rows [`nearest`](Self::nearest) finds at most.
    fn most_candidates(&self) -> usize {
        usize::MAX
    }
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
