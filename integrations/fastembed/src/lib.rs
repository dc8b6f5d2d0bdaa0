//! Models of fastembed as embedders of embosk.
//!
//! [`FastEmbed`] puts fastembed's [`TextEmbedding`] behind embosk's [`Embedder`], to protect its vectors or to measure
//! what they leak. [`Prompts`] says what a model wants before documents and queries.

mod prompts;

use std::fmt;
use std::sync::{Mutex, PoisonError};

use embosk::embedder::IntoVectors as _;
use embosk::ndarray::Array2;
use embosk::{BoxError, Embedder, Role};
use fastembed::TextEmbedding;

pub use prompts::Prompts;

/// A model of fastembed as an embedder.
///
/// fastembed leaves prompts to its users: without [`prompts`](Self::prompts), documents and queries are embedded alike.
/// Its vectors have norm 1. What else is known of a model, such as its name and what it makes of capitals, is added with
/// [`Described`](embosk::embedder::Described).
///
/// A model embeds one batch at a time; calls from several threads wait for each other. ONNX Runtime uses all cores for
/// each batch unless it is told otherwise.
pub struct FastEmbed {
    model: Mutex<TextEmbedding>,
    prompts: Prompts,
}

impl FastEmbed {
    /// Wraps a model, without prompts.
    pub fn new(model: TextEmbedding) -> Self {
        Self { model: Mutex::new(model), prompts: Prompts::default() }
    }

    /// Sets what stands before documents and queries.
    pub fn prompts(self, prompts: Prompts) -> Self {
        Self { prompts, ..self }
    }
}

impl Embedder for FastEmbed {
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        // which fastembed refuses
        if texts.is_empty() {
            return Ok(Array2::zeros((0, 0)));
        }
        let prompt = self.prompts.of_role(role);
        let texts: Vec<String> = texts.iter().map(|text| format!("{prompt}{text}")).collect();
        // what a call that panicked has left is not read again
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        model.embed(texts, None).into_vectors()
    }

    fn has_unit_norm(&self) -> Option<bool> {
        Some(true)
    }

    fn has_roles(&self) -> bool {
        self.prompts.differ()
    }
}

impl fmt::Debug for FastEmbed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FastEmbed").field("prompts", &self.prompts).finish_non_exhaustive()
    }
}

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
