//! What a checkpoint says about itself, and the sizes of new ones.

use embosk_models::t5::Claims;
use serde::{Deserialize, Deserializer, Serialize};

/// Tokens of the longest text that can be asked for.
pub(crate) const LONGEST: usize = 4096;

/// The `config.json` of a checkpoint, in the form of published ones. Other fields are ignored, and a value `null`
/// counts as missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The embedder whose vectors are inverted.
    #[serde(default, deserialize_with = "or_default")]
    pub embedder_model_name: String,
    /// The language model that training began with; in our own checkpoints, a preset's name.
    #[serde(default, deserialize_with = "or_default")]
    pub model_name_or_path: String,
    /// How many pseudo-tokens a vector becomes.
    #[serde(default = "sixteen", deserialize_with = "or_sixteen")]
    pub num_repeat_tokens: usize,
    /// How many tokens the longest text has.
    #[serde(default = "thirty_two", deserialize_with = "or_thirty_two")]
    pub max_seq_length: usize,
}

impl Config {
    /// Reads the contents of a `config.json`, and what it says about a T5.
    pub(crate) fn parse(json: &[u8]) -> serde_json::Result<(Self, Claims)> {
        let config: Self = serde_json::from_slice(json)?;
        if !(1..=LONGEST).contains(&config.max_seq_length) {
            let message = format!("max_seq_length is {}, and not 1 to {LONGEST}", config.max_seq_length);
            return Err(serde::de::Error::custom(message));
        }
        Ok((config, serde_json::from_slice(json)?))
    }
}

fn sixteen() -> usize {
    16
}

fn thirty_two() -> usize {
    32
}

fn or_default<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

fn or_sixteen<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    Option::deserialize(from).map(|value| value.unwrap_or_else(sixteen))
}

fn or_thirty_two<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    Option::deserialize(from).map(|value| value.unwrap_or_else(thirty_two))
}

/// The size of a new model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// Its name on the command line.
    pub name: &'static str,
    /// Width of the states.
    pub width: usize,
    /// Width inside the feed-forward layers.
    pub feed_forward: usize,
    /// Attention heads.
    pub heads: usize,
    /// Blocks of the encoder.
    pub encoder_layers: usize,
    /// Blocks of the decoder.
    pub decoder_layers: usize,
    /// How many pseudo-tokens a vector becomes.
    pub pseudo_tokens: usize,
    /// How many word pieces there are.
    pub vocabulary: usize,
    /// How many tokens the longest text has.
    pub max_length: usize,
}

impl Preset {
    /// Whether its number of word pieces differs from that of the preset with its name.
    pub(crate) fn has_another_vocabulary(&self) -> bool {
        [Self::TINY, Self::SMALL, Self::BASE, Self::EMBEDDER]
            .iter()
            .any(|preset| preset.name == self.name && preset.vocabulary != self.vocabulary)
    }

    /// About 8 million parameters: trains on two cores within hours, on a GPU within minutes.
    pub const TINY: Self = Self {
        name: "tiny",
        width: 256,
        feed_forward: 1024,
        heads: 4,
        encoder_layers: 3,
        decoder_layers: 3,
        pseudo_tokens: 8,
        vocabulary: 4096,
        max_length: 64,
    };
    /// About 5 million parameters: an embedder, which is an encoder alone and reads passages.
    pub const EMBEDDER: Self = Self {
        name: "embedder",
        width: 256,
        feed_forward: 1024,
        heads: 4,
        encoder_layers: 4,
        decoder_layers: 0,
        pseudo_tokens: 0,
        vocabulary: 8192,
        max_length: 256,
    };
    /// About 40 million parameters.
    pub const SMALL: Self = Self {
        name: "small",
        width: 512,
        feed_forward: 1536,
        heads: 8,
        encoder_layers: 4,
        decoder_layers: 6,
        pseudo_tokens: 16,
        vocabulary: 8192,
        max_length: 64,
    };
    /// About 220 million parameters: the shape of T5-base, for a GPU.
    pub const BASE: Self = Self {
        name: "base",
        width: 768,
        feed_forward: 3072,
        heads: 12,
        encoder_layers: 12,
        decoder_layers: 12,
        pseudo_tokens: 16,
        vocabulary: 16_384,
        max_length: 128,
    };
}
