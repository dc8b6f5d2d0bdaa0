//! Embedding functions: the trait, and the embedders that embosk can run itself.

#[cfg(feature = "evaluate")]
mod cache;
#[cfg(feature = "vec2text")]
mod sentence_transformer;

use std::sync::Arc;

use ndarray::Array2;

#[cfg(feature = "evaluate")]
pub use cache::EmbeddingCache;
#[cfg(feature = "vec2text")]
pub use embosk_models::SentenceTransformer;
#[cfg(feature = "vec2text")]
pub use sentence_transformer::{reference, reference_on};

use crate::BoxError;

/// Turns texts into vectors.
///
/// Implemented for closures of the same shape, and for `Arc` of an embedder.
///
/// ```
/// use embosk::Embedder;
/// use ndarray::Array2;
///
/// let lengths = |texts: &[&str]| -> Result<Array2<f32>, embosk::BoxError> {
///     Ok(Array2::from_shape_fn((texts.len(), 2), |(row, _)| texts[row].len() as f32))
/// };
/// assert_eq!(lengths.embed(&["one", "three"])?.dim(), (2, 2));
/// # Ok::<(), embosk::BoxError>(())
/// ```
pub trait Embedder: Send + Sync {
    /// Embeds `texts`: one row a text, `[texts, dim]`, in the order of the texts.
    ///
    /// # Errors
    /// Whatever the embedding function fails with.
    fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, BoxError>;
}

impl<F> Embedder for F
where
    F: Fn(&[&str]) -> Result<Array2<f32>, BoxError> + Send + Sync,
{
    fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self(texts)
    }
}

impl<E: Embedder + ?Sized> Embedder for Arc<E> {
    fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        (**self).embed(texts)
    }
}
