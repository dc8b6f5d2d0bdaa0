//! Training of inverters and correctors, one at a time.

use std::process::ExitCode;

use clap::ValueEnum;

use super::common::{Common, embed};
use super::defended;
use super::guesser::Guesser;
use super::model::ModelTraining;
use super::options::{Correcting, Writing};
use crate::Stack;
use crate::attacks::vec2text::train::{self as training, Examples, Settings};
use crate::attacks::vec2text::{Preset, TrainingTexts};
use crate::cli::error::CliError;
use crate::cli::loaded::Loaded;
use crate::cli::models::{self, title};
use crate::cli::rehearsal;
use crate::cli::session::Session;
use crate::cli::terminal::Terminal;
use crate::embedder::EmbeddingCache;
use crate::models::Location;

#[derive(Debug, clap::Args)]
pub(super) struct Attacking {
    /// The embedder to attack: `reference` (the shipped one), a sentence-transformers folder, a model on the Hugging Face
    /// hub (owner/model), or an address (http(s)://host[:port]/v1#model).
    #[arg(long, default_value = models::REFERENCE)]
    embedder: String,
    /// The size of the model; a corrector has its inverter's.
    #[arg(long, default_value = "tiny")]
    preset: PresetName,
    /// Start from the weights and word pieces of this model: a folder with a model of the same kind or a Hugging Face
    /// T5, its name on the hub, or the name of a shipped attack (reference or minilm).
    #[arg(long, value_name = "DIR")]
    init: Option<String>,
    /// Train on protected vectors, as an attacker who knows the defense does; may be repeated; the texts
    /// then take the defenses in turn. If a defense needs a key, every training uses the same generated key.
    #[arg(long, value_name = "SPEC")]
    defense: Vec<String>,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum PresetName {
    Tiny,
    Small,
    Base,
}

impl PresetName {
    pub(super) fn preset(self) -> Preset {
        match self {
            Self::Tiny => Preset::TINY,
            Self::Small => Preset::SMALL,
            Self::Base => Preset::BASE,
        }
    }
}

/// Trains an inverter, or a corrector for the inverter that is named.
pub(super) fn run(
    attacking: &Attacking,
    corrector: Option<(&String, &Correcting)>,
    session: &Session,
) -> Result<ExitCode, CliError> {
    let Session { names, terminal, .. } = session;
    let (common, terminal) = (&attacking.common, *terminal);
    // not clap's to read: its errors repeat what was written, and that may hold a key
    let stacks: Vec<Stack> =
        attacking.defense.iter().map(|spec| names.stack(spec)).collect::<Result<_, _>>()?;
    let device = common.device.open()?;
    let kind = if corrector.is_some() { "corrector" } else { "inverter" };
    let init = attacking.init.as_deref().map(|name| models::folder(name, kind, terminal)).transpose()?;
    let settings = attacking.settings(init, corrector.map(|(_, correcting)| correcting), &device)?;
    training::can_begin(&settings, &common.out)?;
    let inverter =
        corrector.map(|(inverter, _)| models::folder(inverter, "inverter", terminal)).transpose()?;
    let embedder =
        common.opening(&attacking.embedder, terminal)?.embedder_on(&attacking.embedder, &device)?;
    let cache = common.cache.embeddings()?;
    let known =
        settings.init.iter().chain(&inverter).map(TrainingTexts::read).collect::<Result<Vec<_>, _>>()?;
    let (texts, held_out) = common.texts(&known.into_iter().flatten().collect::<Vec<_>>(), terminal)?;
    let settings = Settings { embedder: embedder.to_string(), ..settings };
    let mut examples = examples(&embedder, &cache, &texts, terminal)?;
    let mut held_out = self::examples(&embedder, &cache, &held_out, terminal)?;
    if common.is_rehearsal() {
        rehearsal::tell(&embedder)?;
        return Ok(ExitCode::SUCCESS);
    }
    defended::protect(&stacks, &mut examples.vectors, common.seed)?;
    defended::protect(&stacks, &mut held_out.vectors, u64::MAX - common.seed)?;
    if let Some(inverter) = &inverter {
        let (device, folder) = (&device, &common.cache.hypotheses()?);
        let guesser = Guesser { inverter, device, embedder: &embedder, cache: &cache, folder, terminal };
        for part in [&mut examples, &mut held_out] {
            part.hypotheses = Some(guesser.hypotheses(part)?);
        }
    }
    let training = ModelTraining {
        settings,
        embedder: &embedder,
        inverter: inverter.as_ref(),
        stacks: &stacks,
        init: attacking.init.as_deref().map(title),
        out: &common.out,
        told: common.told(),
        terminal,
    };
    training.run(&examples, &held_out)?;
    Ok(ExitCode::SUCCESS)
}

impl Attacking {
    fn settings(
        &self,
        init: Option<Location>,
        correcting: Option<&Correcting>,
        device: &candle_core::Device,
    ) -> Result<Settings, CliError> {
        let settings = Settings { init, ..self.common.settings(self.preset.preset(), device)? };
        let settings = self.writing.apply(settings);
        Ok(match correcting {
            Some(correcting) => correcting.apply(settings),
            None => settings,
        })
    }
}

pub(super) fn examples(
    embedder: &Loaded,
    cache: &EmbeddingCache,
    texts: &[String],
    terminal: Terminal,
) -> Result<Examples, CliError> {
    let vectors = embed(embedder, cache, texts, terminal)?;
    let texts = texts.iter().map(|text| embedder.normalize(text)).collect();
    Ok(Examples { texts, vectors, hypotheses: None })
}
