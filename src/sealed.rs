//! Coarse vectors for the store to search, and sealed exact vectors to order what it finds.

mod rows;
#[cfg(test)]
mod tests;

use std::fmt;

use embosk_defenses::{Checked, Refusal, Rerank, Sealer};
use ndarray::Array2;
use zeroize::Zeroizing;

pub use self::rows::{Document, Documents, Query, Ranked};
use crate::embedder::{AnyEmbedder, Async, AsyncEmbedder, Similarity};
use crate::{BoxError, Defense, Embedder, Error, Key, Protected, Role};

/// An embedding function whose documents come out as a coarse vector and a sealed exact one.
///
/// **Seal the text first.** Most stores keep a chunk's text beside its vector, and no defense of the vector helps
/// against someone who reads it. [`seal_text`](Self::seal_text) seals texts and metadata under the same key.
///
/// 1. [`embed_documents`](Self::embed_documents) gives for each document the protected vector, for the store's
///    index, and the exact vector as sealed bytes, to be stored beside it.
/// 2. [`embed_queries`](Self::embed_queries) gives for each query the protected vector, for the store, and keeps
///    the exact one in the process.
/// 3. The store returns its [`candidates`](Self::candidates) best rows with their sealed bytes.
///    [`rerank`](Self::rerank) opens them and orders them by their exact vectors.
///
/// Whoever reads the store without the key has only the coarse vectors. What these still reveal must be measured.
/// They reveal at least the topic of a text, because the search needs it. Whoever has the key has everything. An
/// operator also sees which rows a query opens.
///
/// [`Protected::sealed`] creates it, or [`Protected::reranked`] if the stack names the key.
///
/// ```
/// use embosk::{BoxError, GaussianNoise, Key, Protected};
/// use ndarray::Array2;
///
/// let embed = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
///     let count = |text: &str, letter| text.bytes().filter(|&byte| byte == letter).count() as f32;
///     Ok(Array2::from_shape_fn((texts.len(), 26), |(row, at)| count(texts[row], b'a' + at as u8)))
/// };
/// let key = Key::generate()?;
/// let protected = Protected::new(embed).with(GaussianNoise::new(0.5)?).sealed(&key);
///
/// // ingestion: the vector is indexed, the sealed bytes are stored beside it, and so is the sealed text
/// let (ids, texts) = (["1", "2", "3"], ["rent is due", "a parcel came", "the roof leaks"]);
/// let documents = protected.embed_documents(&ids, &texts)?;
/// let chunks = protected.seal_texts(&ids, "chunk", &texts)?;
///
/// // a search: the store would return its best rows; here it returns all of them
/// let query = protected.embed_query("is rent due")?;
/// assert_eq!(query.vector().len(), 26);
/// let found: Vec<(&str, &[u8])> = ids.into_iter().zip(documents.sealed.iter().map(Vec::as_slice)).collect();
/// let best = protected.rerank(&query, &found, 2)?;
/// assert_eq!((best.len(), found[best[0].hit].0), (2, "1"));
/// assert_eq!(*protected.open_text("1", "chunk", &chunks[0])?, "rent is due");
/// # Ok::<(), embosk::Error>(())
/// ```
///
/// # Async
/// ```
/// # use embosk::{BoxError, GaussianNoise, Key, Protected};
/// use embosk::embedder::Async;
/// # use ndarray::Array2;
///
/// async fn embed(texts: Vec<String>) -> Result<Array2<f32>, BoxError> {
///     Ok(Array2::ones((texts.len(), 8))) // asks a server here
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let protected = Protected::new(Async(embed)).with(GaussianNoise::new(0.1)?).sealed(&Key::generate()?);
/// let documents = protected.embed_documents(&["1"], &["a letter"]).await?;
/// let query = protected.embed_query("a letter").await?;
/// assert_eq!(protected.rerank(&query, &[("1", &documents.sealed[0])], 10)?[0].hit, 0);
/// # Ok::<(), embosk::Error>(())
/// # })?;
/// # Ok::<(), BoxError>(())
/// ```
#[derive(Clone)]
pub struct Sealed<E> {
    protected: Protected<E>,
    rerank: Rerank,
    sealer: Sealer,
    similarity: Similarity,
    /// Whether the stack and the caller disagree about the re-ranking.
    contradicts: bool,
}

