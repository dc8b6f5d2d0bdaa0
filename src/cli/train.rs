//! `embosk train`: an inverter or a corrector for an embedder.

mod chart;
mod defended;
mod log;
mod options;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use embosk::Embedder;
use embosk::Stack;
use embosk::attacks::vec2text::train::{self as training, Budget, Embed, Event, Examples, Outcome, Settings};
use embosk::attacks::vec2text::{Config, Preset, Vec2Text};
use embosk::embedder::{EmbeddingCache, SentenceTransformer};
use embosk::evaluate::corpus::read_texts;
use embosk::evaluate::records::{Split, generate};
use ndarray::{Array2, ArrayView1};
use serde_json::json;
use sha2::{Digest, Sha256};

use self::log::Log;
use self::options::{Correcting, Course};
use super::models::Cache;
use super::progress::bar;
use super::{CliError, models, remark};

/// Texts that are held out to watch the training by.
const HELD_OUT: usize = 256;

/// Train vec2text for an embedder: first an inverter, then a corrector for it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    model: Model,
}

#[derive(Debug, Subcommand)]
enum Model {
    /// Train the model that guesses a text from its vector.
    Inverter(Common),
    /// Train the model that corrects a guess.
    Corrector {
        /// The inverter whose guesses are corrected: a folder, its name on the hub, or the name of a shipped one
        /// (reference or minilm).
        #[arg(long)]
        inverter: String,
        #[command(flatten)]
        correcting: Correcting,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The embedder to attack: a sentence-transformers folder, its name on the hub, or the one that is shipped.
    #[arg(long, default_value = models::REFERENCE)]
    embedder: String,
    /// Text files of one text a line, or `records[:N]` for N built-in records of the training split.
    #[arg(long, required = true, num_args = 1..)]
    corpus: Vec<String>,
    /// The folder for the model, its checkpoint, `log.csv`, `log.svg` and `manifest.json`.
    #[arg(long)]
    out: PathBuf,
    /// The size of the model; a corrector has its inverter's.
    #[arg(long, default_value = "tiny")]
    preset: Size,
    /// A folder with a model whose weights and word pieces to begin with: one of the same kind, or a T5 as
    /// Hugging Face has it.
    #[arg(long)]
    init: Option<PathBuf>,
    /// Train on protected vectors, as an attacker does who knows the defense; may be given again, and
    /// then the texts take the defenses in turn. Where one needs a key, the attacker draws his own.
    #[arg(long, value_name = "SPEC")]
    defense: Vec<String>,
    /// Where the model runs.
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Stop after so many steps.
    #[arg(long, conflicts_with = "minutes")]
    steps: Option<usize>,
    /// Stop after so many minutes of training; 60 when neither is given.
    #[arg(long)]
    minutes: Option<f64>,
    /// Go on from the checkpoint in the output folder.
    #[arg(long)]
    resume: bool,
    /// Fixes the weights to begin with, the order of the texts, and the records.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds between checkpoints.
    #[arg(long, default_value_t = 60)]
    checkpoint_every: u64,
    #[command(flatten)]
    course: Course,
    #[command(flatten)]
    cache: Cache,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Size {
    Tiny,
    Small,
    Base,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Device {
    Cpu,
    Cuda,
    Metal,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let (kind, common) = match &args.model {
        Model::Inverter(common) => ("inverter", common),
        Model::Corrector { common, .. } => ("corrector", common),
    };
    // not clap's to read: its errors repeat what was written, and that may hold a key
    let stacks: Vec<Stack> =
        common.defense.iter().map(|spec| models::stack(spec)).collect::<Result<_, _>>()?;
    let settings = match &args.model {
        Model::Corrector { correcting, .. } => correcting.apply(common.settings()?),
        Model::Inverter(_) => common.settings()?,
    };
    training::can_begin(&settings, &common.out)?;
    let inverter = match &args.model {
        Model::Corrector { inverter, .. } => Some(models::folder(inverter, "inverter")?),
        Model::Inverter(_) => None,
    };
    let embedder = models::embedder(&common.embedder)?;
    let cache = common.cache.embeddings(&embedder)?;
    let (texts, held_out) = common.texts()?;
    let settings = Settings { embedder: embedder.to_string(), ..settings };
    let mut examples = examples(&embedder, &cache, &texts)?;
    let mut held_out = self::examples(&embedder, &cache, &held_out)?;
    defended::protect(&stacks, &mut examples.vectors, common.seed, common.seed)?;
    defended::protect(&stacks, &mut held_out.vectors, common.seed, u64::MAX - common.seed)?;
    if let Some(inverter) = &inverter {
        let inverter = Vec2Text::new(inverter, None)?;
        models::fit(&inverter, &embedder)?;
        for part in [&mut examples, &mut held_out] {
            part.hypotheses =
                Some(hypotheses(&inverter, &embedder, &cache, part, &common.cache.hypotheses())?);
        }
    }
    fs::create_dir_all(&common.out)
        .map_err(|error| CliError::new(format!("{}: {error}", common.out.display())))?;
    let mut log = Log::open(&common.out, common.resume, settings.patience.is_some(), &held_out.texts)?;
    let mut on_event = |event: Event<'_>| log.record(&event);
    let outcome = match &inverter {
        None => training::inverter(&settings, &examples, &held_out, &common.out, &mut on_event)?,
        Some(inverter) => {
            let embed = |texts: &[&str]| embedder.embed(texts);
            let (examples, held_out) = (&examples, &held_out);
            let (embed, out) = (Some(&embed as &Embed<'_>), &common.out);
            training::corrector(&settings, inverter, examples, held_out, embed, out, &mut on_event)?
        }
    };
    log.bar.finish_and_clear();
    // a run that had nothing left to do knows no loss
    if !log.loss.is_nan() {
        let manifest = manifest(kind, common, &settings, &stacks, &embedder, &examples, &outcome, &log)?;
        write(&common.out.join("manifest.json"), &manifest)?;
    }
    remark(&format!("{} steps; the {kind} is in {}", outcome.steps, common.out.display()));
    Ok(ExitCode::SUCCESS)
}

impl Common {
    fn settings(&self) -> Result<Settings, CliError> {
        let positive = |value: f64, what: &str| {
            if value > 0.0 && value.is_finite() {
                Ok(())
            } else {
                Err(CliError::new(format!("--{what} must be more than 0")))
            }
        };
        positive(self.minutes.unwrap_or(1.0), "minutes")?;
        positive(self.steps.unwrap_or(1) as f64, "steps")?;
        if self.device != Device::Cpu {
            return Err(CliError::new("models run on the cpu for now; leave --device out"));
        }
        let minutes = Duration::try_from_secs_f64(60.0 * self.minutes.unwrap_or(60.0))
            .map_err(|_| CliError::new("--minutes is too large"))?;
        Ok(self.course.apply(Settings {
            preset: match self.preset {
                Size::Tiny => Preset::TINY,
                Size::Small => Preset::SMALL,
                Size::Base => Preset::BASE,
            },
            init: self.init.clone(),
            budget: self.steps.map_or(Budget::Time(minutes), Budget::Steps),
            seed: self.seed,
            checkpoint_every: Duration::from_secs(self.checkpoint_every),
            resume: self.resume,
            ..Settings::default()
        }))
    }

    /// The texts to train on, and those that are held out: of records the held-out split, of files
    /// every hundredth line that is not trained on as well.
    fn texts(&self) -> Result<(Vec<String>, Vec<String>), CliError> {
        let (mut train, mut held_out) = (Vec::new(), Vec::new());
        for name in &self.corpus {
            if let Some(count) = models::records(name)? {
                train.extend(generate(Split::Train, self.seed).take(count).map(|record| record.text));
                // far from the seeds that evaluations draw their records from
                let seed = u64::MAX - self.seed;
                held_out.extend(generate(Split::HeldOut, seed).take(HELD_OUT).map(|record| record.text));
                continue;
            }
            let texts = read_texts(Path::new(name))?;
            for (index, text) in texts.into_iter().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
                let target = if index % 100 == 99 { &mut held_out } else { &mut train };
                target.push(text);
            }
        }
        let known: HashSet<String> = train.iter().map(|text| text.to_lowercase()).collect();
        held_out.retain(|text| !known.contains(&text.to_lowercase()));
        held_out.truncate(HELD_OUT);
        if train.is_empty() || held_out.is_empty() {
            return Err(CliError::new("the corpus is too small: at least 100 texts are needed"));
        }
        Ok((train, held_out))
    }
}

fn examples(
    embedder: &SentenceTransformer,
    cache: &EmbeddingCache,
    texts: &[String],
) -> Result<Examples, CliError> {
    let vectors = embed(embedder, cache, texts)?;
    let texts = texts.iter().map(|text| embedder.normalize(text)).collect();
    Ok(Examples { texts, vectors, hypotheses: None })
}

fn embed(
    embedder: &SentenceTransformer,
    cache: &EmbeddingCache,
    texts: &[String],
) -> Result<Array2<f32>, CliError> {
    let bar = bar("embedding", texts.len());
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vectors = cache.embed(embedder, &texts, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    Ok(vectors)
}

/// The inverter's guesses and their vectors, from the cache where they are there.
fn hypotheses(
    inverter: &Vec2Text,
    embedder: &SentenceTransformer,
    cache: &EmbeddingCache,
    examples: &Examples,
    dir: &Path,
) -> Result<(Vec<String>, Array2<f32>), CliError> {
    fs::create_dir_all(dir).map_err(|error| CliError::new(format!("{}: {error}", dir.display())))?;
    let bar = bar("guessing", examples.texts.len());
    let mut texts = Vec::with_capacity(examples.texts.len());
    let starts = (0..examples.texts.len()).step_by(4096);
    for start in starts {
        let end = (start + 4096).min(examples.texts.len());
        let vectors = examples.vectors.slice(ndarray::s![start..end, ..]);
        // protected vectors of a text differ from clean ones, and so do the guesses
        let bytes = |row: ArrayView1<'_, f32>| row.iter().flat_map(|value| value.to_le_bytes()).collect();
        let guessed_from = hash(vectors.rows().into_iter().map(|row| -> Vec<u8> { bytes(row) }));
        let models = [inverter.hash(), embedder.hash(), guessed_from.as_str()].into_iter();
        let key = hash(models.chain(examples.texts[start..end].iter().map(String::as_str)));
        let path = dir.join(format!("{}.txt", &key[..32]));
        let known = fs::read_to_string(&path).unwrap_or_default();
        let mut chunk: Vec<String> = known.lines().map(String::from).collect();
        if chunk.len() != end - start {
            chunk = inverter.hypotheses(vectors)?;
            write(&path, &(chunk.join("\n") + "\n"))?;
        }
        texts.extend(chunk);
        bar.set_position(end as u64);
    }
    bar.finish_and_clear();
    let vectors = embed(embedder, cache, &texts)?;
    Ok((texts, vectors))
}

#[allow(clippy::too_many_arguments, reason = "private; each is a different thing")]
fn manifest(
    kind: &str,
    common: &Common,
    settings: &Settings,
    stacks: &[Stack],
    embedder: &SentenceTransformer,
    examples: &Examples,
    outcome: &Outcome,
    log: &Log,
) -> Result<String, CliError> {
    let config = fs::read(common.out.join("config.json")).unwrap_or_default();
    let config: Config = serde_json::from_slice(&config)?;
    let preset = config.model_name_or_path;
    let mut settings = options::listed(settings);
    for (name, value) in [
        ("preset", json!(preset)),
        ("seed", json!(common.seed)),
        ("steps", json!(outcome.steps)),
        ("minutes", json!(common.steps.is_none().then(|| common.minutes.unwrap_or(60.0)))),
        ("init", json!(common.init)),
        ("defenses", json!(stacks.iter().map(ToString::to_string).collect::<Vec<_>>())),
    ] {
        settings[name] = value;
    }
    let manifest = json!({
        "model": kind,
        "version": env!("CARGO_PKG_VERSION"),
        "embedder": { "name": embedder.to_string(), "hash": embedder.hash(), "dimension": embedder.dimension() },
        "corpus": {
            "names": common.corpus,
            "texts": examples.texts.len(),
            "hash": hash(examples.texts.iter().map(String::as_str)),
        },
        "settings": settings,
        "loss": log.loss,
        "held_out": log.scores.map(|(exact, bleu)| json!({
            "texts": log.held_out.len(), "decoding": "greedy, one pass", "exact_match": exact, "bleu": bleu,
        })),
        "training_seconds": outcome.elapsed.as_secs(),
        "wall_seconds_of_this_run": log.began.elapsed().as_secs(),
    });
    Ok(serde_json::to_string_pretty(&manifest)? + "\n")
}

/// Of the parts, each preceded by its length.
fn hash(parts: impl Iterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.as_ref().len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    super::files::write_text(Some(path), text)
}
