//! Encoders that rotate queries and keys by their position (rotary positions; Su et al., arXiv 2104.09864) and gate
//! their feed-forward layers.
//!
//! | model | norms | attention |
//! |---|---|---|
//! | ModernBERT (arXiv 2412.13663) | before each half of a layer, and a last one | in some layers, tokens see only those nearby |
//! | NomicBERT (arXiv 2402.01613) | after each half of a layer | all tokens see each other |
//! | Qwen3 (arXiv 2505.09388), for embedders such as Qwen3-Embedding | as in ModernBERT, by the root mean square | tokens see those before them; heads share keys and values |
//!
//! candle-transformers has these models too. It hands their layers to thread pools of the whole process, and its
//! Qwen3 keeps state from every text that it reads.

mod attention;
mod config;
mod layer;
mod modernbert;
mod nomic;
mod qwen3;
mod turns;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;

use self::layer::{Layer, Norm};
use crate::Error;
use crate::kernels::{add, embedding};
use crate::location::Location;
use crate::weights::Weights;

/// The models that can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ModernBert,
    NomicBert,
    Qwen3,
}

impl Kind {
    pub(crate) fn of(model_type: Option<&str>) -> Option<Self> {
        match model_type? {
            "modernbert" => Some(Self::ModernBert),
            "nomic_bert" => Some(Self::NomicBert),
            "qwen3" => Some(Self::Qwen3),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ModernBert => "ModernBERT",
            Self::NomicBert => "NomicBERT",
            Self::Qwen3 => "Qwen3",
        }
    }
}

/// An encoder, run on texts without padding.
#[derive(Debug, Clone)]
pub(crate) struct RotaryEncoder {
    /// `[vocabulary, width]`.
    words: Tensor,
    /// What is added to every token of a text, `[width]`, in models with kinds of tokens.
    kind: Option<Tensor>,
    first_norm: Option<Norm>,
    layers: Vec<Layer>,
    last_norm: Option<Norm>,
    /// The longest text that the model was made for; a longer one can be run.
    usual: usize,
}

impl RotaryEncoder {
    /// Loads a folder with `config.json` and weights, to run on a device.
    ///
    /// # Errors
    /// [`Error::File`] if a file is missing, damaged or not that of such a model, or asks for something that cannot
    /// be run.
    pub(crate) fn load_on(dir: &Location, kind: Kind, device: &Device) -> std::result::Result<Self, Error> {
        let path = dir.join("config.json");
        let mut weights = Weights::find(dir)?;
        let tensors = weights.tensors()?;
        let vb = VarBuilder::from_tensors(tensors, DType::F32, device);
        let loaded = match kind {
            Kind::ModernBert => modernbert::load(&vb, &config::read(&path)?),
            Kind::NomicBert => nomic::load(&vb, &config::read(&path)?),
            Kind::Qwen3 => qwen3::load(&vb, &config::read(&path)?),
        };
        loaded.map_err(|error| {
            let name = kind.name();
            Error::file(weights.path(), format!("the weights are damaged or not a {name} model's: {error}"))
        })
    }

    /// The embeddings of all tokens, `[vocabulary, width]`.
    pub(crate) fn table(&self) -> &Tensor {
        &self.words
    }

    /// Tokens of the longest text that the model was made for.
    pub(crate) fn usual(&self) -> usize {
        self.usual
    }

    /// Computes states `[tokens, width]` of concatenated texts; `lengths` says how many tokens each has.
    pub(crate) fn states(&self, ids: &[u32], lengths: &[usize]) -> Result<Tensor> {
        let ids = Tensor::from_slice(ids, ids.len(), self.words.device())?;
        let mut states = embedding(&self.words, &ids)?;
        if let Some(kind) = &self.kind {
            states = add(&states, kind)?;
        }
        if let Some(norm) = &self.first_norm {
            states = norm.forward(&states)?;
        }
        for layer in &self.layers {
            states = layer.forward(&states, lengths)?;
        }
        match &self.last_norm {
            Some(norm) => norm.forward(&states),
            None => Ok(states),
        }
    }
}