impl<E: AnyEmbedder> Protected<E> {
    /// Returns the embedder with exact vectors sealed under `key` beside the protected ones, and candidates ordered
    /// by them.
    ///
    /// The stack gets a [`Rerank`] at its end. If it already ends in one, that one is used. It must then name this
    /// key, or every call fails with [`Error::Setting`].
    pub fn sealed(self, key: &Key) -> Sealed<E> {
        let (protected, rerank, contradicts) = if let Some(rerank) = self.stack().reranking() {
            let contradicts = !rerank.is_sealed_under(key);
            (self, rerank, contradicts)
        } else {
            let rerank = Rerank::default().key(key);
            (self.with(rerank.clone()), rerank, false)
        };
        let sealer = Sealer::new(key).precision(rerank.rounding()).bound_to(protected.stack());
        Sealed { contradicts, ..Sealed::new(protected, rerank, sealer) }
    }

    /// Returns the embedder with exact vectors sealed under the key in the stack's last part, a [`Rerank`].
    ///
    /// # Errors
    /// [`Error::Setting`] if the stack does not end in a `rerank` with a key.
    pub fn reranked(self) -> Result<Sealed<E>, Error> {
        let rerank = self.stack().reranking();
        let sealer = rerank.as_ref().and_then(|rerank| rerank.sealer(self.stack()));
        let (Some(rerank), Some(sealer)) = (rerank, sealer) else {
            return Err(Error::Setting(
                "the stack does not end in a `rerank` with a key; add one, such as `rerank(candidates=200, \
                 key=env:EMBOSK_KEY)`, or call `sealed` with the key"
                    .into(),
            ));
        };
        Ok(Sealed::new(self, rerank, sealer))
    }
}

impl<E: AnyEmbedder> Sealed<E> {
    fn new(protected: Protected<E>, rerank: Rerank, sealer: Sealer) -> Self {
        let similarity = protected.embedder().stated_similarity().unwrap_or_default();
        Self { protected, rerank, sealer, similarity, contradicts: false }
    }
}

impl<E> Sealed<E> {
    /// Sets how exact vectors are compared. Default: as the embedder [says](Embedder::similarity), or otherwise by
    /// the cosine.
    pub fn similarity(self, similarity: Similarity) -> Self {
        Self { similarity, ..self }
    }

    /// Returns how many rows to ask the store for: 200, or what the stack's `rerank` says.
    pub fn candidates(&self) -> usize {
        self.rerank.candidates()
    }

    /// Returns the text to store beside the vectors: see [`Protected::fingerprint`].
    pub fn fingerprint(&self) -> String {
        self.protected.fingerprint()
    }

    /// Checks the fingerprint of stored vectors: see [`Protected::check_fingerprint`].
    ///
    /// # Errors
    /// [`Error::Defense`] if the vectors are of another space, or were sealed under another key.
    pub fn check_fingerprint(&self, stored: &str) -> Result<Checked, Error> {
        self.protected.check_fingerprint(stored)
    }

    /// Returns the sealer of the rows, for an application that opens them itself.
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Protects and seals exact vectors that exist already, `[rows, dim]`, with one id per row. Keyed noise depends
    /// on the id.
    ///
    /// # Errors
    /// [`Error::Defense`] if a defense refuses the vectors, the number of ids is not the number of rows, or an id is
    /// empty.
    pub fn protect_documents(
        &self,
        ids: &[impl AsRef<[u8]>],
        exact: Array2<f32>,
    ) -> Result<Documents, Error> {
        self.check()?;
        let sealed = self.sealer.seal_vectors(ids, exact.view())?;
        Ok(Documents { vectors: self.protected.coarse_with_ids(Role::Document, ids, exact)?, sealed })
    }

    /// Protects the exact vectors of queries that exist already, `[rows, dim]`.
    ///
    /// # Errors
    /// [`Error::Defense`] if a defense refuses the vectors.
    pub fn protect_queries(&self, exact: Array2<f32>) -> Result<Vec<Query>, Error> {
        self.check()?;
        let kept: Vec<_> = exact.rows().into_iter().map(|row| Zeroizing::new(row.to_vec())).collect();
        let coarse = self.protected.coarse(Role::Query, exact)?;
        Ok(coarse.rows().into_iter().zip(kept).map(|(row, exact)| Query::new(row.to_vec(), exact)).collect())
    }

