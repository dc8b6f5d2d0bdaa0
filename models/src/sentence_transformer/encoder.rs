//! The transformers that an embedder can have.

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::files::read_json;
use super::ragged::without_padding;
use crate::Error;
use crate::bert::{BertEncoder, Family};
use crate::kernels::embedding;
use crate::location::Location;
use crate::rotary::{Kind, RotaryEncoder};
use crate::t5::T5Encoder;
use crate::weights::Weights;

/// Values of `model_type`.
const RUNS: &str = "bert, roberta, xlm-roberta, mpnet, distilbert, modernbert, nomic_bert, qwen3 and t5";

pub(super) enum Encoder {
    Bert(Box<BertEncoder>),
    T5(T5Encoder),
    Rotary(RotaryEncoder),
    /// A vector for each token, `[vocabulary, width]`.
    Static(Tensor),
}

/// A transformer, and what its files say about it.
pub(super) struct Loaded {
    pub(super) encoder: Encoder,
    /// The width of the states.
    pub(super) width: usize,
    /// Tokens of the longest text that it can read; [`usize::MAX`] if there is no such limit.
    pub(super) longest: usize,
    /// Tokens of the longest text if the folder does not say.
    pub(super) usual: usize,
    /// The files of its weights.
    pub(super) weights: Vec<Location>,
}

impl Encoder {
    /// Loads the transformer that `config.json` of the folder names.
    pub(super) fn load(dir: &Location, device: &Device) -> Result<Loaded, Error> {
        #[derive(Deserialize)]
        struct Named {
            model_type: Option<String>,
        }
        let path = dir.join("config.json");
        let named: Named = read_json(&path)?;
        match named.model_type.as_deref() {
            Some("t5") => t5(dir, device),
            other if Family::of(other).is_some() => bert(dir, device),
            other => {
                if let Some(kind) = Kind::of(other) {
                    return rotary(dir, kind, device);
                }
                let message = format!("model_type is {}; {RUNS} can be run", other.unwrap_or_default());
                Err(Error::file(path.path(), message))
            }
        }
    }

    /// States `[batch, length, width]` of token ids `[batch, length]`, with a mask of the same shape: 1
    /// where there is a token and 0 where there is padding.
    pub(super) fn states(&self, ids: &Tensor, mask: &Tensor, padded: bool) -> candle_core::Result<Tensor> {
        match self {
            Self::Bert(model) if ids.device().is_cpu() => {
                let width = model.config().hidden_size;
                without_padding(ids, mask, width, |ids, lengths| model.states_on_cpu(ids, lengths))
            }
            Self::Bert(model) => model.states(ids, padded.then_some(mask)),
            Self::T5(model) => model.states(ids, &mask.to_dtype(DType::F32)?),
            Self::Rotary(model) => {
                let width = model.table().dim(1)?;
                without_padding(ids, mask, width, |ids, lengths| model.states(ids, lengths))
            }
            Self::Static(table) => {
                let (batch, length) = ids.dims2()?;
                embedding(table, &ids.flatten_all()?)?.reshape((batch, length, ()))
            }
        }
    }

    /// Whether the gradient of a text's states can be computed.
    pub(super) fn has_gradients(&self) -> bool {
        !matches!(self, Self::Rotary(_))
    }

    /// Whether the tokenizer's normalizer replaces spaces by a mark (U+2581), as T5's does.
    pub(super) fn marks_spaces(&self) -> bool {
        matches!(self, Self::T5(_))
    }
}

fn bert(dir: &Location, device: &Device) -> Result<Loaded, Error> {
    let weights = Weights::find(dir)?.files().into_iter().cloned().collect();
    let encoder = BertEncoder::load_on(dir, device)?;
    let (width, longest) = (encoder.config().hidden_size, encoder.config().longest());
    Ok(Loaded { encoder: Encoder::Bert(Box::new(encoder)), width, longest, usual: longest, weights })
}

fn t5(dir: &Location, device: &Device) -> Result<Loaded, Error> {
    let weights = Weights::find(dir)?.files().into_iter().cloned().collect();
    let encoder = T5Encoder::load_on(dir, device)?;
    // positions are relative, so a text may be as long as one likes; the folder says how long
    let (width, longest) = (encoder.width(), usize::MAX);
    Ok(Loaded { encoder: Encoder::T5(encoder), width, longest, usual: longest, weights })
}

fn rotary(dir: &Location, kind: Kind, device: &Device) -> Result<Loaded, Error> {
    let weights = Weights::find(dir)?.files().into_iter().cloned().collect();
    let encoder = RotaryEncoder::load_on(dir, kind, device)?;
    let width = encoder.table().dim(1)?;
    let usual = encoder.usual();
    // places are turned to, and there is a turn for each
    Ok(Loaded { encoder: Encoder::Rotary(encoder), width, longest: usize::MAX, usual, weights })
}
