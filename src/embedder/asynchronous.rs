//! Async embedding functions.

use std::fmt;
use std::sync::Arc;

use ndarray::Array2;

use super::{Embedder, Identity, IntoVectors, Normalizer, Similarity, forward};
use crate::{BoxError, Role};

/// Turns texts into vectors asynchronously, such as a client of a hosted model: the async [`Embedder`].
///
/// Closures and functions `Fn(Vec<String>) -> impl Future<Output = Result<Array2<f32>, _>> + Send` are async
/// embedders. They own their texts, because a future that borrows from its arguments cannot be named in a
/// bound. An async closure that captures a client needs a clone of it for each call:
///
/// ```
/// use std::sync::Arc;
///
/// use embosk::embedder::Async;
/// use embosk::{BoxError, Protected, Quantization};
/// use ndarray::Array2;
///
/// struct Client;
/// impl Client {
///     async fn embeddings(&self, texts: Vec<String>) -> Result<Array2<f32>, BoxError> {
///         Ok(Array2::ones((texts.len(), 8)))
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let client = Arc::new(Client);
/// let embed = move |texts: Vec<String>| {
///     let client = Arc::clone(&client);
///     async move { client.embeddings(texts).await }
/// };
/// let protected = Protected::new(Async(embed)).with(Quantization::new(8)?);
/// assert_eq!(protected.embed_documents(&["a letter"]).await?.dim(), (1, 8));
/// # Ok::<(), embosk::Error>(())
/// # })?;
/// # Ok::<(), BoxError>(())
/// ```
///
/// A type implements the trait with an `async fn`:
///
/// ```
/// use embosk::embedder::AsyncEmbedder;
/// use embosk::{BoxError, Role};
/// use ndarray::Array2;
///
/// struct Client;
///
/// impl AsyncEmbedder for Client {
///     async fn embed(&self, _: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
///         Ok(Array2::ones((texts.len(), 8)))
///     }
///
///     fn dimension(&self) -> Option<usize> {
///         Some(8)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an async embedder",
    note = "an async embedder is a closure `|texts: Vec<String>| async move {{ … }}` whose future is `Send`, or a type that \
            implements `embosk::embedder::AsyncEmbedder`",
    note = "a closure that captures a client clones it for each call: `move |texts: Vec<String>| {{ let client = \
            client.clone(); async move {{ … }} }}`"
)]
pub trait AsyncEmbedder: Send + Sync {
    /// Embeds `texts` in a role: one row per text, `[texts, dim]`, in the order of the texts.
    ///
    /// # Errors
    /// Whatever the embedding function fails with.
    fn embed(&self, role: Role, texts: &[&str])
    -> impl Future<Output = Result<Array2<f32>, BoxError>> + Send;

    /// Returns what [`Embedder::dimension`] does.
    fn dimension(&self) -> Option<usize> {
        None
    }

    /// Returns what [`Embedder::normalizer`] does.
    fn normalizer(&self) -> Option<Normalizer> {
        None
    }

    /// Returns what [`Embedder::identity`] does.
    fn identity(&self) -> Option<Identity> {
        None
    }

    /// Returns what [`Embedder::has_unit_norm`] does.
    fn has_unit_norm(&self) -> Option<bool> {
        None
    }

    /// Returns what [`Embedder::has_roles`] does.
    fn has_roles(&self) -> bool {
        false
    }

    /// Returns what [`Embedder::similarity`] does.
    fn similarity(&self) -> Option<Similarity> {
        None
    }
}

/// A closure, about which nothing is known.
impl<F, O> AsyncEmbedder for F
where
    F: Fn(Vec<String>) -> O + Send + Sync,
    O: Future<Output: IntoVectors> + Send,
{
    async fn embed(&self, _: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        let answer = self(texts.iter().map(ToString::to_string).collect());
        answer.await.into_vectors()
    }
}

impl<E: AsyncEmbedder> AsyncEmbedder for Arc<E> {
    async fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        (**self).embed(role, texts).await
    }

    forward!(shared, self => **self);
}

/// Marks an embedder as async, so that the methods of [`Protected`](crate::Protected) are awaited.
///
/// `Protected::new(Async(client)).embed_documents(texts).await` works under any executor. See
/// [`AsyncEmbedder`] for what it can hold.
#[derive(Clone, Copy, Default)]
pub struct Async<E>(pub E);

impl<E> fmt::Debug for Async<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Async").finish_non_exhaustive()
    }
}

/// An [`Embedder`], or an [`AsyncEmbedder`] in [`Async`]: what [`Protected`](crate::Protected) takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an embedder",
    note = "an embedder is a closure `|texts: &[&str]| -> Result<Array2<f32>, BoxError>`, a type that implements \
            `embosk::Embedder`, or an async client in `embosk::embedder::Async`"
)]
pub trait AnyEmbedder {
    /// Returns what [`Embedder::similarity`] or [`AsyncEmbedder::similarity`] does.
    fn stated_similarity(&self) -> Option<Similarity>;
}

impl<E: Embedder> AnyEmbedder for E {
    fn stated_similarity(&self) -> Option<Similarity> {
        self.similarity()
    }
}

impl<E: AsyncEmbedder> AnyEmbedder for Async<E> {
    fn stated_similarity(&self) -> Option<Similarity> {
        self.0.similarity()
    }
}