    /// Opens the rows that the store found, pairs of an id and sealed bytes, orders them by the similarity of their
    /// exact vectors to the query's, and returns the `k` best.
    ///
    /// Rows with equal scores are ordered as trec_eval does: by descending id, compared as bytes. Ask the store for
    /// [`candidates`](Self::candidates) rows: what it does not return cannot be found.
    ///
    /// # Errors
    /// [`Error::Defense`] with the first row that does not open, and why: its bytes were changed, or belong to
    /// another id, key or stack. The store cannot be trusted then, so nothing is returned.
    pub fn rerank(
        &self,
        query: &Query,
        found: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)],
        k: usize,
    ) -> Result<Vec<Ranked>, Error> {
        self.check()?;
        let (similarity, exact) = (self.similarity, query.exact());
        let (mut ranked, mut odd) = (Vec::with_capacity(found.len()), None);
        self.sealer.open_each(found.iter().map(|(id, sealed)| (id, sealed)), |hit, vector| {
            if vector.len() != exact.len() {
                let refusal = Refusal::Dimension { expected: exact.len(), found: vector.len() };
                odd.get_or_insert(embosk_defenses::Error::Sealed { row: hit, refusal });
            }
            // adding 0 turns −0 into the 0 that it ties with
            ranked.push(Ranked { hit, score: similarity.of(exact, vector) + 0.0 });
        })?;
        if let Some(error) = odd {
            return Err(error.into());
        }
        let id = |ranked: &Ranked| found[ranked.hit].0.as_ref();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| id(b).cmp(id(a))));
        ranked.truncate(k);
        Ok(ranked)
    }

    /// Orders what the store found for each of several queries: see [`rerank`](Self::rerank).
    ///
    /// # Errors
    /// As `rerank`, and [`Error::Setting`] unless there are as many lists as queries.
    pub fn rerank_all(
        &self,
        queries: &[Query],
        found: &[Vec<(impl AsRef<[u8]>, impl AsRef<[u8]>)>],
        k: usize,
    ) -> Result<Vec<Vec<Ranked>>, Error> {
        if queries.len() != found.len() {
            let (queries, lists) = (queries.len(), found.len());
            return Err(Error::Setting(format!(
                "{queries} queries, but {lists} lists of candidates; give each query its own list"
            )));
        }
        queries.iter().zip(found).map(|(query, found)| self.rerank(query, found, k)).collect()
    }

    /// Seals a text of the row `id`, such as its chunk or its title: see [`Sealer::seal_text`].
    ///
    /// # Errors
    /// [`Error::Defense`] for an empty id, or if the operating system provides no randomness.
    pub fn seal_text(&self, id: impl AsRef<[u8]>, field: &str, text: &str) -> Result<Vec<u8>, Error> {
        self.check()?;
        Ok(self.sealer.seal_text(id, field, text)?)
    }

    /// Seals one text for each of several rows, such as their chunks: see [`Sealer::seal_texts`].
    ///
    /// # Errors
    /// [`Error::Defense`] unless there are as many ids as texts, with the first row whose id is empty, or if the
    /// operating system provides no randomness.
    pub fn seal_texts(
        &self,
        ids: &[impl AsRef<[u8]>],
        field: &str,
        texts: &[impl AsRef<str>],
    ) -> Result<Vec<Vec<u8>>, Error> {
        self.check()?;
        Ok(self.sealer.seal_texts(ids, field, texts)?)
    }

    /// Opens a text of the row `id`: see [`Sealer::open_text`].
    ///
    /// # Errors
    /// [`Error::Defense`] if it does not open.
    pub fn open_text(
        &self,
        id: impl AsRef<[u8]>,
        field: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<String>, Error> {
        self.check()?;
        Ok(self.sealer.open_text(id, field, sealed)?)
    }

    /// Opens sealed vectors, pairs of an id and sealed bytes, and seals them again under the key of `new`, exactly as
    /// they are. `new` may also have another stack; its coarse vectors must then be recomputed. See
    /// [`Sealer::rekey_text`] for texts.
    ///
    /// # Errors
    /// [`Error::Defense`] with the first row that does not open.
    pub fn rekey<F>(
        &self,
        new: &Sealed<F>,
        rows: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)],
    ) -> Result<Vec<Vec<u8>>, Error> {
        self.check()?;
        new.check()?;
        let at = |row| {
            move |error| match error {
                embosk_defenses::Error::Sealed { refusal, .. } => {
                    embosk_defenses::Error::Sealed { row, refusal }
                }
                other => other,
            }
        };
        let rows = rows.iter().enumerate().map(|(row, (id, sealed))| {
            self.sealer.rekey_vector(&new.sealer, id, sealed.as_ref()).map_err(at(row))
        });
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn check(&self) -> Result<(), Error> {
        if self.contradicts {
            return Err(Error::Setting(
                "the stack ends in a `rerank` without this key; leave the part out, or give it the key and call \
                 `reranked`"
                    .into(),
            ));
        }
        Ok(())
    }

    /// What the embedder returned for this many texts, one row each.
    fn rows(texts: usize, embedded: Result<Array2<f32>, BoxError>) -> Result<Array2<f32>, Error> {
        let exact = embedded.map_err(Error::Embedder)?;
        match exact.nrows() {
            rows if rows == texts => Ok(exact),
            rows => Err(Error::Rows { texts, rows }),
        }
    }
}

