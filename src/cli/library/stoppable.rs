use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::Array2;

use crate::attacks::WhiteBox;
use crate::embedder::{Identity, Normalizer, Similarity};
use crate::{BoxError, Embedder, Role};

/// An embedder that fails as soon as somebody says stop, so that whatever needs it ends.
pub(super) struct Stoppable {
    pub(super) embedder: Arc<dyn Embedder>,
    pub(super) stop: Arc<AtomicBool>,
}

impl Embedder for Stoppable {
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err("it was stopped".into());
        }
        self.embedder.embed(role, texts)
    }

    fn dimension(&self) -> Option<usize> {
        self.embedder.dimension()
    }

    fn normalizer(&self) -> Option<Normalizer> {
        self.embedder.normalizer()
    }

    fn identity(&self) -> Option<Identity> {
        self.embedder.identity()
    }

    fn has_unit_norm(&self) -> Option<bool> {
        self.embedder.has_unit_norm()
    }

    fn has_roles(&self) -> bool {
        self.embedder.has_roles()
    }

    fn similarity(&self) -> Option<Similarity> {
        self.embedder.similarity()
    }

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

    fn white_box(&self) -> Option<&dyn WhiteBox> {
        self.embedder.white_box()
    }
}
