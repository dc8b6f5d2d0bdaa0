use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::Array2;

use crate::embedder::forward;
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

    forward!(self => self.embedder);
}
