//! The options of every training, and the texts that it learns from.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ndarray::Array2;

use super::held_out::HeldOut;
use super::log::Log;
use super::manifest::Told;
use super::options::Optimization;
use crate::attacks::vec2text::train::{Settings, TrainingLength};
use crate::attacks::vec2text::{Preset, TrainingTexts};
use crate::cli::device::Device;
use crate::cli::error::CliError;
use crate::cli::models::{self, Cache, Opening};
use crate::cli::service::ServiceOptions;
use crate::cli::terminal::Terminal;
use crate::embedder::EmbeddingCache;
use crate::evaluate::corpus::read_texts;
use crate::evaluate::records::{Split, generate};
use crate::{Embedder, Role};

/// How many texts are held out to monitor the training.
const HELD_OUT: usize = 256;

#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Text files with one text per line, or `records[:N]` for N built-in records of the training split.
    #[arg(long, required = true, num_args = 1..)]
    pub(super) corpus: Vec<String>,
    /// The folder for the model, its checkpoint, `log.csv`, `log.svg` and `manifest.json`.
    #[arg(long)]
    pub(super) out: PathBuf,
    /// The vocabulary size of a new model. Default: the preset's; a corrector has its inverter's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(512..=65_536))]
    pub(super) vocabulary: Option<u32>,
    /// Where models run.
    #[arg(long, default_value = "cpu")]
    pub(super) device: Device,
    /// Stop after this many steps.
    #[arg(long, conflicts_with = "minutes")]
    pub(super) steps: Option<usize>,
    /// Stop after this many minutes of training. Default: 60, if --steps is not given.
    #[arg(long)]
    pub(super) minutes: Option<f64>,
    /// Resume from the checkpoint in the output folder.
    #[arg(long)]
    pub(super) resume: bool,
    /// The seed of the initial weights, the order of the texts, and the records.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Seconds between checkpoints.
    #[arg(long, default_value_t = 60)]
    checkpoint_every: u64,
    #[command(flatten)]
    learning: Optimization,
    #[command(flatten)]
    pub(super) cache: Cache,
    #[command(flatten)]
    address: ServiceOptions,
}

impl Common {
    /// What the embedder is opened with.
    pub(super) fn opening(&self, embedder: &str, terminal: Terminal) -> Result<Opening<'_>, CliError> {
        self.address.check(&[embedder])?;
        Ok(Opening { services: &self.address, cache: &self.cache, terminal })
    }

    /// Whether this is a dry run, in which nothing is sent or trained.
    pub(super) fn is_rehearsal(&self) -> bool {
        self.address.is_rehearsal()
    }

    pub(super) fn settings(
        &self,
        preset: Preset,
        device: &candle_core::Device,
    ) -> Result<Settings, CliError> {
        let positive = |value: f64, what: &str| {
            if value > 0.0 && value.is_finite() {
                Ok(())
            } else {
                Err(CliError::new(format!("--{what} must be more than 0")))
            }
        };
        positive(self.minutes.unwrap_or(1.0), "minutes")?;
        positive(self.steps.unwrap_or(1) as f64, "steps")?;
        let minutes = Duration::try_from_secs_f64(60.0 * self.minutes.unwrap_or(60.0))
            .map_err(|_| CliError::new("--minutes is too large"))?;
        let vocabulary = self.vocabulary.map_or(preset.vocabulary, |pieces| pieces as usize);
        Ok(self.learning.apply(Settings {
            preset: Preset { vocabulary, ..preset },
            length: self.steps.map_or(TrainingLength::Time(minutes), TrainingLength::Steps),
            seed: self.seed,
            checkpoint_every: Duration::from_secs(self.checkpoint_every),
            resume: self.resume,
            device: device.clone(),
            ..Settings::default()
        }))
    }

    /// What the manifest records of it.
    pub(super) fn told(&self) -> Told<'_> {
        Told {
            corpus: &self.corpus,
            out: &self.out,
            seed: self.seed,
            minutes: self.steps.is_none().then(|| self.minutes.unwrap_or(60.0)),
            vocabulary: self.vocabulary.map(|pieces| pieces as usize),
            device: self.device,
        }
    }

    /// The texts to train on and the held-out ones, the same number from each corpus. Of records, these are from the
    /// held-out split; of files, they are every hundredth line, which is then not trained on.
    ///
    /// `known` lists the texts of the models that the training begins with: what they held out is not trained on, and
    /// what they were trained on is not held out.
    pub(super) fn texts(
        &self,
        known: &[TrainingTexts],
        terminal: Terminal,
    ) -> Result<(Vec<String>, Vec<String>), CliError> {
        let (mut train, mut held_out) = (Vec::new(), Vec::new());
        for name in &self.corpus {
            let mut apart = Vec::new();
            if let Some(count) = models::records(name)? {
                train.extend(generate(Split::Train, self.seed).take(count).map(|record| record.text));
                // far from the seeds that evaluations draw their records from
                let seed = u64::MAX - self.seed;
                apart.extend(generate(Split::HeldOut, seed).take(HELD_OUT).map(|record| record.text));
            } else {
                let texts = read_texts(Path::new(name))?;
                let texts = texts.into_iter().enumerate().filter(|(_, text)| !text.trim().is_empty());
                for (index, text) in texts {
                    let target = if index % 100 == 99 { &mut apart } else { &mut train };
                    target.push(text);
                }
            }
            held_out.push(apart);
        }
        train.retain(|text| !known.iter().any(|known| known.is_held_out(text)));
        let trained: HashSet<String> = train.iter().map(|text| text.to_lowercase()).collect();
        let share = HELD_OUT.div_ceil(held_out.len());
        let apart = |known: &[TrainingTexts]| -> Vec<String> {
            let is_new = |text: &&String| {
                !trained.contains(&text.to_lowercase()) && !known.iter().any(|known| known.contains(text))
            };
            held_out.iter().flat_map(|apart| apart.iter().filter(is_new).take(share)).cloned().collect()
        };
        let mut held_out = apart(known);
        if held_out.is_empty() && !known.is_empty() {
            terminal.remark(
                "the initial models were trained on every text that could be held out; scores on held-out texts will be \
                 too high",
            );
            held_out = apart(&[]);
        }
        if train.is_empty() || held_out.is_empty() {
            return Err(CliError::new("the corpus is too small: at least 100 texts are needed"));
        }
        Ok((train, held_out))
    }

    /// Opens the log in the output folder.
    pub(super) fn log(
        &self,
        settings: &Settings,
        held_out: HeldOut,
        terminal: Terminal,
    ) -> Result<Log, CliError> {
        fs::create_dir_all(&self.out)
            .map_err(|error| CliError::new(format!("{}: {error}", self.out.display())))?;
        Log::open(&self.out, self.resume, settings.patience.is_some(), held_out, terminal)
    }
}

pub(super) fn embed(
    embedder: &dyn Embedder,
    cache: &EmbeddingCache,
    texts: &[String],
    terminal: Terminal,
) -> Result<Array2<f32>, CliError> {
    let bar = terminal.bar("embedding", texts.len());
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vectors = cache.embed(embedder, Role::Document, &texts, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    Ok(vectors)
}
