//! `1_Pooling/config.json`: how the states of a text's tokens become one vector.

use candle_core::{Device, Tensor};
use serde::Deserialize;

use super::fields::Fields;
use crate::Error;
use crate::location::Location;
use crate::pooling;

/// One way to pool a text's states into a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    Cls,
    Max,
    Mean,
    MeanSqrtLenTokens,
    #[serde(rename = "weightedmean")]
    WeightedMean,
    #[serde(rename = "lasttoken")]
    LastToken,
}

/// The booleans that versions before 5.4 write, in the order in which Python concatenates their results.
const BOOLEANS: [(&str, Mode); 6] = [
    ("pooling_mode_cls_token", Mode::Cls),
    ("pooling_mode_max_tokens", Mode::Max),
    ("pooling_mode_mean_tokens", Mode::Mean),
    ("pooling_mode_mean_sqrt_len_tokens", Mode::MeanSqrtLenTokens),
    ("pooling_mode_weightedmean_tokens", Mode::WeightedMean),
    ("pooling_mode_lasttoken", Mode::LastToken),
];

/// The modes whose vectors are concatenated, and whether a prompt's tokens count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pooling {
    pub(super) modes: Vec<Mode>,
    pub(super) include_prompt: bool,
}

/// What `pooling_mode` may be.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    One(Mode),
    Several(Vec<Mode>),
}

impl Pooling {
    /// Averages all tokens, as Python does by default.
    pub(super) fn mean() -> Self {
        Self { modes: vec![Mode::Mean], include_prompt: true }
    }

    pub(super) fn read(path: &Location) -> Result<Self, Error> {
        let mut fields = Fields::read(path)?;
        let named = match fields.take::<serde_json::Value>("pooling_mode")? {
            Some(value) => Some(serde_json::from_value(value.clone()).map_err(|_| {
                fields.refuse(
                    "pooling_mode",
                    format!(
                        "{value} is no pooling; cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken, and lists \
                         of them can be run"
                    ),
                )
            })?),
            None => None,
        };
        let mut modes = Vec::new();
        for (name, mode) in BOOLEANS {
            if fields.take(name)?.unwrap_or(false) {
                modes.push(mode);
            }
        }
        // the booleans are only read where there is no name
        let modes = match named {
            Some(Named::One(mode)) => vec![mode],
            Some(Named::Several(modes)) if modes.is_empty() => {
                return Err(fields.refuse("pooling_mode", "the list is empty"));
            }
            Some(Named::Several(modes)) => modes,
            None if modes.is_empty() => vec![Mode::Mean],
            None => modes,
        };
        let include_prompt = fields.take("include_prompt")?.unwrap_or(true);
        // the width of the states is the transformer's
        fields.ignore(&["embedding_dimension", "word_embedding_dimension"]);
        fields.finish()?;
        Ok(Self { modes, include_prompt })
    }

    /// The dimension of the vectors, if the states have `width`.
    pub(super) fn dimension(&self, width: usize) -> usize {
        self.modes.len() * width
    }

    /// Vectors `[batch, dim]` of states `[batch, length, width]`.
    pub(super) fn apply(&self, states: &Tensor, positions: &Positions<'_>) -> candle_core::Result<Tensor> {
        let vectors = self
            .modes
            .iter()
            .map(|mode| mode.apply(states, positions))
            .collect::<candle_core::Result<Vec<_>>>()?;
        match vectors.as_slice() {
            [vector] => Ok(vector.clone()),
            _ => Tensor::cat(&vectors, 1),
        }
    }
}

/// Which positions of a batch are pooled.
pub(super) struct Positions<'a> {
    /// How many tokens each text has.
    pub(super) lengths: &'a [usize],
    /// How many positions of the prompt do not count.
    pub(super) skip: usize,
}

impl Positions<'_> {
    /// A matrix `[batch, length]` whose entry is `value` of a text's length and a position.
    fn weights(
        &self,
        length: usize,
        device: &Device,
        value: impl Fn(usize, usize) -> f32 + Copy,
    ) -> candle_core::Result<Tensor> {
        let rows = self.lengths.iter().flat_map(|&tokens| (0..length).map(move |at| value(tokens, at)));
        Tensor::from_vec(rows.collect(), (self.lengths.len(), length), device)
    }
}

impl Mode {
    fn apply(self, states: &Tensor, positions: &Positions<'_>) -> candle_core::Result<Tensor> {
        let skip = positions.skip;
        let kept = |tokens: usize, at: usize| (skip..tokens).contains(&at);
        let weights =
            |value: &dyn Fn(usize, usize) -> f32| positions.weights(states.dim(1)?, states.device(), value);
        let mask = || weights(&|tokens, at| f32::from(u8::from(kept(tokens, at))));
        match self {
            Self::Mean => pooling::mean(states, &mask()?),
            Self::MeanSqrtLenTokens => pooling::mean_by_root(states, &mask()?),
            Self::Max => pooling::max(states, &mask()?),
            Self::Cls if skip == 0 => states.narrow(1, 0, 1)?.squeeze(1),
            // the first token after the prompt, or the first of all where the prompt fills the text
            Self::Cls => pooling::sum(
                states,
                &weights(&|tokens, at| f32::from(u8::from(at == if skip < tokens { skip } else { 0 })))?,
            ),
            Self::WeightedMean => pooling::mean(
                states,
                &weights(&|tokens, at| if kept(tokens, at) { (at + 1) as f32 } else { 0.0 })?,
            ),
            Self::LastToken => pooling::sum(
                states,
                &weights(&|tokens, at| f32::from(u8::from(kept(tokens, at) && at + 1 == tokens)))?,
            ),
        }
    }
}
