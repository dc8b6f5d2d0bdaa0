//! Embedding functions: the trait, what an embedder says of itself, and the embedders that embosk can run.
//!
//! | what you have | what it is |
//! |---|---|
//! | a closure `\|texts: &[&str]\| -> Result<Array2<f32>, BoxError>` | an [`Embedder`] as it is |
//! | a closure that takes the role as well | an [`Embedder`] in [`ByRole`] |
//! | either, and you know its normalizer, its name, or its vectors' norm | an [`Embedder`] in [`Described`] |
//! | an async client, for [`Protected`](crate::Protected) | an [`AsyncEmbedder`] in [`Async`] |
//! | an async client, for an evaluation | an [`Embedder`] by [`Blocking`] |

mod asynchronous;
mod blocking;
#[cfg(feature = "evaluate")]
mod cache;
mod described;
mod identity;
mod normalizer;
#[cfg(feature = "evaluate")]
mod oracle;
#[cfg(feature = "vec2text")]
mod sentence_transformer;
#[cfg(test)]
mod tests;
mod vectors;

use std::sync::Arc;

#[cfg(feature = "evaluate")]
use embosk_attacks::WhiteBox;
use ndarray::Array2;

pub use asynchronous::{AnyEmbedder, Async, AsyncEmbedder};
pub use blocking::{Blocking, Request};
#[cfg(feature = "evaluate")]
pub use cache::EmbeddingCache;
pub use described::{ByRole, Described};
#[cfg(feature = "vec2text")]
pub use embosk_models::SentenceTransformer;
pub use identity::Identity;
pub use normalizer::Normalizer;
#[cfg(feature = "evaluate")]
pub use oracle::OracleOf;
#[cfg(feature = "vec2text")]
pub use sentence_transformer::{reference, reference_on};
pub use vectors::IntoVectors;
pub(crate) use vectors::from_rows;

use crate::{BoxError, Role};

/// Turns texts into vectors, and says what is known of them.
///
/// Only [`embed`](Self::embed) is required. Everything else has a default that says "unknown"; an evaluation
/// warns of what it has to assume.
///
/// Closures `Fn(&[&str]) -> Result<Array2<f32>, _>` are embedders of which nothing is known: the role is
/// ignored. `Arc<E>` and `Box<dyn Embedder>` forward every method.
///
/// ```
/// use embosk::{BoxError, Embedder, Role};
/// use ndarray::Array2;
///
/// let lengths = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
///     Ok(Array2::from_shape_fn((texts.len(), 2), |(row, _)| texts[row].len() as f32))
/// };
/// assert_eq!(lengths.embed(Role::Document, &["one", "three"])?.dim(), (2, 2));
/// # Ok::<(), BoxError>(())
/// ```
///
/// A type of your own says more:
///
/// ```
/// use embosk::embedder::{Identity, Normalizer};
/// use embosk::{BoxError, Embedder, Role};
/// use ndarray::Array2;
///
/// /// A model that wants "query: " before a question and "passage: " before a text that answers it.
/// struct E5;
///
/// impl Embedder for E5 {
///     fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
///         let prompt = if role == Role::Query { "query: " } else { "passage: " };
///         let texts: Vec<String> = texts.iter().map(|text| format!("{prompt}{text}")).collect();
///         // run the model here
/// #       let unit = Array2::ones((texts.len(), 4)) / 2.0;
/// #       Ok(unit)
///     }
///
///     fn has_roles(&self) -> bool {
///         true
///     }
///
///     fn normalizer(&self) -> Option<Normalizer> {
///         Some(Normalizer::none()) // the model reads case and accents
///     }
///
///     fn identity(&self) -> Option<Identity> {
///         Some(Identity::new("e5", "sha256-of-the-weights"))
///     }
///
///     fn has_unit_norm(&self) -> Option<bool> {
///         Some(true)
///     }
/// }
/// # assert_eq!(E5.embed(Role::Query, &["who?"])?.dim(), (1, 4));
/// # Ok::<(), BoxError>(())
/// ```
///
/// An `Array2` of another version of ndarray is another type. Take the one that embosk re-exports:
///
/// ```compile_fail,E0277
/// mod ndarray16 {
///     pub struct Array2<T>(pub Vec<T>); // stands in for another version
/// }
/// let embed = |texts: &[&str]| -> Result<ndarray16::Array2<f32>, embosk::BoxError> {
///     Ok(ndarray16::Array2(vec![0.0; texts.len()]))
/// };
/// embosk::Protected::new(embed);
/// ```
///
/// An async closure is no embedder by itself. [`Async`] takes one that owns its texts:
///
/// ```compile_fail,E0277
/// let embed = async |texts: &[&str]| -> Result<embosk::ndarray::Array2<f32>, embosk::BoxError> {
///     Ok(embosk::ndarray::Array2::ones((texts.len(), 2)))
/// };
/// embosk::Protected::new(embed);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an embedder",
    note = "an embedder is a closure `|texts: &[&str]| -> Result<Array2<f32>, BoxError>`, or a type that implements \
            `embosk::Embedder`",
    note = "an async client goes into `embosk::embedder::Async` to be protected, and into \
            `embosk::embedder::Blocking` to be evaluated"
)]
pub trait Embedder: Send + Sync {
    /// Embeds `texts` in a role: one row a text, `[texts, dim]`, in the order of the texts.
    ///
    /// # Errors
    /// Whatever the embedding function fails with.
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError>;

