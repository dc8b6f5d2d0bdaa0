use std::fmt;

use embosk_attacks::{Oracle, WhiteBox};
use ndarray::Array2;

use super::Embedder;
use crate::{BoxError, Role};

/// Makes an embedder an attack's [`Oracle`], which embeds attacked texts as documents.
///
/// ```
/// use embosk::attacks::Oracle;
/// use embosk::embedder::OracleOf;
/// use embosk::{BoxError, Embedder};
/// use ndarray::Array2;
///
/// let embedder = |texts: &[&str]| -> Result<Array2<f32>, BoxError> { Ok(Array2::ones((texts.len(), 8))) };
/// assert_eq!(OracleOf(&embedder).embed(&["a letter"])?.dim(), (1, 8));
/// # Ok::<(), BoxError>(())
/// ```
#[derive(Clone, Copy)]
pub struct OracleOf<'a>(pub &'a dyn Embedder);

impl Oracle for OracleOf<'_> {
    fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self.0.embed(Role::Document, texts)
    }

    fn embed_queries(&self, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self.0.embed(Role::Query, texts)
    }

    fn white_box(&self) -> Option<&dyn WhiteBox> {
        self.0.white_box()
    }
}

impl fmt::Debug for OracleOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OracleOf").field(&self.0.identity()).finish()
    }
}
