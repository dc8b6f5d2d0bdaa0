//! embosk's protected vectors in langchain-rust.
//!
//! [`ProtectedEmbedder`] is an [`Embedder`](langchain_rust::embedding::Embedder) of langchain-rust whose vectors come
//! from a [`Protected`]. Whatever takes an embedder, such as a vector store, then sees protected vectors alone.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use embosk::embedder::{Async, AsyncEmbedder};
use embosk::ndarray::Array2;
use embosk::{Embedder, Error, Protected, Role};
use langchain_rust::embedding::EmbedderError;
use tokio::task::spawn_blocking;

type Answer = Pin<Box<dyn Future<Output = Result<Array2<f32>, Error>> + Send>>;
type Embed = dyn Fn(Role, Vec<String>) -> Answer + Send + Sync;

/// An embedder of langchain-rust that returns protected vectors.
///
/// `embed_documents` embeds and protects texts as documents, and `embed_query` embeds and protects one as a query.
///
/// # Errors
/// langchain-rust has no kind of error for embedders of others. Errors are therefore its `FastEmbedError`, whose message
/// is embosk's.
#[derive(Clone)]
pub struct ProtectedEmbedder(Arc<Embed>);

impl ProtectedEmbedder {
    /// Wraps an embedder that computes its vectors itself. It runs on tokio's threads for blocking work.
    ///
    /// # Panics
    /// Its methods panic outside of a tokio runtime.
    pub fn new<E: Embedder + 'static>(protected: Protected<E>) -> Self {
        let protected = Arc::new(protected);
        Self(Arc::new(move |role, texts| {
            let protected = Arc::clone(&protected);
            let work = spawn_blocking(move || match role {
                Role::Document => protected.embed_documents(&texts),
                Role::Query => protected.embed_queries(&texts),
            });
            // what a panic says may hold a text
            Box::pin(
                async move { work.await.map_err(|_| Error::Embedder("it panicked or was stopped".into()))? },
            )
        }))
    }

    /// Wraps an async client.
    pub fn of_async<E: AsyncEmbedder + 'static>(protected: Protected<Async<E>>) -> Self {
        let protected = Arc::new(protected);
        Self(Arc::new(move |role, texts| {
            let protected = Arc::clone(&protected);
            Box::pin(async move {
                match role {
                    Role::Document => protected.embed_documents(&texts).await,
                    Role::Query => protected.embed_queries(&texts).await,
                }
            })
        }))
    }

    async fn embed(&self, role: Role, texts: Vec<String>) -> Result<Array2<f32>, EmbedderError> {
        let vectors = (self.0)(role, texts).await;
        vectors.map_err(|error| EmbedderError::FastEmbedError(format!("embosk: {error}")))
    }
}

#[async_trait]
impl langchain_rust::embedding::Embedder for ProtectedEmbedder {
    async fn embed_documents(&self, documents: &[String]) -> Result<Vec<Vec<f64>>, EmbedderError> {
        if documents.is_empty() {
            return Ok(Vec::new());
        }
        let vectors = self.embed(Role::Document, documents.to_vec()).await?;
        Ok(vectors.rows().into_iter().map(|row| row.iter().copied().map(f64::from).collect()).collect())
    }

    async fn embed_query(&self, text: &str) -> Result<Vec<f64>, EmbedderError> {
        let vectors = self.embed(Role::Query, vec![text.to_owned()]).await?;
        Ok(vectors.iter().copied().map(f64::from).collect())
    }
}

impl fmt::Debug for ProtectedEmbedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtectedEmbedder").finish_non_exhaustive()
    }
}

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
