//! Training of embedders.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::common::{Common, embed};
use super::held_out::HeldOut;
use super::manifest;
use crate::attacks::vec2text::Preset;
use crate::attacks::vec2text::train::{self as training, Event, Examples, Settings};
use crate::cli::error::CliError;
use crate::cli::rehearsal;
use crate::cli::terminal::Terminal;
use crate::embedder::SentenceTransformer;
use crate::models::Location;

#[derive(Debug, clap::Args)]
pub(super) struct Distilling {
    /// The embedder whose vectors are learned: a sentence-transformers folder, its name on the hub, or an address
    /// (http(s)://host[:port]/v1#model).
    #[arg(long)]
    teacher: String,
    /// Start from the weights and word pieces of an earlier `train embedder` folder.
    #[arg(long)]
    init: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(distilling: &Distilling, terminal: Terminal) -> Result<ExitCode, CliError> {
    let common = &distilling.common;
    let preset = Preset::EMBEDDER;
    let device = common.device.open()?;
    let settings = common.settings(preset, &device)?;
    training::can_begin(&settings, &common.out)?;
    // what is no embedder's folder is refused before the texts are embedded
    distilling.init.as_ref().map(SentenceTransformer::load).transpose()?;
    let settings = Settings { init: distilling.init.clone().map(Location::from), ..settings };
    let teacher = common.opening(&distilling.teacher, terminal)?.embedder_on(&distilling.teacher, &device)?;
    let cache = common.cache.embeddings()?;
    let (texts, held_out) = common.texts(&[], terminal)?;
    let examples = |texts: Vec<String>| -> Result<Examples, CliError> {
        let vectors = embed(&teacher, &cache, &texts, terminal)?;
        Ok(Examples { texts, vectors, hypotheses: None })
    };
    let (examples, held_out) = (examples(texts)?, examples(held_out)?);
    if common.is_rehearsal() {
        rehearsal::tell(&teacher)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut log = common.log(&settings, HeldOut::Vectors(held_out.vectors.clone()), terminal)?;
    let mut on_event = |event: Event<'_>| log.record(&event);
    let outcome = training::embedder(&settings, &examples, &held_out, &common.out, &mut on_event)?;
    log.bar.finish_and_clear();
    // a run that had nothing left to do knows no loss
    if !log.loss.is_nan() {
        let own = [
            ("preset", json!(preset.name)),
            ("init", json!(distilling.init.as_deref().map(manifest::named))),
        ];
        let teacher = ("teacher", &teacher);
        manifest::write(
            "embedder",
            &common.told(),
            &settings,
            own,
            teacher,
            &examples.texts,
            &outcome,
            &log,
        )?;
    }
    terminal.remark(&format!("{} steps; the embedder is in {}", outcome.steps, common.out.display()));
    Ok(ExitCode::SUCCESS)
}
