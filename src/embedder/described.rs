//! Closures with a description that their type cannot give.

use std::fmt;
use std::ops::Range;

#[cfg(feature = "evaluate")]
use embosk_attacks::WhiteBox;
use ndarray::Array2;

use super::{AsyncEmbedder, Embedder, Identity, IntoVectors, Normalizer, Similarity};
use crate::{BoxError, Role};

/// Adds a description to an embedder, for closures and for clients whose type says nothing.
///
/// Whatever is not set here is taken from the embedder itself.
///
/// ```
/// use embosk::embedder::{Described, Identity, Normalizer};
/// use embosk::{BoxError, Embedder};
/// use ndarray::Array2;
///
/// let embed = |texts: &[&str]| -> Result<Array2<f32>, BoxError> { Ok(Array2::ones((texts.len(), 4)) / 2.0) };
/// let embedder = Described::new(embed)
///     .identity(Identity::new("toy", "toy-1"))
///     .normalizer(Normalizer::lowercase())
///     .dimension(4)
///     .unit_norm(true);
/// assert_eq!(Embedder::dimension(&embedder), Some(4));
/// ```
#[derive(Clone)]
pub struct Described<E> {
    embedder: E,
    dimension: Option<usize>,
    normalizer: Option<Normalizer>,
    identity: Option<Identity>,
    unit_norm: Option<bool>,
    similarity: Option<Similarity>,
}

impl<E> Described<E> {
    /// Wraps `embedder`, without any description yet.
    pub fn new(embedder: E) -> Self {
        Self {
            embedder,
            dimension: None,
            normalizer: None,
            identity: None,
            unit_norm: None,
            similarity: None,
        }
    }

    /// Sets the dimension of the vectors.
    pub fn dimension(self, dimension: usize) -> Self {
        Self { dimension: Some(dimension), ..self }
    }

    /// Sets the normalizer, which is applied to both sides of a comparison.
    pub fn normalizer(self, normalizer: Normalizer) -> Self {
        Self { normalizer: Some(normalizer), ..self }
    }

    /// Sets the identity of the embedder.
    pub fn identity(self, identity: Identity) -> Self {
        Self { identity: Some(identity), ..self }
    }

    /// Sets whether all vectors have norm 1.
    pub fn unit_norm(self, unit_norm: bool) -> Self {
        Self { unit_norm: Some(unit_norm), ..self }
    }

    /// Sets how vectors are meant to be compared.
    pub fn similarity(self, similarity: Similarity) -> Self {
        Self { similarity: Some(similarity), ..self }
    }
}

/// The methods that both traits share.
macro_rules! described {
    () => {
        fn dimension(&self) -> Option<usize> {
            self.dimension.or_else(|| self.embedder.dimension())
        }

        fn normalizer(&self) -> Option<Normalizer> {
            self.normalizer.clone().or_else(|| self.embedder.normalizer())
        }

        fn identity(&self) -> Option<Identity> {
            self.identity.clone().or_else(|| self.embedder.identity())
        }

        fn has_unit_norm(&self) -> Option<bool> {
            self.unit_norm.or_else(|| self.embedder.has_unit_norm())
        }

        fn has_roles(&self) -> bool {
            self.embedder.has_roles()
        }

        fn similarity(&self) -> Option<Similarity> {
            self.similarity.or_else(|| self.embedder.similarity())
        }
    };
}

impl<E: Embedder> Embedder for Described<E> {
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self.embedder.embed(role, texts)
    }

    described!();

    fn window(&self, document: &str) -> Option<Range<usize>> {
        self.embedder.window(document)
    }

    fn token_count(&self, role: Role, texts: &[&str]) -> Option<usize> {
        self.embedder.token_count(role, texts)
    }

    fn caveats(&self) -> Vec<String> {
        self.embedder.caveats()
    }

    fn can_embed(&self) -> bool {
        self.embedder.can_embed()
    }

    #[cfg(feature = "evaluate")]
    fn white_box(&self) -> Option<&dyn WhiteBox> {
        self.embedder.white_box()
    }
}

impl<E: AsyncEmbedder> AsyncEmbedder for Described<E> {
    async fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self.embedder.embed(role, texts).await
    }

    described!();
}

impl<E> fmt::Debug for Described<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Described")
            .field("dimension", &self.dimension)
            .field("normalizer", &self.normalizer)
            .field("identity", &self.identity)
            .field("unit_norm", &self.unit_norm)
            .field("similarity", &self.similarity)
            .finish_non_exhaustive()
    }
}

/// A closure that takes the role as well, for models that embed documents and queries differently.
///
/// ```
/// use embosk::embedder::ByRole;
/// use embosk::{BoxError, Embedder, Role};
/// use ndarray::Array2;
///
/// let embedder = ByRole(|role: Role, texts: &[&str]| -> Result<Array2<f32>, BoxError> {
///     let prompt = if role == Role::Query { "query: " } else { "passage: " };
///     Ok(Array2::from_elem((texts.len(), 2), prompt.len() as f32))
/// });
/// assert!(embedder.has_roles());
/// assert_ne!(embedder.embed(Role::Query, &["a"])?, embedder.embed(Role::Document, &["a"])?);
/// # Ok::<(), BoxError>(())
/// ```
#[derive(Clone, Copy)]
pub struct ByRole<F>(pub F);

impl<F, O> Embedder for ByRole<F>
where
    F: Fn(Role, &[&str]) -> O + Send + Sync,
    O: IntoVectors,
{
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        (self.0)(role, texts).into_vectors()
    }

    fn has_roles(&self) -> bool {
        true
    }
}

/// An async closure owns its texts.
impl<F, O> AsyncEmbedder for ByRole<F>
where
    F: Fn(Role, Vec<String>) -> O + Send + Sync,
    O: Future<Output: IntoVectors> + Send,
{
    async fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        let answer = (self.0)(role, texts.iter().map(ToString::to_string).collect());
        answer.await.into_vectors()
    }

    fn has_roles(&self) -> bool {
        true
    }
}

impl<F> fmt::Debug for ByRole<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ByRole").finish_non_exhaustive()
    }
}