impl<E: Embedder> Sealed<E> {
    /// Embeds documents, with one id per text. Returns their protected vectors, and their exact ones as sealed bytes.
    ///
    /// # Errors
    /// [`Error::Embedder`] if the embedding function fails, [`Error::Rows`] if it returns more or fewer rows
    /// than texts, and [`Error::Defense`] as [`protect_documents`](Self::protect_documents).
    pub fn embed_documents(
        &self,
        ids: &[impl AsRef<[u8]>],
        texts: &[impl AsRef<str>],
    ) -> Result<Documents, Error> {
        let exact = self.embed(Role::Document, texts)?;
        self.protect_documents(ids, exact)
    }

    /// Embeds one document.
    ///
    /// # Errors
    /// As [`embed_documents`](Self::embed_documents).
    pub fn embed_document(&self, id: impl AsRef<[u8]>, text: impl AsRef<str>) -> Result<Document, Error> {
        let documents = self.embed_documents(&[id], &[text])?;
        documents.into_iter().next().ok_or(Error::Empty("the batch"))
    }

    /// Embeds queries. Returns protected vectors for the store, and exact ones that stay in the process.
    ///
    /// # Errors
    /// As [`embed_documents`](Self::embed_documents).
    pub fn embed_queries(&self, texts: &[impl AsRef<str>]) -> Result<Vec<Query>, Error> {
        let exact = self.embed(Role::Query, texts)?;
        self.protect_queries(exact)
    }

    /// Embeds one query.
    ///
    /// # Errors
    /// As [`embed_documents`](Self::embed_documents).
    pub fn embed_query(&self, text: impl AsRef<str>) -> Result<Query, Error> {
        let queries = self.embed_queries(&[text])?;
        queries.into_iter().next().ok_or(Error::Empty("the batch"))
    }

    fn embed(&self, role: Role, texts: &[impl AsRef<str>]) -> Result<Array2<f32>, Error> {
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        Self::rows(texts.len(), self.protected.embedder().embed(role, &texts))
    }
}

impl<E: AsyncEmbedder> Sealed<Async<E>> {
    /// Embeds documents, with one id per text. Returns their protected vectors, and their exact ones as sealed bytes.
    ///
    /// # Errors
    /// [`Error::Embedder`] if the embedding function fails, [`Error::Rows`] if it returns more or fewer rows
    /// than texts, and [`Error::Defense`] as [`protect_documents`](Self::protect_documents).
    pub async fn embed_documents(
        &self,
        ids: &[impl AsRef<[u8]>],
        texts: &[impl AsRef<str>],
    ) -> Result<Documents, Error> {
        let exact = self.embed(Role::Document, texts).await?;
        self.protect_documents(ids, exact)
    }

    /// Embeds one document.
    ///
    /// # Errors
    /// As [`embed_documents`](Self::embed_documents).
    pub async fn embed_document(
        &self,
        id: impl AsRef<[u8]>,
        text: impl AsRef<str>,
    ) -> Result<Document, Error> {
        let documents = self.embed_documents(&[id], &[text]).await?;
        documents.into_iter().next().ok_or(Error::Empty("the batch"))
    }

    /// Embeds queries. Returns protected vectors for the store, and exact ones that stay in the process.
    ///
    /// # Errors
    /// As [`embed_documents`](Self::embed_documents).
    pub async fn embed_queries(&self, texts: &[impl AsRef<str>]) -> Result<Vec<Query>, Error> {
        let exact = self.embed(Role::Query, texts).await?;
        self.protect_queries(exact)
    }

    /// Embeds one query.
    ///
    /// # Errors
    /// As [`embed_documents`](Self::embed_documents).
    pub async fn embed_query(&self, text: impl AsRef<str>) -> Result<Query, Error> {
        let queries = self.embed_queries(&[text]).await?;
        queries.into_iter().next().ok_or(Error::Empty("the batch"))
    }

    async fn embed(&self, role: Role, texts: &[impl AsRef<str>]) -> Result<Array2<f32>, Error> {
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        Self::rows(texts.len(), self.protected.embedder().0.embed(role, &texts).await)
    }
}

impl<E> fmt::Debug for Sealed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("protected", &self.protected)
            .field("sealer", &self.sealer)
            .field("similarity", &self.similarity)
            .finish_non_exhaustive()
    }
}
