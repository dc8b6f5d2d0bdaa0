//! The training of one model: an inverter, or a corrector for it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::held_out::HeldOut;
use super::log::Log;
use super::manifest::{self, Told};
use crate::attacks::vec2text::Config;
use crate::attacks::vec2text::train::{self as training, Embed, Event, Examples, Settings, Trained};
use crate::cli::error::CliError;
use crate::cli::files;
use crate::cli::loaded::Loaded;
use crate::cli::terminal::Terminal;
use crate::models::Location;
use crate::{Embedder, Role, Stack};

/// What is trained, and what is reported of it.
pub(super) struct ModelTraining<'a> {
    pub(super) settings: Settings,
    pub(super) embedder: &'a Loaded,
    /// The inverter, for a corrector.
    pub(super) inverter: Option<&'a Location>,
    pub(super) stacks: &'a [Stack],
    /// The name of the model that it begins with.
    pub(super) init: Option<String>,
    pub(super) out: &'a Path,
    pub(super) told: Told<'a>,
    pub(super) terminal: Terminal,
}

impl ModelTraining<'_> {
    /// Trains the model, and writes its folder with log and manifest.
    pub(super) fn run(&self, examples: &Examples, held_out: &Examples) -> Result<Trained, CliError> {
        let Self { settings, out, terminal, .. } = self;
        fs::create_dir_all(out).map_err(|error| files::bad(out, error))?;
        let texts = HeldOut::Texts(held_out.texts.clone());
        let mut log = Log::open(out, settings.resume, settings.patience.is_some(), texts, *terminal)?;
        let mut on_event = |event: Event<'_>| log.record(&event);
        let outcome = match self.inverter {
            None => training::inverter(settings, examples, held_out, out, &mut on_event)?,
            Some(inverter) => {
                let embed = |texts: &[&str]| self.embedder.embed(Role::Document, texts);
                let embed = Some(&embed as &Embed<'_>);
                training::corrector(settings, inverter, examples, held_out, embed, out, &mut on_event)?
            }
        };
        log.bar.finish_and_clear();
        // a run that had nothing left to do knows no loss
        if !log.loss.is_nan() {
            let texts = &examples.texts;
            manifest::write(
                self.kind(),
                &self.told,
                settings,
                self.own()?,
                ("embedder", self.embedder),
                texts,
                &outcome,
                &log,
            )?;
        }
        terminal.remark(&format!("{} steps; the {} is in {}", outcome.steps, self.kind(), out.display()));
        Ok(outcome)
    }

    fn kind(&self) -> &'static str {
        if self.inverter.is_some() { "corrector" } else { "inverter" }
    }

    /// What only attacks have in their manifest.
    fn own(&self) -> Result<[(&'static str, Value); 3], CliError> {
        let config = fs::read(self.out.join("config.json")).unwrap_or_default();
        let config: Config = serde_json::from_slice(&config)?;
        let stacks: Vec<String> = self.stacks.iter().map(ToString::to_string).collect();
        Ok([
            ("preset", json!(config.model_name_or_path)),
            ("init", json!(self.init)),
            ("defenses", json!(stacks)),
        ])
    }
}
