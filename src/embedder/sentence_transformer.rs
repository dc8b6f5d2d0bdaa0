//! Folders of sentence-transformers as embedders, and the one that is shipped.

use candle_core::Device;
use embosk_models::SentenceTransformer;
use ndarray::Array2;

use super::{Embedder, Identity, Normalizer};
use crate::{BoxError, Error, Role};

impl Embedder for SentenceTransformer {
    fn embed(&self, _: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        Ok(self.encode(texts)?)
    }

    fn dimension(&self) -> Option<usize> {
        Some(self.dimension())
    }

    fn normalizer(&self) -> Option<Normalizer> {
        Some(Normalizer::new(self.normalizer_name(), self.normalizing()))
    }

    fn identity(&self) -> Option<Identity> {
        let identity = Identity::new(self.to_string(), self.hash());
        // a GPU's products are less exact
        Some(if self.device().is_cpu() { identity } else { identity.on("a GPU") })
    }

    fn has_unit_norm(&self) -> Option<bool> {
        self.is_normalized().then_some(true)
    }
}

/// Loads the embedder that ships with the crate: a small T5 encoder, distilled from all-MiniLM-L6-v2.
///
/// ```
/// use embosk::{Embedder, Role};
///
/// let embedder = embosk::embedder::reference()?;
/// assert_eq!(embedder.embed(Role::Document, &["two", "texts"])?.dim(), (2, 384));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
///
/// # Errors
/// As [`shipped`](embosk_attacks::vec2text::shipped), where the crate was built without feature `reference`.
pub fn reference() -> Result<SentenceTransformer, Error> {
    reference_on(&Device::Cpu)
}

/// Loads the embedder that ships with the crate, to run on a device.
///
/// # Errors
/// As [`reference`], and where the device cannot hold the model.
pub fn reference_on(device: &Device) -> Result<SentenceTransformer, Error> {
    let folder = embosk_attacks::vec2text::shipped("reference")?.join("embedder");
    Ok(SentenceTransformer::load_on(folder, device)?.named("reference"))
}
