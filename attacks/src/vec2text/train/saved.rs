//! The output folder of a training: the model for use, and what resuming needs.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use candle_core::{Device, Tensor, Var};
use embosk_models::Location;
use embosk_models::weights::Stored;
use safetensors::View;
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use super::super::config::Config;
use super::super::model_error;
use super::super::training_texts::{TRAINING_TEXTS, TrainingTexts};
use super::adamw::{AdamW, Moments};
use super::settings::{Schedule, Settings, TrainingLength};
use crate::Error;
use crate::partial::{self, Readers};

/// Everything of a training that must outlive it.
pub(super) struct Saved {
    dir: PathBuf,
    fingerprint: String,
    /// The folder within this one that the model's file with a weight is in.
    folder_of: fn(&str) -> &'static str,
    tensors: BTreeMap<String, Tensor>,
    moments: Moments,
    pub(super) step: usize,
    pub(super) elapsed: Duration,
    pub(super) stopping: Stopping,
    /// Whether the checkpoint's weights are also the model for use.
    pub(super) is_model: bool,
}

/// The course of the loss on held-out texts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Stopping {
    /// The lowest so far.
    best: Option<f32>,
    /// How many times in a row it was not lower.
    idle: usize,
}

impl Stopping {
    /// Whether the loss is the lowest so far.
    pub(super) fn saw(&mut self, loss: f32) -> bool {
        let better = self.best.is_none_or(|best| loss < best);
        (self.best, self.idle) = if better { (Some(loss), 0) } else { (self.best, self.idle + 1) };
        better
    }

    pub(super) fn is_over(&self, settings: &Settings) -> bool {
        settings.patience.is_some_and(|patience| self.idle >= patience)
    }
}

/// The state that is kept in the checkpoint's metadata.
#[derive(Serialize, Deserialize)]
struct State {
    step: usize,
    elapsed_seconds: f64,
    fingerprint: String,
    #[serde(default)]
    stopping: Stopping,
    #[serde(default)]
    is_model: bool,
}

