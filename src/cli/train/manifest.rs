//! `manifest.json`: what a model was trained on and how, and how good it is.

use std::path::Path;

use serde_json::{Value, json};

use super::log::Log;
use super::options;
use crate::attacks::vec2text::train::{Settings, Trained};
use crate::cli::device::Device;
use crate::cli::error::CliError;
use crate::cli::files::{self, Readers};
use crate::cli::loaded::Loaded;
use crate::cli::models::title;
use crate::digest::Digest;

/// The options of a training, besides its settings.
pub(super) struct Told<'a> {
    pub(super) corpus: &'a [String],
    pub(super) out: &'a Path,
    pub(super) seed: u64,
    /// The minutes, if the length is a time.
    pub(super) minutes: Option<f64>,
    /// The vocabulary size, if it is not the preset's.
    pub(super) vocabulary: Option<usize>,
    pub(super) device: Device,
}

/// Writes it to the output folder. `own` are settings of only this kind of model; `embedder` is the one whose vectors
/// are learned from, and its part in the training.
#[allow(clippy::too_many_arguments, reason = "private; each is a different thing")]
pub(super) fn write(
    kind: &str,
    told: &Told<'_>,
    settings: &Settings,
    own: impl IntoIterator<Item = (&'static str, Value)>,
    embedder: (&str, &Loaded),
    texts: &[String],
    outcome: &Trained,
    log: &Log,
) -> Result<(), CliError> {
    let mut settings = options::listed(settings);
    for (name, value) in [
        ("seed", json!(told.seed)),
        ("steps", json!(outcome.steps)),
        ("minutes", json!(told.minutes)),
        ("vocabulary", json!(told.vocabulary)),
        ("device", json!(format!("{:?}", told.device).to_lowercase())),
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
            "names": told.corpus.iter().map(|name| title(name)).collect::<Vec<_>>(),
            "texts": texts.len(),
            "hash": Digest::of(texts).hex(),
        },
        "settings": settings,
        "loss": log.loss,
        "held_out": log.scores.map(|scores| log.held_out.listed(scores)),
        "training_seconds": outcome.elapsed.as_secs(),
        "wall_seconds_of_this_run": log.began.elapsed().as_secs(),
    });
    files::write_ours(
        Readers::Usual,
        &told.out.join("manifest.json"),
        &(serde_json::to_string_pretty(&manifest)? + "\n"),
    )
}

/// A folder's name without its path, which differs between machines.
pub(super) fn named(folder: &Path) -> String {
    title(&folder.to_string_lossy())
}
