//! Training of inverters and correctors.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use ndarray::{Array2, ArrayView1, s};
use serde_json::json;

use super::common::{Common, embed};
use super::held_out::HeldOut;
use super::options::{Correcting, Writing};
use super::{defended, manifest};
use crate::attacks::vec2text::train::{self as training, Embed, Event, Examples, Settings};
use crate::attacks::vec2text::{Config, Preset, Vec2Text};
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::cli::terminal::Terminal;
use crate::cli::{files, models};
use crate::digest::Digest;
use crate::embedder::{EmbeddingCache, SentenceTransformer};
use crate::models::Location;
use crate::{Embedder, Role, Stack};

#[derive(Debug, clap::Args)]
pub(super) struct Attacking {
    /// The embedder to attack: a sentence-transformers folder, its name on the hub, or the one that is shipped.
    #[arg(long, default_value = models::REFERENCE)]
    embedder: String,
    /// The size of the model; a corrector has its inverter's.
    #[arg(long, default_value = "tiny")]
    preset: PresetName,
    /// A folder with a model whose weights and word pieces to begin with: one of the same kind, or a T5 as
    /// Hugging Face has it.
    #[arg(long)]
    init: Option<PathBuf>,
    /// Train on protected vectors, as an attacker does who knows the defense; may be given again, and
    /// then the texts take the defenses in turn. Where a defense needs a key, one is drawn, the same in every
    /// training.
    #[arg(long, value_name = "SPEC")]
    defense: Vec<String>,
    #[command(flatten)]
    writing: Writing,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PresetName {
    Tiny,
    Small,
    Base,
}

/// Trains an inverter, or a corrector for the inverter that is named.
pub(super) fn run(
    attacking: &Attacking,
    corrector: Option<(&String, &Correcting)>,
    session: &Session,
) -> Result<ExitCode, CliError> {
    let Session { names, terminal, .. } = session;
    let (common, terminal) = (&attacking.common, *terminal);
    let kind = if corrector.is_some() { "corrector" } else { "inverter" };
    // not clap's to read: its errors repeat what was written, and that may hold a key
    let stacks: Vec<Stack> =
        attacking.defense.iter().map(|spec| names.stack(spec)).collect::<Result<_, _>>()?;
    let device = common.device.open()?;
    let settings = attacking.settings(corrector.map(|(_, correcting)| correcting), &device)?;
    training::can_begin(&settings, &common.out)?;
    let inverter =
        corrector.map(|(inverter, _)| models::folder(inverter, "inverter", terminal)).transpose()?;
    let embedder = models::embedder_on(&attacking.embedder, &device, terminal)?;
    let cache = common.cache.embeddings()?;
    let (texts, held_out) = common.texts()?;
    let settings = Settings { embedder: embedder.to_string(), ..settings };
    let mut examples = examples(&embedder, &cache, &texts, terminal)?;
    let mut held_out = self::examples(&embedder, &cache, &held_out, terminal)?;
    defended::protect(&stacks, &mut examples.vectors, common.seed)?;
    defended::protect(&stacks, &mut held_out.vectors, u64::MAX - common.seed)?;
    if let Some(inverter) = &inverter {
        let guesser = Guesser { inverter, device: &device, embedder: &embedder, cache: &cache, terminal };
        for part in [&mut examples, &mut held_out] {
            part.hypotheses = Some(guesser.hypotheses(part, &common.cache.hypotheses())?);
        }
    }
    let mut log = common.log(&settings, HeldOut::Texts(held_out.texts.clone()), terminal)?;
    let mut on_event = |event: Event<'_>| log.record(&event);
    let outcome = match &inverter {
        None => training::inverter(&settings, &examples, &held_out, &common.out, &mut on_event)?,
        Some(inverter) => {
            let embed = |texts: &[&str]| embedder.embed(Role::Document, texts);
            let (examples, held_out) = (&examples, &held_out);
            let (embed, out) = (Some(&embed as &Embed<'_>), &common.out);
            training::corrector(&settings, inverter, examples, held_out, embed, out, &mut on_event)?
        }
    };
    log.bar.finish_and_clear();
    // a run that had nothing left to do knows no loss
    if !log.loss.is_nan() {
        let config: Config =
            serde_json::from_slice(&fs::read(common.out.join("config.json")).unwrap_or_default())?;
        let stacks: Vec<String> = stacks.iter().map(ToString::to_string).collect();
        let own = [
            ("preset", json!(config.model_name_or_path)),
            ("init", json!(attacking.init.as_deref().map(manifest::named))),
            ("defenses", json!(stacks)),
        ];
        let embedder = ("embedder", &embedder);
        manifest::write(kind, common, &settings, own, embedder, &examples.texts, &outcome, &log)?;
    }
    terminal.remark(&format!("{} steps; the {kind} is in {}", outcome.steps, common.out.display()));
    Ok(ExitCode::SUCCESS)
}

impl Attacking {
    fn settings(
        &self,
        correcting: Option<&Correcting>,
        device: &candle_core::Device,
    ) -> Result<Settings, CliError> {
        let preset = match self.preset {
            PresetName::Tiny => Preset::TINY,
            PresetName::Small => Preset::SMALL,
            PresetName::Base => Preset::BASE,
        };
        let settings = Settings { init: self.init.clone(), ..self.common.settings(preset, device)? };
        let settings = self.writing.apply(settings);
        Ok(match correcting {
            Some(correcting) => correcting.apply(settings),
            None => settings,
        })
    }
}

fn examples(
    embedder: &SentenceTransformer,
    cache: &EmbeddingCache,
    texts: &[String],
    terminal: Terminal,
) -> Result<Examples, CliError> {
    let vectors = embed(embedder, cache, texts, terminal)?;
    let texts = texts.iter().map(|text| embedder.normalize(text)).collect();
    Ok(Examples { texts, vectors, hypotheses: None })
}

/// Makes the hypotheses that a corrector learns from.
struct Guesser<'a> {
    inverter: &'a Location,
    device: &'a candle_core::Device,
    embedder: &'a SentenceTransformer,
    cache: &'a EmbeddingCache,
    terminal: Terminal,
}

impl Guesser<'_> {
    /// The inverter's guesses and their vectors, from the cache where they are there.
    fn hypotheses(&self, examples: &Examples, dir: &Path) -> Result<(Vec<String>, Array2<f32>), CliError> {
        let inverter = Vec2Text::new(self.inverter, None)?;
        models::fit(&inverter, self.embedder)?;
        fs::create_dir_all(dir).map_err(|error| CliError::new(format!("{}: {error}", dir.display())))?;
        let bar = self.terminal.bar("guessing", examples.texts.len());
        let mut texts = Vec::with_capacity(examples.texts.len());
        for start in (0..examples.texts.len()).step_by(4096) {
            let end = (start + 4096).min(examples.texts.len());
            let part = Examples {
                texts: examples.texts[start..end].to_vec(),
                vectors: examples.vectors.slice(s![start..end, ..]).to_owned(),
                hypotheses: None,
            };
            // protected vectors of a text differ from clean ones, and so do the guesses
            let bytes = |row: ArrayView1<'_, f32>| row.iter().flat_map(|value| value.to_le_bytes()).collect();
            let guessed_from =
                Digest::of(part.vectors.rows().into_iter().map(|row| -> Vec<u8> { bytes(row) })).hex();
            let models = [inverter.hash(), self.embedder.hash(), guessed_from.as_str()].into_iter();
            let key = Digest::of(models.chain(part.texts.iter().map(String::as_str))).short();
            let path = dir.join(format!("{key}.txt"));
            let known = fs::read_to_string(&path).unwrap_or_default();
            let mut chunk: Vec<String> = known.lines().map(String::from).collect();
            if chunk.len() != end - start {
                chunk = self.guess(&inverter, &part)?;
                files::write_text(Some(&path), &(chunk.join("\n") + "\n"))?;
            }
            texts.extend(chunk);
            bar.set_position(end as u64);
        }
        bar.finish_and_clear();
        let vectors = embed(self.embedder, self.cache, &texts, self.terminal)?;
        Ok((texts, vectors))
    }

    fn guess(&self, inverter: &Vec2Text, part: &Examples) -> Result<Vec<String>, CliError> {
        Ok(if self.device.is_cpu() {
            inverter.hypotheses(part.vectors.view())?
        } else {
            training::hypotheses(self.inverter, part, self.device)?
        })
    }
}