/// Files of a model besides its weights: names and contents.
pub(super) type Files = Vec<(&'static str, Vec<u8>)>;

/// The files in an inverter's or a corrector's folder besides weights.
pub(super) fn files(config: &Config, tokenizer: &Tokenizer, texts: &TrainingTexts) -> Result<Files, Error> {
    let config = serde_json::to_vec_pretty(config).map_err(|error| Error::Model(error.into()))?;
    let tokenizer = tokenizer.to_string(false).map_err(Error::Model)?;
    Ok(vec![
        ("config.json", config),
        ("tokenizer.json", tokenizer.into_bytes()),
        (TRAINING_TEXTS, texts.to_bytes()),
    ])
}

const CHECKPOINT: &str = "training.safetensors";
const MODEL: &str = "model.safetensors";

/// The most bytes of a checkpoint, 64 GiB: weights, and two moments of each.
const LONGEST: u64 = 64 << 30;

impl Saved {
    /// The vocabulary of the run to resume.
    pub(super) fn tokenizer(settings: &Settings, dir: &Path) -> Result<Option<Tokenizer>, Error> {
        let path = dir.join("tokenizer.json");
        if !settings.resume {
            return Ok(None);
        }
        Tokenizer::from_file(&path).map(Some).map_err(|error| file(&path, error))
    }

    /// Opens the folder: with the checkpoint in it when resuming, otherwise with the `fresh` weights and the `files`
    /// beside them. `examples` is the hash of the training examples.
    pub(super) fn open(
        settings: &Settings,
        dir: &Path,
        files: &Files,
        fresh: BTreeMap<String, Tensor>,
        folder_of: fn(&str) -> &'static str,
        examples: &str,
    ) -> Result<Self, Error> {
        vacant(dir, settings.resume)?;
        fs::create_dir_all(dir).map_err(|error| file(dir, error))?;
        let fingerprint = format!("{} examples {examples}", fingerprint(settings));
        let path = dir.join(CHECKPOINT);
        let mut saved = if settings.resume {
            Self::read(dir, &path, &fingerprint, folder_of)?
        } else {
            let (moments, step, elapsed) = (Moments::new(), 0, Duration::ZERO);
            let (tensors, stopping, dir) = (BTreeMap::new(), Stopping::default(), dir.to_owned());
            Self { dir, fingerprint, folder_of, tensors, moments, step, elapsed, stopping, is_model: false }
        };
        if saved.tensors.is_empty() {
            saved.tensors = fresh;
            for (name, bytes) in files {
                let path = dir.join(name);
                fs::create_dir_all(path.parent().unwrap_or(dir)).map_err(|error| file(&path, error))?;
                write(&path, bytes)?;
            }
        }
        Ok(saved)
    }

    fn read(
        dir: &Path,
        path: &Path,
        fingerprint: &str,
        folder_of: fn(&str) -> &'static str,
    ) -> Result<Self, Error> {
        let damaged = |error: &dyn std::fmt::Display| {
            file(path, format!("the checkpoint cannot be read ({error}); train anew in another folder"))
        };
        let bytes = Location::from(path).read_at_most(LONGEST).map_err(|error| file(path, error))?;
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).map_err(|error| damaged(&error))?;
        let state = header.metadata().as_ref().and_then(|metadata| metadata.get("state"));
        let state: State =
            serde_json::from_str(state.map_or("", String::as_str)).map_err(|error| damaged(&error))?;
        if state.fingerprint != fingerprint {
            return Err(file(
                path,
                "the checkpoint was made with other settings or other texts; give the same ones, or train in another folder",
            ));
        }
        let mut all =
            candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).map_err(|error| damaged(&error))?;
        let moments = take_moments(&mut all).map_err(|error| damaged(&error))?;
        let elapsed = Duration::try_from_secs_f64(state.elapsed_seconds).map_err(|error| damaged(&error))?;
        let tensors = all.into_iter().collect();
        Ok(Self {
            dir: dir.to_owned(),
            fingerprint: state.fingerprint,
            folder_of,
            tensors,
            moments,
            step: state.step,
            elapsed,
            stopping: state.stopping,
            is_model: state.is_model,
        })
    }

    /// The weights, ready to be trained.
    pub(super) fn vars(&self, device: &Device) -> Result<BTreeMap<String, Var>, Error> {
        let var = |(name, tensor): (&String, &Tensor)| {
            Ok((name.clone(), Var::from_tensor(&tensor.to_device(device)?)?))
        };
        self.tensors.iter().map(var).collect::<candle_core::Result<_>>().map_err(model_error)
    }

    /// The optimizer's state, handed over.
    pub(super) fn moments(&mut self) -> (Moments, usize) {
        (std::mem::take(&mut self.moments), self.step)
    }

    /// Writes the checkpoint, and the model too if `model` says how to store it. Each file is either whole or
    /// missing.
    pub(super) fn write(
        &mut self,
        vars: &BTreeMap<String, Var>,
        optimizer: &AdamW,
        step: usize,
        elapsed: Duration,
        model: Option<Stored>,
    ) -> Result<(), Error> {
        let mut all: HashMap<String, Tensor> =
            vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        for (name, (first, second)) in optimizer.moments()? {
            for (which, values) in [("first", first), ("second", second)] {
                let length = values.len();
                let tensor = Tensor::from_vec(values, length, &Device::Cpu).map_err(model_error)?;
                all.insert(format!("{which}.{name}"), tensor);
            }
        }
        let (fingerprint, stopping, is_model) =
            (self.fingerprint.clone(), self.stopping.clone(), model.is_some());
        let state = State { step, elapsed_seconds: elapsed.as_secs_f64(), fingerprint, stopping, is_model };
        let state = serde_json::to_string(&state).map_err(|error| file(&self.dir, error))?;
        let metadata = HashMap::from([("state".to_owned(), state)]);
        // a model without a checkpoint could not be resumed
        write_tensors(&self.dir.join(CHECKPOINT), &all, Some(metadata))?;
        model.map_or(Ok(()), |stored| self.write_model(vars, stored))
    }

    /// Writes the model for use.
    pub(super) fn write_model(&self, vars: &BTreeMap<String, Var>, stored: Stored) -> Result<(), Error> {
        let mut folders: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for (name, var) in vars {
            let parts = stored.parts(name, var.as_tensor()).map_err(model_error)?;
            folders.entry((self.folder_of)(name)).or_default().extend(parts);
        }
        // Hugging Face's tools ask for it
        let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        for (folder, parts) in folders {
            write_tensors(&self.dir.join(folder).join(MODEL), parts, Some(format.clone()))?;
        }
        Ok(())
    }
}

