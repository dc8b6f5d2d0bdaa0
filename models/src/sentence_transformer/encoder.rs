//! The transformers that an embedder can have.

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::files::read_json;
use crate::Error;
use crate::bert::BertEncoder;
use crate::kernels::embedding;
use crate::location::Location;
use crate::t5::T5Encoder;
use crate::weights::Weights;

pub(super) enum Encoder {
    Bert(Box<BertEncoder>),
    T5(T5Encoder),
    /// A vector for each token, `[vocabulary, width]`.
    Static(Tensor),
}

/// A transformer, and what its files say of it.
pub(super) struct Loaded {
    pub(super) encoder: Encoder,
    /// The width of the states.
    pub(super) width: usize,
    /// Tokens of the longest text it can read; [`usize::MAX`] where there is no such limit.
    pub(super) longest: usize,
    /// The files of its weights.
    pub(super) weights: Vec<Location>,
}

impl Encoder {
    /// Loads the transformer that `config.json` of the folder names.
    pub(super) fn load(dir: &Location, device: &Device) -> Result<Loaded, Error> {
        #[derive(Deserialize)]
        struct Kind {
            model_type: Option<String>,
        }
        let path = dir.join("config.json");
        let kind: Kind = read_json(&path)?;
        match kind.model_type.as_deref() {
            Some("bert") | None => bert(dir, device),
            Some("t5") => t5(dir, device),
            Some(other) => {
                Err(Error::file(path.path(), format!("model_type is {other}; bert and t5 can be run")))
            }
        }
    }

    /// States `[batch, length, width]` of token ids `[batch, length]`, with a mask of the same shape: 1
    /// where there is a token and 0 where there is padding.
    pub(super) fn states(&self, ids: &Tensor, mask: &Tensor, padded: bool) -> candle_core::Result<Tensor> {
        match self {
            Self::Bert(model) => model.states(ids, padded.then_some(mask)),
            Self::T5(model) => model.states(ids, &mask.to_dtype(DType::F32)?),
            Self::Static(table) => {
                let (batch, length) = ids.dims2()?;
                embedding(table, &ids.flatten_all()?)?.reshape((batch, length, ()))
            }
        }
    }

    /// Whether the tokenizer's normalizer puts a mark of its own (U+2581) in place of spaces, as T5's does.
    pub(super) fn marks_spaces(&self) -> bool {
        matches!(self, Self::T5(_))
    }
}

fn bert(dir: &Location, device: &Device) -> Result<Loaded, Error> {
    let weights = Weights::find(dir)?.files().into_iter().cloned().collect();
    let encoder = BertEncoder::load_on(dir, device)?;
    let (width, longest) = (encoder.config().hidden_size, encoder.config().max_position_embeddings);
    Ok(Loaded { encoder: Encoder::Bert(Box::new(encoder)), width, longest, weights })
}

fn t5(dir: &Location, device: &Device) -> Result<Loaded, Error> {
    let weights = Weights::find(dir)?.files().into_iter().cloned().collect();
    let encoder = T5Encoder::load_on(dir, device)?;
    // positions are relative, so a text may be as long as one likes; the folder says how long
    Ok(Loaded { width: encoder.width(), encoder: Encoder::T5(encoder), longest: usize::MAX, weights })
}
