//! Folders of sentence-transformers as embedders, and the embedder that ships with the crate.

use std::ops::Range;

use candle_core::Device;
use embosk_attacks::WhiteBox;
use embosk_models::SentenceTransformer;
use embosk_models::sentence_transformer::Similarity;
use ndarray::Array2;

use super::{Embedder, Identity, Normalizer};
use crate::{BoxError, Error, Role};

impl Embedder for SentenceTransformer {
    /// Documents and queries have the prompts that the folder names for them.
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        Ok(match role {
            Role::Document => self.encode_documents(texts)?,
            Role::Query => self.encode_queries(texts)?,
        })
    }

    fn dimension(&self) -> Option<usize> {
        Some(self.dimension())
    }

    fn normalizer(&self) -> Option<Normalizer> {
        Some(Normalizer::new(self.normalizer_name(), self.normalizing()))
    }

    fn identity(&self) -> Option<Identity> {
        let identity = Identity::new(self.to_string(), self.hash()).code(embosk_models::CODE);
        // a GPU's products are less exact
        Some(if self.device().is_cpu() { identity } else { identity.on("a GPU") })
    }

    fn has_unit_norm(&self) -> Option<bool> {
        self.is_normalized().then_some(true)
    }

    fn has_roles(&self) -> bool {
        self.has_roles()
    }

    fn window(&self, document: &str) -> Option<Range<usize>> {
        self.window(document).ok()
    }

    fn token_count(&self, role: Role, texts: &[&str]) -> Option<usize> {
        let count = match role {
            Role::Document => self.document_tokens(texts),
            Role::Query => self.query_tokens(texts),
        };
        count.ok()
    }

    fn similarity(&self) -> Option<super::Similarity> {
        Some(match self.similarity() {
            Similarity::Dot => super::Similarity::Dot,
            Similarity::Euclidean => super::Similarity::Euclidean,
            Similarity::Manhattan => super::Similarity::Manhattan,
            _ => super::Similarity::Cosine,
        })
    }

    /// Its gradients are computed only on the CPU.
    fn white_box(&self) -> Option<&dyn WhiteBox> {
        self.device().is_cpu().then_some(self)
    }

    /// Warns if the folder's similarity ranks vectors in another order than the cosine does.
    fn caveats(&self) -> Vec<String> {
        let similarity = self.similarity();
        let as_cosine = match similarity {
            Similarity::Cosine => true,
            Similarity::Dot | Similarity::Euclidean => self.is_normalized(),
            _ => false,
        };
        if as_cosine {
            return Vec::new();
        }
        vec![format!(
            "{self} is meant to be searched by another similarity (config_sentence_transformers.json: \
             similarity_fn_name is {}), but documents are ranked by cosine here, so retrieval may be better or worse in \
             use",
            similarity.name()
        )]
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
/// As [`shipped`](embosk_attacks::vec2text::shipped), if the crate was built without the feature `reference`.
pub fn reference() -> Result<SentenceTransformer, Error> {
    reference_on(&Device::Cpu)
}

/// Loads the embedder that ships with the crate, to run on a device.
///
/// # Errors
/// As [`reference`](fn@reference), and if the device cannot hold the model.
pub fn reference_on(device: &Device) -> Result<SentenceTransformer, Error> {
    let folder = embosk_attacks::vec2text::shipped("reference")?.join("embedder");
    Ok(SentenceTransformer::load_on(folder, device)?.named("reference"))
}
