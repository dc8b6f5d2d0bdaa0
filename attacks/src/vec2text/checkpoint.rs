//! Checkpoints: `config.json`, `model.safetensors` and `tokenizer.json` in one folder.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use sha2::{Digest, Sha256};
use tokenizers::Tokenizer;

use super::config::Config;
use super::train::Settings;
use super::vocabulary;
use crate::Error;

/// A model's files, read and checked but not yet made into a model.
pub(crate) struct Checkpoint {
    pub(crate) path: PathBuf,
    pub(crate) config: Config,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) tensors: HashMap<String, Tensor>,
    /// The SHA-256 of the weights' file, in hexadecimal.
    pub(crate) hash: String,
    /// The hash of the embedder, from `manifest.json` where there is one.
    pub(crate) embedder_hash: Option<String>,
}

impl Checkpoint {
    /// Reads a folder.
    pub(crate) fn read(dir: &Path, device: &Device) -> Result<Self, Error> {
        let file = |name: &str| -> Result<Vec<u8>, Error> {
            let path = dir.join(name);
            fs::read(&path).map_err(|error| Error::File { path, message: explain(&error) })
        };
        let (config, weights, tokenizer) =
            (file("config.json")?, file("model.safetensors")?, file("tokenizer.json")?);
        let manifest = fs::read(dir.join("manifest.json")).unwrap_or_default();
        let manifest: Option<serde_json::Value> = serde_json::from_slice(&manifest).ok();
        let embedder_hash = manifest.and_then(|it| it["embedder"]["hash"].as_str().map(String::from));
        Ok(Self { embedder_hash, ..Self::parse(dir, &config, &weights, &tokenizer, device)? })
    }

    /// Reads the contents of the three files; `path` is for messages.
    pub(crate) fn parse(
        path: &Path,
        config: &[u8],
        weights: &[u8],
        tokenizer: &[u8],
        device: &Device,
    ) -> Result<Self, Error> {
        let damaged = |name: &str, error: &dyn std::fmt::Display| Error::File {
            path: path.join(name),
            message: format!("damaged or not what it should be ({error}); copy or train it again"),
        };
        let tensors = candle_core::safetensors::load_buffer(weights, device)
            .map_err(|error| damaged("model.safetensors", &error))?
            .into_iter()
            .map(|(name, tensor)| Ok((name, tensor.to_dtype(DType::F32)?)))
            .collect::<candle_core::Result<HashMap<String, Tensor>>>()
            .map_err(|error| damaged("model.safetensors", &error))?;
        for tensor in tensors.values() {
            let sum = tensor.sum_all().and_then(|sum| sum.to_scalar::<f32>());
            if !sum.map_err(|error| damaged("model.safetensors", &error))?.is_finite() {
                return Err(damaged("model.safetensors", &"a weight is not finite"));
            }
        }
        let tokenizer =
            Tokenizer::from_bytes(tokenizer).map_err(|error| damaged("tokenizer.json", &error))?;
        let embedded = tensors.get("encoder_decoder.shared.weight").map_or(0, |shared| shared.dims()[0]);
        if vocabulary::size(&tokenizer) > embedded {
            return Err(damaged("tokenizer.json", &"it has more tokens than the weights"));
        }
        Ok(Self {
            path: path.to_owned(),
            config: serde_json::from_slice(config).map_err(|error| damaged("config.json", &error))?,
            tokenizer,
            tensors,
            hash: hex(&Sha256::digest(weights)),
            embedder_hash: None,
        })
    }

    /// The model that a training is told to begin with.
    pub(crate) fn init(settings: &Settings) -> Result<Option<Self>, Error> {
        settings.init.as_ref().map(|dir| Self::read(dir, &Device::Cpu)).transpose()
    }

    /// What the new model's `config.json` says.
    pub(crate) fn config(&self, settings: &Settings) -> Config {
        Config { embedder_model_name: settings.embedder.clone(), ..self.config.clone() }
    }

    /// # Errors
    /// Where the model takes vectors of another dimension than there are.
    pub(crate) fn takes(&self, takes: usize, given: usize) -> Result<(), Error> {
        if takes == given {
            return Ok(());
        }
        let message = format!("it takes vectors of {takes} dimensions, and there are vectors of {given}");
        Err(Error::File { path: self.path.join("model.safetensors"), message })
    }

    /// # Errors
    /// Where the models' word pieces differ, so that one cannot read what the other writes.
    pub(crate) fn shares_tokens_with(&self, other: &Self) -> Result<(), Error> {
        let text = |checkpoint: &Self| checkpoint.tokenizer.to_string(false).map_err(Error::Model);
        if text(self)? == text(other)? {
            return Ok(());
        }
        let message = format!("its word pieces are not those of {}", other.path.display());
        Err(Error::File { path: self.path.join("tokenizer.json"), message })
    }

    /// The model that `load` makes of the tensors.
    pub(crate) fn model<M>(
        &self,
        load: impl FnOnce(&VarBuilder<'_>) -> candle_core::Result<M>,
    ) -> Result<M, Error> {
        let vb = VarBuilder::from_tensors(self.tensors.clone(), DType::F32, &Device::Cpu);
        load(&vb).map_err(|error| Error::File {
            path: self.path.join("model.safetensors"),
            message: format!("the tensors are not this kind of model's: {error}"),
        })
    }
}

fn explain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            "there is no such file; a model's folder has config.json, model.safetensors and \
                                         tokenizer.json, as `embosk train` writes them"
                .into()
        }
        _ => error.to_string(),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // writing to a string cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}
