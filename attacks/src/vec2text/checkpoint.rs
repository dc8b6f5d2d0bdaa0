//! Checkpoints, ours or published ones: folders with `config.json`, weights and perhaps a tokenizer.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, bail};
use candle_nn::VarBuilder;
use embosk_models::Location;
use embosk_models::t5::{self, PREFIX};
use embosk_models::weights::Weights;
use serde::Deserialize;
use tokenizers::Tokenizer;

use super::config::Config;
use super::training_texts::TrainingTexts;
use super::vocabulary;
use crate::Error;

/// What a folder without weights lacks.
const MISSING: &str = "there is no such file; a model's folder has config.json, weights (model.safetensors or \
                       pytorch_model.bin, or their shards) and tokenizer.json";

/// A model's files, read and checked but not yet made into a model.
pub(crate) struct Checkpoint {
    pub(crate) path: Location,
    /// The file that the weights are from, for messages.
    weights: PathBuf,
    pub(crate) config: Config,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) tensors: HashMap<String, Tensor>,
    /// The SHA-256 of the weights' file, in hexadecimal; of all shards together.
    pub(crate) hash: String,
    /// The hash of the embedder, from `manifest.json` if there is one.
    pub(crate) embedder_hash: Option<String>,
    /// What it was trained on, if the folder says so.
    pub(crate) training_texts: Option<TrainingTexts>,
}

impl Checkpoint {
    /// Reads the folder of an inverter or a corrector.
    pub(crate) fn read(dir: impl Into<Location>, device: &Device) -> Result<Self, Error> {
        let read = Self::any(dir.into(), device)?;
        if read.is_language_model_alone() {
            let message =
                "it is a language model alone, no inverter and no corrector; train one from it with --init";
            return Err(Error::File { path: read.weights, message: message.into() });
        }
        Ok(read)
    }

    /// Reads the folder of a model, or of a T5 alone, whose tensors then get the names they have in a model. An
    /// embedder's weights in the same file are not read.
    fn any(dir: Location, device: &Device) -> Result<Self, Error> {
        let json = read(&dir.join("config.json"))?;
        let mut weights = Weights::find(&dir)?;
        let file = weights.path().to_owned();
        let parsed = Config::parse(&json).and_then(|of| Ok((of, serde_json::from_slice(&json)?)));
        let ((config, claims), transforms): (_, Transforms) =
            parsed.map_err(|error| damaged(dir.join("config.json").path(), &format!("damaged ({error})")))?;
        let mut tensors = HashMap::new();
        for (stored, name) in t5::wanted(&weights) {
            let tensor =
                weights.tensor(&stored)?.to_device(device).map_err(|error| damaged(&file, &error))?;
            tensors.insert(name, tensor);
        }
        t5::settle(&mut tensors, &claims)
            .and_then(|()| transforms.check(&tensors))
            .map_err(|error| damaged(&file, &error))?;
        let started_from = &config.model_name_or_path;
        let names = [started_from, claims.name_or_path.as_ref().unwrap_or(started_from)];
        let tokenizer = t5::tokenizer(&dir, &names.map(String::as_str))?;
        let embedded = tensors.get(&format!("{PREFIX}shared.weight")).map_or(0, |shared| shared.dims()[0]);
        if vocabulary::size(&tokenizer) > embedded {
            let path = dir.join("tokenizer.json");
            return Err(damaged(path.path(), &"the tokenizer has more tokens than the weights"));
        }
        let manifest = dir.join("manifest.json").read().unwrap_or_default();
        let manifest: Option<serde_json::Value> = serde_json::from_slice(&manifest).ok();
        let training_texts = TrainingTexts::read(&dir)?;
        Ok(Self {
            path: dir,
            weights: file,
            config,
            tokenizer,
            tensors,
            hash: weights.hash()?,
            embedder_hash: manifest.and_then(|it| it["embedder"]["hash"].as_str().map(String::from)),
            training_texts,
        })
    }

    /// Reads the model that a training begins with: one of its own kind, or a T5 alone.
    pub(crate) fn init(folder: Option<&Location>) -> Result<Option<Self>, Error> {
        folder.map(|folder| Self::any(folder.clone(), &Device::Cpu)).transpose()
    }

    /// Whether it is a T5 alone, without the transforms of an inverter or a corrector.
    pub(crate) fn is_language_model_alone(&self) -> bool {
        self.tensors.keys().all(|name| name.starts_with(PREFIX))
    }