/// Whether there is a checkpoint to resume from.
pub(super) fn has_checkpoint(dir: &Path) -> bool {
    dir.join(CHECKPOINT).exists()
}

/// Checks that a training may write to `dir`: it must not replace a model that it does not resume, and what it
/// resumes must exist.
pub(super) fn vacant(dir: &Path, resume: bool) -> Result<(), Error> {
    let (checkpoint, model) = (dir.join(CHECKPOINT), dir.join(MODEL));
    if resume && !checkpoint.exists() {
        let message = if model.exists() {
            "a model is here, but no checkpoint to resume from; choose another folder"
        } else {
            "there is no checkpoint to resume from; name the folder of the run, or begin without resuming"
        };
        return Err(file(dir, message));
    }
    let taken = [checkpoint, model].into_iter().find(|path| !resume && path.exists());
    taken.map_or(Ok(()), |path| {
        Err(file(&path, "a trained model is here already; resume its training, or choose another folder"))
    })
}

fn take_moments(all: &mut HashMap<String, Tensor>) -> candle_core::Result<Moments> {
    let names: Vec<String> =
        all.keys().filter_map(|name| name.strip_prefix("first.").map(String::from)).collect();
    let mut moments = Moments::new();
    for name in names {
        let mut take = |which: &str| match all.remove(&format!("{which}.{name}")) {
            Some(tensor) => tensor.to_vec1::<f32>(),
            None => candle_core::bail!("a moment is missing"),
        };
        let pair = (take("first")?, take("second")?);
        moments.insert(name, pair);
    }
    Ok(moments)
}

/// The settings that a resumed run must share with the run before.
fn fingerprint(settings: &Settings) -> String {
    let length = match settings.length {
        TrainingLength::Steps(steps) => format!("{steps} steps"),
        TrainingLength::Time(time) => format!("{} s", time.as_secs()),
    };
    let init = settings.init.as_ref().map(Location::path);
    let mut text = format!(
        "{} init {:?} batch {} rate {} seed {} {}",
        settings.preset.name, init, settings.batch, settings.learning_rate, settings.seed, length
    );
    // only what is not as usual, so that checkpoints from before there was a choice can be resumed
    let usual = Settings::default();
    let mut unusual = |differs: bool, setting: String| {
        if differs {
            text += " ";
            text += &setting;
        }
    };
    unusual(settings.micro_batch != usual.micro_batch, format!("micro-batch {}", settings.micro_batch));
    unusual(settings.warm_up != usual.warm_up, format!("warm-up {}", settings.warm_up));
    unusual(settings.schedule != Schedule::Cosine, format!("{:?}", settings.schedule));
    unusual(settings.clip.to_bits() != usual.clip.to_bits(), format!("clip {}", settings.clip));
    unusual(settings.label_smoothing > 0.0, format!("smoothing {}", settings.label_smoothing));
    unusual(settings.depths > 1, format!("depths {} every {}", settings.depths, settings.refresh_every));
    let vocabulary = settings.preset.vocabulary;
    unusual(settings.preset.has_another_vocabulary(), format!("vocabulary {vocabulary}"));
    unusual(settings.space.is_some(), "through a map".into());
    unusual(settings.max_length.is_some(), format!("length {:?}", settings.max_length));
    unusual(settings.patience.is_some(), format!("patience {:?}", settings.patience));
    unusual(
        settings.patience.is_some() && settings.held_out_every != usual.held_out_every,
        format!("held out every {}", settings.held_out_every),
    );
    text
}

pub(super) fn write_tensors<N: AsRef<str> + Ord + Display, V: View>(
    path: &Path,
    tensors: impl IntoIterator<Item = (N, V)>,
    metadata: Option<HashMap<String, String>>,
) -> Result<(), Error> {
    let bytes = safetensors::serialize(tensors, metadata).map_err(|error| file(path, error))?;
    write(path, &bytes)
}

/// Writes a file whole or not at all, and removes what a killed training left half-written beside it.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    partial::remove_stale(partial::folder_of(path));
    partial::write(path, Readers::Usual, |file| file.write_all(bytes)).map_err(|error| file(path, error))
}

fn file(path: &Path, message: impl std::fmt::Display) -> Error {
    Error::File { path: path.to_owned(), message: message.to_string() }
}
