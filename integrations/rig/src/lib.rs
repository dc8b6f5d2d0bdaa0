//! embosk's protected vectors in rig.
//!
//! [`ProtectedModels`] makes embedding models of rig from a [`Protected`]: one for documents, and one for queries.

use std::fmt;
use std::future::ready;
use std::pin::Pin;
use std::sync::Arc;

use embosk::embedder::{Async, AsyncEmbedder};
use embosk::ndarray::Array2;
use embosk::{Embedder, Error, Protected, Role};
use futures_util::stream::once;
use rig_core::driver::{DynModel, Exchange, Local, Model, Opened, Opening, Step, Transport};
use rig_core::embeddings::{Embedding, EmbeddingResponse};
use rig_core::error::ProviderError;
use rig_core::operation::Embedding as EmbeddingOp;
use rig_core::wire::Capabilities;
use tokio::task::spawn_blocking;

/// How many texts rig hands over at once.
const MOST_TEXTS: usize = 1024;

type Answer = Pin<Box<dyn Future<Output = Result<Array2<f32>, Error>> + Send>>;
type Embed = dyn Fn(Role, Vec<String>) -> Answer + Send + Sync;

/// Embedding models of rig that return protected vectors.
///
/// rig asks one model for documents and queries alike and does not say which a text is. A stack or an embedder may treat
/// the two differently, so there is a model for each, and none for both: give [`documents`](Self::documents) to an
/// `EmbeddingsBuilder`, and [`queries`](Self::queries) to an index.
///
/// # Errors
/// Errors are rig's `ProviderError::Provider`, whose message is embosk's.
#[derive(Clone)]
pub struct ProtectedModels {
    embed: Arc<Embed>,
    dimension: Option<usize>,
}

impl ProtectedModels {
    /// Wraps an embedder that computes its vectors itself. It runs on tokio's threads for blocking work.
    ///
    /// # Panics
    /// Its models panic outside of a tokio runtime.
    pub fn new<E: Embedder + 'static>(protected: Protected<E>) -> Self {
        let protected = Arc::new(protected);
        Self::of(move |role, texts| {
            let protected = Arc::clone(&protected);
            let work = spawn_blocking(move || match role {
                Role::Document => protected.embed_documents(&texts),
                Role::Query => protected.embed_queries(&texts),
            });
            // what a panic says may hold a text
            Box::pin(
                async move { work.await.map_err(|_| Error::Embedder("it panicked or was stopped".into()))? },
            )
        })
    }

    /// Wraps an async client.
    pub fn of_async<E: AsyncEmbedder + 'static>(protected: Protected<Async<E>>) -> Self {
        let protected = Arc::new(protected);
        Self::of(move |role, texts| {
            let protected = Arc::clone(&protected);
            Box::pin(async move {
                match role {
                    Role::Document => protected.embed_documents(&texts).await,
                    Role::Query => protected.embed_queries(&texts).await,
                }
            })
        })
    }

    fn of(embed: impl Fn(Role, Vec<String>) -> Answer + Send + Sync + 'static) -> Self {
        Self { embed: Arc::new(embed), dimension: None }
    }

    /// Sets the dimension of the protected vectors, which some stores ask for. rig then refuses vectors of another one.
    pub fn dimension(self, dimension: usize) -> Self {
        Self { dimension: Some(dimension), ..self }
    }

    /// Returns the model that embeds and protects texts as documents.
    pub fn documents(&self) -> DynModel<EmbeddingOp> {
        self.model(Role::Document, "documents")
    }

    /// Returns the model that embeds and protects texts as queries.
    pub fn queries(&self) -> DynModel<EmbeddingOp> {
        self.model(Role::Query, "queries")
    }

    fn model(&self, role: Role, id: &str) -> DynModel<EmbeddingOp> {
        let capabilities =
            Capabilities::embedding(MOST_TEXTS, self.dimension.unwrap_or_default()).declaring(self.dimension);
        let wire = Local::new("embosk").with_id(id).with_capabilities(capabilities);
        Model::new(wire, InRole { role, embed: Arc::clone(&self.embed) }).erase()
    }
}

impl fmt::Debug for ProtectedModels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectedModels").field("dimension", &self.dimension).finish_non_exhaustive()
    }
}

/// What rig sends texts through.
#[derive(Clone)]
struct InRole {
    role: Role,
    embed: Arc<Embed>,
}

impl Transport<Local<EmbeddingOp>> for InRole {
    fn send(&self, texts: Vec<String>, _: Exchange) -> Opening<Step<EmbeddingOp>> {
        let Self { role, embed } = self.clone();
        Opening::new(async move {
            let vectors = embed(role, texts).await;
            let vectors = vectors.map_err(|error| ProviderError::Provider(format!("embosk: {error}")))?;
            // rig puts each text beside its vector
            let embeddings = vectors.rows().into_iter().map(|row| Embedding {
                document: String::new(),
                vec: row.iter().copied().map(f64::from).collect(),
            });
            let end = Step::End(EmbeddingResponse::new(embeddings.collect()));
            Ok(Opened::new(once(ready(Ok(end)))))
        })
    }
}

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