    /// The tensors of the T5 alone.
    pub(crate) fn language_model(&self) -> HashMap<String, Tensor> {
        let of_it = self.tensors.iter().filter(|(name, _)| name.starts_with(PREFIX));
        of_it.map(|(name, tensor)| (name.clone(), tensor.clone())).collect()
    }

    /// The name of a language model that a training began with: its folder.
    pub(crate) fn name(&self) -> String {
        self.path.path().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// The `config.json` of a new model for this embedder.
    pub(crate) fn config_for(&self, embedder: &str) -> Config {
        Config { embedder_model_name: embedder.to_owned(), ..self.config.clone() }
    }

    /// # Errors
    /// If the model takes vectors of another dimension than `given`.
    pub(crate) fn takes(&self, takes: usize, given: usize) -> Result<(), Error> {
        if takes == given {
            return Ok(());
        }
        let message = format!("it takes vectors of {takes} dimensions, and there are vectors of {given}");
        Err(Error::File { path: self.weights.clone(), message })
    }

    /// # Errors
    /// If the models' word pieces differ, so that one cannot read what the other writes.
    pub(crate) fn shares_tokens_with(&self, other: &Self) -> Result<(), Error> {
        let text = |checkpoint: &Self| checkpoint.tokenizer.to_string(false).map_err(Error::Model);
        if text(self)? == text(other)? {
            return Ok(());
        }
        let message = format!("its word pieces are not those of {}", other.path.path().display());
        Err(Error::File { path: self.path.path().join("tokenizer.json"), message })
    }

    /// # Errors
    /// If the states of the models' language models have different widths.
    pub(crate) fn is_as_wide_as(&self, other: &Self) -> Result<(), Error> {
        let width = |it: &Self| it.tensors.get(&format!("{PREFIX}shared.weight")).map(|it| it.dims()[1]);
        match (width(self), width(other)) {
            (ours, theirs) if ours == theirs => Ok(()),
            (ours, theirs) => Err(Error::File {
                path: self.weights.clone(),
                message: format!(
                    "its states are {} wide, and those of {} are {}; a corrector is as wide as its inverter",
                    ours.unwrap_or(0),
                    other.path.path().display(),
                    theirs.unwrap_or(0)
                ),
            }),
        }
    }

    /// Returns the model that `load` makes of the tensors.
    pub(crate) fn model<M>(
        &self,
        load: impl FnOnce(&VarBuilder<'_>) -> candle_core::Result<M>,
    ) -> Result<M, Error> {
        let vb = VarBuilder::from_tensors(self.tensors.clone(), DType::F32, &Device::Cpu);
        load(&vb).map_err(|error| Error::File {
            path: self.weights.clone(),
            message: format!("the tensors are not this kind of model's: {error}"),
        })
    }
}

/// What a `config.json` says of an inverter's or a corrector's transforms.
#[derive(Deserialize)]
struct Transforms {
    num_repeat_tokens: Option<usize>,
}

impl Transforms {
    /// # Errors
    /// If a vector becomes another number of pseudo-tokens than the configuration says.
    fn check(&self, tensors: &HashMap<String, Tensor>) -> candle_core::Result<()> {
        match (self.num_repeat_tokens, pseudo_tokens(tensors)) {
            (Some(claimed), Some(found)) if claimed != found => {
                bail!("config.json says that num_repeat_tokens is {claimed}, and it is {found}")
            }
            _ => Ok(()),
        }
    }
}

/// How many pieces of the model's width a vector becomes.
fn pseudo_tokens(tensors: &HashMap<String, Tensor>) -> Option<usize> {
    let width = tensors.get(&format!("{PREFIX}shared.weight"))?.dims().get(1).copied()?;
    let names = ["embedding_transform.3.weight", "embedding_transform_1.3.weight"];
    let last = names.iter().find_map(|name| tensors.get(*name))?;
    last.dims().first()?.checked_div(width)
}

fn damaged(path: &Path, error: &dyn std::fmt::Display) -> Error {
    let message = format!("not what it should be: {error}; get it anew");
    Error::File { path: path.to_owned(), message }
}

fn read(path: &Location) -> Result<Vec<u8>, Error> {
    path.read().map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let message = if missing { MISSING.into() } else { error.to_string() };
        Error::File { path: path.path().to_owned(), message }
    })
}
