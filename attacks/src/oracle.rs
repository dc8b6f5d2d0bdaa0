//! The attacker's query access to an embedding function.

use ndarray::Array2;

use crate::{BoxError, WhiteBox};

/// Embeds texts for the attacker.
///
/// Attacked vectors are those of documents, so attacks call [`embed`](Self::embed). Closures with this
/// signature are oracles: `|texts: &[&str]| -> Result<Array2<f32>, BoxError> { … }`.
///
/// ```
/// use embosk_attacks::{BoxError, Oracle};
/// use ndarray::Array2;
///
/// let lengths = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
///     Ok(Array2::from_shape_fn((texts.len(), 1), |(row, _)| texts[row].len() as f32))
/// };
/// assert_eq!(Oracle::embed(&lengths, &["one", "three"])?[[1, 0]], 5.0);
/// # Ok::<(), BoxError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an oracle",
    note = "an oracle is a closure `|texts: &[&str]| -> Result<Array2<f32>, BoxError>`, or a type that implements \
            `Oracle`",
    note = "`Array2` must be that of the ndarray version that embosk uses: `embosk::ndarray`"
)]
pub trait Oracle {
    /// Embeds `texts` as documents, which is how the attacked texts were embedded: `[texts, dim]`.
    ///
    /// # Errors
    /// Whatever the embedding function fails with.
    fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, BoxError>;

    /// Embeds `texts` as queries, `[texts, dim]`. Default: as documents.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    fn embed_queries(&self, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self.embed(texts)
    }

    /// Returns access to the embedder's internals, for an attacker who has its weights. Default: `None`.
    fn white_box(&self) -> Option<&dyn WhiteBox> {
        None
    }
}

impl<F> Oracle for F
where
    F: Fn(&[&str]) -> Result<Array2<f32>, BoxError>,
{
    fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self(texts)
    }
}