    /// The dimension of the vectors, where it is known before a text is embedded. Default: unknown.
    fn dimension(&self) -> Option<usize> {
        None
    }

    /// What both sides of a comparison of texts go through. A model that lower-cases gives texts that differ
    /// in case equal vectors, so no attack can bring the case back. Default: unknown.
    fn normalizer(&self) -> Option<Normalizer> {
        None
    }

    /// Which embedder it is, for signatures and caches. Default: unknown.
    fn identity(&self) -> Option<Identity> {
        None
    }

    /// Whether all vectors have norm 1. Default: unknown; an evaluation then measures it.
    fn has_unit_norm(&self) -> Option<bool> {
        None
    }

    /// Whether documents and queries are embedded differently. Default: no.
    fn has_roles(&self) -> bool {
        false
    }

    /// What a reader of figures about this embedder should know, such as a setting that an evaluation does not
    /// follow. Each goes into the report's warnings. Default: nothing.
    fn caveats(&self) -> Vec<String> {
        Vec::new()
    }

    /// The model's insides, for attacks that follow its gradient. Default: closed.
    #[cfg(feature = "evaluate")]
    fn white_box(&self) -> Option<&dyn WhiteBox> {
        None
    }
}

/// A closure, of which nothing is known.
impl<F, O> Embedder for F
where
    F: Fn(&[&str]) -> O + Send + Sync,
    O: IntoVectors,
{
    fn embed(&self, _: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self(texts).into_vectors()
    }
}

/// Every method, forwarded to what `**self` is.
macro_rules! forward {
    () => {
        fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
            (**self).embed(role, texts)
        }

        fn dimension(&self) -> Option<usize> {
            (**self).dimension()
        }

        fn normalizer(&self) -> Option<Normalizer> {
            (**self).normalizer()
        }

        fn identity(&self) -> Option<Identity> {
            (**self).identity()
        }

        fn has_unit_norm(&self) -> Option<bool> {
            (**self).has_unit_norm()
        }

        fn has_roles(&self) -> bool {
            (**self).has_roles()
        }

        fn caveats(&self) -> Vec<String> {
            (**self).caveats()
        }

        #[cfg(feature = "evaluate")]
        fn white_box(&self) -> Option<&dyn WhiteBox> {
            (**self).white_box()
        }
    };
}

impl<E: Embedder + ?Sized> Embedder for Arc<E> {
    forward!();
}

/// A box of a closure is a closure, so only the box of a trait object needs this.
impl Embedder for Box<dyn Embedder + '_> {
    forward!();
}
