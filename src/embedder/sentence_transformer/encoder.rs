//! The transformers that an embedder can have.

use std::fmt;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use embosk_attacks::Location;
use embosk_attacks::vec2text::{T5Encoder, Weights};
use serde::Deserialize;

use super::read_json;
use crate::Error;

/// Tokens of the longest text where nothing says so: T5's own limit in training.
const T5_LENGTH: usize = 512;

pub(super) enum Encoder {
    Bert(Box<BertModel>),
    T5(T5Encoder),
}

/// A transformer, and what its files say of it.
pub(super) struct Loaded {
    pub(super) encoder: Encoder,
    /// The width of the states.
    pub(super) width: usize,
    /// Tokens of the longest text it can read.
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
            Some("bert") | None => bert(dir, &path, device),
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
            Self::Bert(model) => model.forward(ids, &ids.zeros_like()?, padded.then_some(mask)),
            Self::T5(model) => model.states(ids, &mask.to_dtype(DType::F32)?),
        }
    }

    /// Whether the tokenizer's normalizer puts a mark of its own (U+2581) in place of spaces, as T5's does.
    pub(super) fn marks_spaces(&self) -> bool {
        matches!(self, Self::T5(_))
    }
}

fn bert(dir: &Location, path: &Location, device: &Device) -> Result<Loaded, Error> {
    let config: Config = read_json(path)?;
    if config.num_attention_heads == 0 || !config.hidden_size.is_multiple_of(config.num_attention_heads) {
        return Err(Error::file(path.path(), "hidden_size is no multiple of num_attention_heads"));
    }
    let mut weights = Weights::find(dir)?;
    let names: Vec<String> = weights.names().map(String::from).collect();
    let tensors = names
        .into_iter()
        .map(|name| Ok((name.clone(), weights.tensor(&name)?)))
        .collect::<Result<_, Error>>()?;
    let tensors = VarBuilder::from_tensors(tensors, DType::F32, device);
    let model = BertModel::load(tensors, &config).map_err(|error| damaged(weights.path(), error))?;
    Ok(Loaded {
        encoder: Encoder::Bert(Box::new(model)),
        width: config.hidden_size,
        longest: config.max_position_embeddings,
        weights: weights.files().into_iter().cloned().collect(),
    })
}

fn t5(dir: &Location, device: &Device) -> Result<Loaded, Error> {
    let weights = Weights::find(dir)?.files().into_iter().cloned().collect();
    let encoder = T5Encoder::load_on(dir, device)?;
    // positions are relative, so a text may be as long as one likes; the folder says how long
    Ok(Loaded { width: encoder.width(), encoder: Encoder::T5(encoder), longest: usize::MAX, weights })
}

impl Loaded {
    /// Tokens of the longest text, where the folder allows `limit`.
    pub(super) fn max_length(&self, limit: Option<usize>) -> usize {
        let usual = if self.longest == usize::MAX { T5_LENGTH } else { self.longest };
        limit.unwrap_or(usual).min(self.longest)
    }
}

fn damaged(path: &Path, error: impl fmt::Display) -> Error {
    Error::file(path, format!("the weights are damaged or not a BERT model's: {error}"))
}
