use std::collections::HashMap;
use std::sync::Arc;

use embosk::ndarray::{Array2, s};
use embosk::{Embedder, Role};
use zeroize::Zeroizing;

use crate::form::Form;
use crate::store::{Header, Row, Source, Store};
use crate::{Access, Document, Error};

/// A question is answered with this many hits by default.
pub const HITS: usize = 5;

/// Chunks of texts in a store, found by what they mean.
pub struct Collection<S> {
    store: S,
    form: Form,
}

/// What an ingestion did, in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// Files that are new.
    pub added: usize,
    /// Files that were stored before, with another text.
    pub replaced: usize,
    /// Files that are stored already.
    pub unchanged: usize,
    /// Chunks of the new and replaced files.
    pub chunks: usize,
}

/// A chunk that answers a question.
pub struct Hit {
    /// How alike the chunk and the question are: the cosine of their exact vectors.
    pub score: f64,
    /// The file that the chunk is from.
    pub name: Zeroizing<String>,
    /// The chunk.
    pub text: Zeroizing<String>,
}

impl<S: Store> Collection<S> {
    /// Opens the collection in `store`.
    ///
    /// # Errors
    /// [`Error::NoCollection`] if there is none; [`Error::Protected`], [`Error::NotProtected`],
    /// [`Error::OtherKey`], [`Error::OtherStack`] or [`Error::OtherEmbedder`] if it was made in another way; and
    /// what the store returns.
    pub fn open(store: S, embedder: Arc<dyn Embedder>, access: &Access) -> Result<Self, Error> {
        let header = store.header()?.ok_or(Error::NoCollection)?;
        Self::with(store, &header, embedder, access)
    }

    /// Stores documents, and makes the collection if there is none. The first documents determine the projection.
    ///
    /// A document with the name of a stored one replaces it. What is stored with the same text is left as it is.
    /// Each document is stored whole or not at all, so an ingestion that was interrupted can be repeated.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::NoTexts`] or [`Error::TooFewChunks`] if there is no collection and too
    /// little to make one of; and [`Error::Embosk`] if the embedder fails.
    pub fn ingest(
        store: S,
        embedder: Arc<dyn Embedder>,
        access: &Access,
        documents: &[Document],
    ) -> Result<(Self, Ingested), Error> {
        if let Some(header) = store.header()? {
            let mut collection = Self::with(store, &header, Arc::clone(&embedder), access)?;
            let (mut new, unchanged) = collection.changed(documents)?;
            let exact = embed(&*embedder, &new)?;
            let ingested = Ingested { unchanged, ..collection.add(&mut new, exact)? };
            return Ok((collection, ingested));
        }
        let mut new: Vec<_> = documents.iter().map(|document| Changed { document, old: None }).collect();
        let exact = embed(&*embedder, &new)?;
        if exact.is_empty() {
            return Err(Error::NoTexts);
        }
        let mut collection = Self::create(store, embedder, access, &exact)?;
        let ingested = collection.add(&mut new, exact)?;
        Ok((collection, ingested))
    }

    /// Returns the `k` chunks that answer the question best, best first.
    ///
    /// # Errors
    /// [`Error::Row`] or [`Error::Incomplete`] if a row that was found was changed or is not whole: nothing is
    /// returned then, because the store cannot be trusted. [`Error::Embosk`] if the embedder fails.
    pub fn ask(&self, question: &str, k: usize) -> Result<Vec<Hit>, Error> {
        let best = self.form.search(question, k, |vector, k| self.store.nearest(vector, k))?;
        let hit = |id: &str, score| {
            let stored = self.store.text(id)?;
            let text = self.form.open_text(id, &text_of(&stored.source), &stored.text)?;
            let name = self.form.open_text(&stored.source, "name", &stored.name)?;
            Ok(Hit { score, name, text })
        };
        best.iter().map(|best| hit(&best.id, best.score)).collect()
    }

    fn with(store: S, header: &Header, embedder: Arc<dyn Embedder>, access: &Access) -> Result<Self, Error> {
        // the key first: whoever has another one is told so
        let form = Form::open(access, Arc::clone(&embedder), header.protection.as_ref())?;
        let (stored, given) = (header.embedder.clone(), name_of(&*embedder));
        if stored != given {
            return Err(Error::OtherEmbedder { stored, given });
        }
        Ok(Self { store, form })
    }

