//! Embedding functions: the trait, what an embedder says about itself, and the embedders that embosk can run.
//!
//! | what you have | what it is |
//! |---|---|
//! | a closure `\|texts: &[&str]\| -> Result<Array2<f32>, BoxError>` | already an [`Embedder`] |
//! | a closure that takes the role as well | an [`Embedder`] in [`ByRole`] |
//! | either, and you know its normalizer, its name, or its vectors' norm | an [`Embedder`] in [`Described`] |
//! | an async client, for [`Protected`](crate::Protected) | an [`AsyncEmbedder`] in [`Async`] |
//! | an async client, for an evaluation | an [`Embedder`] in [`Blocking`] |

mod asynchronous;
mod blocking;
#[cfg(feature = "evaluate")]
mod cache;
#[cfg(feature = "evaluate")]
mod checked;
mod described;
#[cfg(feature = "http")]
mod http;
mod identity;
mod normalizer;
mod nothing;
#[cfg(feature = "evaluate")]
mod oracle;
#[cfg(feature = "vec2text")]
mod sentence_transformer;
mod similarity;
#[cfg(feature = "evaluate")]
mod store;
#[cfg(test)]
mod tests;
mod vectors;

use std::ops::Range;
use std::sync::Arc;

#[cfg(feature = "evaluate")]
use embosk_attacks::WhiteBox;
use ndarray::Array2;

pub use asynchronous::{AnyEmbedder, Async, AsyncEmbedder};
pub use blocking::{Blocking, Request};
#[cfg(feature = "evaluate")]
pub use cache::EmbeddingCache;
#[cfg(feature = "evaluate")]
pub(crate) use checked::{check_finite, embed_checked};
pub use described::{ByRole, Described};
#[cfg(feature = "vec2text")]
pub use embosk_models::SentenceTransformer;
#[cfg(feature = "serve")]
pub(crate) use http::wire;
#[cfg(feature = "http")]
pub use http::{ApiKey, HttpEmbedder, RoleSettings, Roles, Service, Volume};
pub use identity::Identity;
pub use normalizer::Normalizer;
pub use nothing::NoEmbedder;
#[cfg(feature = "evaluate")]
pub use oracle::OracleOf;
#[cfg(feature = "vec2text")]
pub use sentence_transformer::{reference, reference_on};
pub use similarity::Similarity;
pub use vectors::IntoVectors;
pub(crate) use vectors::from_rows;

use crate::{BoxError, Role};

/// Turns texts into vectors, and says what is known about them.
///
/// Only [`embed`](Self::embed) is required. Most other methods return "unknown" by default; an evaluation
/// then makes an assumption and warns.
///
/// Closures `Fn(&[&str]) -> Result<Array2<f32>, _>` are embedders about which nothing is known: the role is
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
/// Your own type can say more:
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
/// An `Array2` from another version of ndarray is a different type. Use the one that embosk re-exports:
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
/// An async closure is not an embedder by itself. [`Async`] takes one that owns its texts:
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
    /// Embeds `texts` in a role: one row per text, `[texts, dim]`, in the order of the texts. A text gets the same vector
    /// each time, up to rounding; an evaluation checks this.
    ///
    /// # Errors
    /// Whatever the embedding function fails with.
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError>;

    /// Returns the dimension of the vectors, if it is known before a text is embedded. Default: unknown.
    fn dimension(&self) -> Option<usize> {
        None
    }

    /// Returns the normalizer that is applied to both sides of a comparison of texts. A model that
    /// lower-cases gives equal vectors for texts that differ only in case, so no attack can recover the case.
    /// Default: unknown.
    fn normalizer(&self) -> Option<Normalizer> {
        None
    }

    /// Returns the identity of the embedder, for signatures and caches. Default: unknown.
    fn identity(&self) -> Option<Identity> {
        None
    }

    /// Returns whether all vectors have norm 1. Default: unknown; an evaluation then measures it.
    fn has_unit_norm(&self) -> Option<bool> {
        None
    }

    /// Returns whether documents and queries are embedded differently. Default: no.
    fn has_roles(&self) -> bool {
        false
    }

    /// Returns how vectors are meant to be compared, which decides how re-ranking orders candidates. Default:
    /// unknown; the cosine is then taken. An evaluation orders candidates in the same way, and searches by cosine.
    fn similarity(&self) -> Option<Similarity> {
        None
    }

    /// Returns which bytes of a document the embedder reads: models cut texts beyond their length limit, and
    /// nothing can be recovered of what is cut off. Default: unknown; an evaluation then assumes the whole
    /// text.
    fn window(&self, document: &str) -> Option<Range<usize>> {
        let _ = document;
        None
    }

    /// Returns how many tokens the model reads when it embeds `texts` in a role, in all. Default: unknown.
    fn token_count(&self, role: Role, texts: &[&str]) -> Option<usize> {
        let _ = (role, texts);
        None
    }

    /// Returns what a reader of figures about this embedder should know, such as a setting that an evaluation
    /// does not follow. Each caveat becomes one of the report's warnings. Default: none.
    fn caveats(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns whether texts can be embedded at all. Default: yes. [`NoEmbedder`] cannot; an evaluation then refuses,
    /// by name, whatever needs an embedder.
    fn can_embed(&self) -> bool {
        true
    }

    /// Returns access to the model's internals, for attacks that follow its gradient. Default: `None`.
    #[cfg(feature = "evaluate")]
    fn white_box(&self) -> Option<&dyn WhiteBox> {
        None
    }
}

/// A closure, about which nothing is known.
impl<F, O> Embedder for F
where
    F: Fn(&[&str]) -> O + Send + Sync,
    O: IntoVectors,
{
    fn embed(&self, _: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self(texts).into_vectors()
    }
}

/// Asks another embedder in every method of [`Embedder`] but `embed`. With `shared`, only in those that
/// [`AsyncEmbedder`] has too.
macro_rules! forward {
    ($self:ident => $embedder:expr) => {
        $crate::embedder::forward!(shared, $self => $embedder);

        fn window(&$self, document: &str) -> Option<std::ops::Range<usize>> {
            $embedder.window(document)
        }

        fn token_count(&$self, role: $crate::Role, texts: &[&str]) -> Option<usize> {
            $embedder.token_count(role, texts)
        }

        fn caveats(&$self) -> Vec<String> {
            $embedder.caveats()
        }

        fn can_embed(&$self) -> bool {
            $embedder.can_embed()
        }

        #[cfg(feature = "evaluate")]
        fn white_box(&$self) -> Option<&dyn $crate::attacks::WhiteBox> {
            $embedder.white_box()
        }
    };
    (shared, $self:ident => $embedder:expr) => {
        fn dimension(&$self) -> Option<usize> {
            $embedder.dimension()
        }

        fn normalizer(&$self) -> Option<$crate::embedder::Normalizer> {
            $embedder.normalizer()
        }

        fn identity(&$self) -> Option<$crate::embedder::Identity> {
            $embedder.identity()
        }

        fn has_unit_norm(&$self) -> Option<bool> {
            $embedder.has_unit_norm()
        }

        fn has_roles(&$self) -> bool {
            $embedder.has_roles()
        }

        fn similarity(&$self) -> Option<$crate::embedder::Similarity> {
            $embedder.similarity()
        }
    };
}
pub(crate) use forward;

impl<E: Embedder + ?Sized> Embedder for Arc<E> {
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        (**self).embed(role, texts)
    }

    forward!(self => **self);
}

/// A box of a closure is a closure, so only the box of a trait object needs this.
impl Embedder for Box<dyn Embedder + '_> {
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        (**self).embed(role, texts)
    }

    forward!(self => **self);
}
