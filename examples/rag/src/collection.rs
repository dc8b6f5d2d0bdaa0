use std::collections::HashMap;
use std::sync::Arc;

use embosk::ndarray::{Array2, s};
use embosk::{Embedder, Role};
use zeroize::Zeroizing;

use crate::form::{DIGEST, Form, NAME, Ranked, text_of};
use crate::store::{Header, Row, Source, Space, Store};
use crate::{Access, Coarse, Document, Error, Settings};

/// A question is answered with this many hits by default.
pub const HITS: usize = 5;

/// Chunks of texts in a store, found by what they mean.
pub struct Collection<S> {
    pub(crate) store: S,
    pub(crate) embedder: Arc<dyn Embedder>,
    /// One, or two while rows move from the first to the second.
    pub(crate) spaces: Vec<(Space, Form)>,
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
        let spaces = match &store.spaces()?[..] {
            [] => return Err(Error::NoCollection),
            [space] => vec![opened(&store, space, &embedder, access)?],
            _ => return Err(Error::Moving),
        };
        Ok(Self { store, embedder, spaces })
    }

    /// Stores documents, and makes the collection if there is none. The first documents determine the projection.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`add`](Self::add); [`Error::NoTexts`] or [`Error::TooFewChunks`] if there is no
    /// collection and too little to make one of.
    pub fn ingest(
        mut store: S,
        embedder: Arc<dyn Embedder>,
        access: &Access,
        documents: &[Document],
    ) -> Result<(Self, Ingested), Error> {
        store.hold()?;
        // on an error the store is dropped, and is held no longer
        let (mut collection, ingested) = Self::ingest_held(store, embedder, access, documents)?;
        collection.store.release()?;
        Ok((collection, ingested))
    }

    fn ingest_held(
        store: S,
        embedder: Arc<dyn Embedder>,
        access: &Access,
        documents: &[Document],
    ) -> Result<(Self, Ingested), Error> {
        if !store.spaces()?.is_empty() {
            let mut collection = Self::open(store, embedder, access)?;
            let ingested = collection.add_held(documents)?;
            return Ok((collection, ingested));
        }
        let new: Vec<_> = documents.iter().map(|document| Changed { document, old: None }).collect();
        let exact = embed(&*embedder, &new)?;
        if exact.is_empty() {
            return Err(Error::NoTexts);
        }
        let mut collection = Self { store, embedder, spaces: Vec::new() };
        collection.begin(access, &exact)?;
        let ingested = collection.put(&new, exact)?;
        Ok((collection, ingested))
    }

    /// Stores documents.
    ///
    /// A document with the name of a stored one replaces it. What is stored with the same text is left as it is.
    /// Each document is stored whole or not at all, so an ingestion that was interrupted can be repeated.
    ///
    /// # Errors
    /// [`Error::Embosk`] if the embedder fails, [`Error::Meanwhile`] if another process moved the same document
    /// meanwhile, and what the store returns. Processes that add documents wait for each other.
    pub fn add(&mut self, documents: &[Document]) -> Result<Ingested, Error> {
        self.store.hold()?;
        let done = self.add_held(documents);
        self.store.release()?;
        done
    }

    fn add_held(&mut self, documents: &[Document]) -> Result<Ingested, Error> {
        let (new, unchanged) = self.changed(documents)?;
        let exact = embed(&*self.embedder, &new)?;
        Ok(Ingested { unchanged, ..self.put(&new, exact)? })
    }

    /// Returns the `k` chunks that answer the question best, best first.
    ///
    /// # Errors
    /// [`Error::Row`] or [`Error::Incomplete`] if a row that was found was changed or is not whole: nothing is
    /// returned then, because the store cannot be trusted. [`Error::Embosk`] if the embedder fails.
    pub fn ask(&self, question: &str, k: usize) -> Result<Vec<Hit>, Error> {
        let mut best: Vec<(usize, Ranked)> = Vec::new();
        // the older space first: a row that moves meanwhile is found in both rather than in none
        for at in self.live()? {
            let (space, form) = &self.spaces[at];
            let nearest = |vector: &[f32], k| self.store.nearest(space, vector, k);
            let found = form.search(question, k, space.index.metric, nearest)?;
            best.retain(|(_, old)| !found.iter().any(|new| new.id == old.id));
            best.extend(found.into_iter().map(|row| (at, row)));
        }
        best.sort_by(|(_, a), (_, b)| b.score.total_cmp(&a.score).then_with(|| b.id.cmp(&a.id)));
        best.truncate(k);
        best.iter().map(|(at, row)| self.hit(*at, row)).collect()
    }

    /// What the row says. If it moved since it was found, the next space has it.
    fn hit(&self, at: usize, row: &Ranked) -> Result<Hit, Error> {
        let (space, form) = &self.spaces[at];
        let stored = match self.store.text(space, &row.id) {
            Err(Error::Incomplete { .. }) if at + 1 < self.spaces.len() => return self.hit(at + 1, row),
            stored => stored?,
        };
        let text = form.open_text(&row.id, &text_of(&stored.source), &stored.text)?;
        let name = form.open_text(&stored.source, NAME, &stored.name)?;
        Ok(Hit { score: row.score, name, text })
    }

    /// Which of the spaces there still are.
    fn live(&self) -> Result<Vec<usize>, Error> {
        let place = |space: &Space| self.spaces.iter().position(|(known, _)| known.id == space.id);
        self.store.spaces()?.iter().map(|space| place(space).ok_or(Error::Moving)).collect()
    }

    /// Makes the next space, for the exact vectors, `[chunks, dim]`, of its first chunks.
    pub(crate) fn begin(&mut self, access: &Access, exact: &Array2<f32>) -> Result<(), Error> {
        let former = self.spaces.last();
        let (form, protection) =
            Form::create(access, Arc::clone(&self.embedder), exact, former.map(|(_, form)| form))?;
        let dim = match access {
            Access::Protected {
                settings: Settings { coarse: Coarse::Components { dims, .. }, .. }, ..
            } => *dims,
            _ => exact.ncols(),
        };
        check_candidates(&self.store, access)?;
        let header = Header { embedder: name_of(&*self.embedder), protection };
        let space = self.store.create(self.spaces.last().map(|(space, _)| space), &header, dim)?;
        self.spaces.push((space, form));
        Ok(())
    }

    /// The documents that are not stored with the same text, and how many are.
    fn changed<'a>(&self, documents: &'a [Document]) -> Result<(Vec<Changed<'a>>, usize), Error> {
        let mut stored = HashMap::new();
        for at in self.live()? {
            let (space, form) = &self.spaces[at];
            for source in self.store.sources(space)? {
                let name = form.open_text(&source.id, NAME, &source.name)?;
                let digest = form.open_text(&source.id, DIGEST, &source.digest)?;
                stored.insert(name.to_string(), ((at, source.id), digest));
            }
        }
        let mut new = Vec::new();
        for document in documents {
            match stored.get(&document.name) {
                Some((_, digest)) if **digest == document.digest() => {}
                old => new.push(Changed { document, old: old.map(|(place, _)| place.clone()) }),
            }
        }
        let unchanged = documents.len() - new.len();
        Ok((new, unchanged))
    }

    /// Stores documents whose exact vectors, `[chunks, dim]`, are in their order.
    fn put(&mut self, new: &[Changed<'_>], exact: Array2<f32>) -> Result<Ingested, Error> {
        let (mut ingested, mut at) = (Ingested::default(), 0);
        for Changed { document, old } in new {
            let chunks = document.chunks.len();
            let (source, rows) = self.rows(document, exact.slice(s![at..at + chunks, ..]).to_owned())?;
            let replaced = old.as_ref().map(|(at, id)| (&self.spaces[*at].0, id.as_str()));
            let Some((space, _)) = self.spaces.last() else { return Err(Error::NoCollection) };
            if !self.store.replace(replaced, space, &source, &rows)? {
                return Err(Error::Meanwhile);
            }
            at += chunks;
            ingested.chunks += chunks;
            *(if old.is_some() { &mut ingested.replaced } else { &mut ingested.added }) += 1;
        }
        Ok(ingested)
    }

    fn rows(&self, document: &Document, exact: Array2<f32>) -> Result<(Source, Vec<Row>), Error> {
        let Some((_, form)) = self.spaces.last() else { return Err(Error::NoCollection) };
        let id = new_id()?;
        let name = form.seal(&id, NAME, &document.name)?;
        let digest = form.seal(&id, DIGEST, &document.digest())?;
        let ids = document.chunks.iter().map(|_| new_id()).collect::<Result<Vec<_>, _>>()?;
        let (vectors, sealed) = form.documents(&ids, exact)?;
        let rows = ids.into_iter().zip(vectors.rows()).zip(sealed).zip(&document.chunks);
        let rows = rows.map(|(((row, vector), exact), text)| {
            let text = form.seal(&row, &text_of(&id), text)?;
            Ok(Row { id: row, vector: vector.to_vec(), exact, text })
        });
        let rows = rows.collect::<Result<_, Error>>()?;
        Ok((Source { id, name, digest }, rows))
    }
}

/// A space as `access` reads it, if it is what the collection was made with.
pub(crate) fn opened(
    store: &impl Store,
    space: &Space,
    embedder: &Arc<dyn Embedder>,
    access: &Access,
) -> Result<(Space, Form), Error> {
    check_candidates(store, access)?;
    // the key first: whoever has another one is told so
    let form = Form::open(access, Arc::clone(embedder), space.header.protection.as_ref())?;
    let (stored, given) = (space.header.embedder.clone(), name_of(&**embedder));
    if stored != given {
        return Err(Error::OtherEmbedder { stored, given });
    }
    Ok((space.clone(), form))
}

fn check_candidates(store: &impl Store, access: &Access) -> Result<(), Error> {
    let most = store.most_candidates();
    match access {
        Access::Protected { settings, .. } if settings.candidates > most => {
            let message = format!("the store returns at most {most} candidates; ask for fewer");
            Err(embosk::Error::Setting(message).into())
        }
        _ => Ok(()),
    }
}

/// A document that is to be stored, and which source of which space it replaces.
struct Changed<'a> {
    document: &'a Document,
    old: Option<(usize, String)>,
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