    fn create(
        mut store: S,
        embedder: Arc<dyn Embedder>,
        access: &Access,
        exact: &Array2<f32>,
    ) -> Result<Self, Error> {
        let name = name_of(&*embedder);
        let (form, protection) = Form::create(access, embedder, exact)?;
        let dim = match access {
            Access::Plain => exact.ncols(),
            Access::Protected { settings, .. } => settings.dims,
        };
        store.create(&Header { embedder: name, protection }, dim)?;
        Ok(Self { store, form })
    }

    /// The documents that are not stored with the same text, and how many are.
    fn changed<'a>(&self, documents: &'a [Document]) -> Result<(Vec<Changed<'a>>, usize), Error> {
        let mut stored = HashMap::new();
        for source in self.store.sources()? {
            let name = self.form.open_text(&source.id, "name", &source.name)?;
            let digest = self.form.open_text(&source.id, "digest", &source.digest)?;
            stored.insert(name.to_string(), (source.id, digest));
        }
        let mut new = Vec::new();
        for document in documents {
            match stored.get(&document.name) {
                Some((_, digest)) if **digest == document.digest() => {}
                old => new.push(Changed { document, old: old.map(|(id, _)| id.clone()) }),
            }
        }
        let unchanged = documents.len() - new.len();
        Ok((new, unchanged))
    }

    /// Stores documents whose exact vectors, `[chunks, dim]`, are in their order.
    fn add(&mut self, new: &mut [Changed<'_>], exact: Array2<f32>) -> Result<Ingested, Error> {
        let (mut ingested, mut at) = (Ingested::default(), 0);
        for Changed { document, old } in new {
            let chunks = document.chunks.len();
            let (source, rows) = self.rows(document, exact.slice(s![at..at + chunks, ..]).to_owned())?;
            self.store.replace(old.as_deref(), &source, &rows)?;
            at += chunks;
            ingested.chunks += chunks;
            *(if old.is_some() { &mut ingested.replaced } else { &mut ingested.added }) += 1;
        }
        Ok(ingested)
    }

    fn rows(&self, document: &Document, exact: Array2<f32>) -> Result<(Source, Vec<Row>), Error> {
        let id = new_id()?;
        let name = self.form.seal(&id, "name", &document.name)?;
        let digest = self.form.seal(&id, "digest", &document.digest())?;
        let ids = document.chunks.iter().map(|_| new_id()).collect::<Result<Vec<_>, _>>()?;
        let (vectors, sealed) = self.form.documents(&ids, exact)?;
        let rows = ids.into_iter().zip(vectors.rows()).zip(sealed).zip(&document.chunks);
        let rows = rows.map(|(((row, vector), exact), text)| {
            let text = self.form.seal(&row, &text_of(&id), text)?;
            Ok(Row { id: row, vector: vector.to_vec(), exact, text })
        });
        let rows = rows.collect::<Result<_, Error>>()?;
        Ok((Source { id, name, digest }, rows))
    }
}

/// A document that is to be stored, and the id of what it replaces.
struct Changed<'a> {
    document: &'a Document,
    old: Option<String>,
}

/// The field of a chunk's text. It names the chunk's source, so that the store cannot give it to another file.
fn text_of(source: &str) -> String {
    format!("text of {source}")
}

/// 32 random digits: no two rows of any collection have the same id, so none can be passed off as another.
fn new_id() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Error::Randomness)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The exact vectors of all chunks, `[chunks, dim]`.
fn embed(embedder: &dyn Embedder, documents: &[Changed<'_>]) -> Result<Array2<f32>, Error> {
    let chunks: Vec<&str> =
        documents.iter().flat_map(|new| new.document.chunks.iter().map(String::as_str)).collect();
    if chunks.is_empty() {
        return Ok(Array2::zeros((0, embedder.dimension().unwrap_or(0))));
    }
    let exact = embedder.embed(Role::Document, &chunks).map_err(embosk::Error::Embedder)?;
    match exact.nrows() {
        rows if rows == chunks.len() => Ok(exact),
        rows => Err(embosk::Error::Rows { texts: chunks.len(), rows }.into()),
    }
}

/// What a collection calls its embedder.
fn name_of(embedder: &dyn Embedder) -> String {
    embedder
        .identity()
        .map_or_else(|| "unknown".into(), |identity| format!("{} {}", identity.name, identity.hash))
}

impl<S> std::fmt::Debug for Collection<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collection").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Hit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hit").field("score", &self.score).finish_non_exhaustive()
    }
}
