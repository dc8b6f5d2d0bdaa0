//! `manifest.json`: what a model was trained on and how, and how good it is.

use std::path::Path;

use serde_json::{Value, json};

use super::common::Common;
use super::log::Log;
use super::options;
use crate::attacks::vec2text::train::{Settings, Trained};
use crate::cli::error::CliError;
use crate::cli::files;
use crate::cli::models::title;
use crate::digest::Digest;
use crate::embedder::SentenceTransformer;

/// Writes it to the output folder. `own` are settings of this kind of model alone; `embedder` is the one whose
/// vectors are learned from, and what it is to the model.
#[allow(clippy::too_many_arguments, reason = "private; each is a different thing")]
pub(super) fn write(
    kind: &str,
    common: &Common,
    settings: &Settings,
    own: impl IntoIterator<Item = (&'static str, Value)>,
    embedder: (&str, &SentenceTransformer),
    texts: &[String],
    outcome: &Trained,
    log: &Log,
) -> Result<(), CliError> {
    let vocabulary = settings.preset.vocabulary;
    let mut settings = options::listed(settings);
    for (name, value) in [
        ("seed", json!(common.seed)),
        ("steps", json!(outcome.steps)),
        ("minutes", json!(common.steps.is_none().then(|| common.minutes.unwrap_or(60.0)))),
        ("vocabulary", json!(common.vocabulary.map(|_| vocabulary))),
        ("device", json!(format!("{:?}", common.device).to_lowercase())),
    ]
    .into_iter()
    .chain(own)
    {
        settings[name] = value;
    }
    let (role, embedder) = embedder;
    let manifest = json!({
        "model": kind,
        "version": env!("CARGO_PKG_VERSION"),
        role: { "name": embedder.to_string(), "hash": embedder.hash(), "dimension": embedder.dimension() },
        "corpus": {
            "names": common.corpus.iter().map(|name| title(name)).collect::<Vec<_>>(),
            "texts": texts.len(),
            "hash": Digest::of(texts).hex(),
        },
        "settings": settings,
        "loss": log.loss,
        "held_out": log.scores.map(|scores| log.held_out.listed(scores)),
        "training_seconds": outcome.elapsed.as_secs(),
        "wall_seconds_of_this_run": log.began.elapsed().as_secs(),
    });
    files::write_text(
        Some(&common.out.join("manifest.json")),
        &(serde_json::to_string_pretty(&manifest)? + "\n"),
    )
}

/// A folder by its own name, as the way to it is that of one machine.
pub(super) fn named(folder: &Path) -> String {
    title(&folder.to_string_lossy())
}
