use ndarray::Array2;

use super::Embedder;
use crate::{BoxError, Role};

/// Takes the place of an embedder if vectors exist already and there is no embedder. It cannot embed anything.
///
/// ```
/// use embosk::embedder::NoEmbedder;
/// use embosk::{Embedder, Role};
///
/// let nobody = NoEmbedder::of(384);
/// assert_eq!(nobody.dimension(), Some(384));
/// assert!(nobody.embed(Role::Document, &["a letter"]).is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoEmbedder {
    dimension: usize,
}

impl NoEmbedder {
    /// Creates the placeholder for vectors with `dimension` dimensions.
    pub fn of(dimension: usize) -> Self {
        Self { dimension }
    }
}

impl Embedder for NoEmbedder {
    fn embed(&self, _: Role, _: &[&str]) -> Result<Array2<f32>, BoxError> {
        Err("there are only vectors, and no embedder to ask for those of other texts".into())
    }

    fn dimension(&self) -> Option<usize> {
        Some(self.dimension)
    }

    fn can_embed(&self) -> bool {
        false
    }
}
