//! The hypotheses that a corrector learns from.

use std::path::Path;

use ndarray::{Array2, ArrayView1, Axis, concatenate, s};

use super::common::embed;
use crate::attacks::vec2text::Vec2Text;
use crate::attacks::vec2text::train::{self as training, Examples};
use crate::cli::error::CliError;
use crate::cli::files::{self, Readers};
use crate::cli::loaded::Loaded;
use crate::cli::models;
use crate::cli::terminal::Terminal;
use crate::digest::Digest;
use crate::embedder::EmbeddingCache;
use crate::models::{CODE, Location};
use crate::partial;

/// How many texts' guesses are kept together.
pub(super) const CHUNK: usize = 4096;

/// Makes the inverter's guesses.
pub(super) struct Guesser<'a> {
    pub(super) inverter: &'a Location,
    pub(super) device: &'a candle_core::Device,
    pub(super) embedder: &'a Loaded,
    pub(super) cache: &'a EmbeddingCache,
    /// The folder that keeps guesses.
    pub(super) folder: &'a Path,
    pub(super) terminal: Terminal,
}

impl Guesser<'_> {
    /// The inverter's guesses and their vectors, from the cache if they are there.
    pub(super) fn hypotheses(&self, examples: &Examples) -> Result<(Vec<String>, Array2<f32>), CliError> {
        self.hypotheses_while(examples, CHUNK, |_| true)
    }

    /// The same for only the first texts, at least one `chunk`. Before each further chunk, `go_on` is asked with the
    /// number of texts that are done.
    pub(super) fn hypotheses_while(
        &self,
        examples: &Examples,
        chunk: usize,
        go_on: impl Fn(usize) -> bool,
    ) -> Result<(Vec<String>, Array2<f32>), CliError> {
        let inverter = Vec2Text::new(self.inverter, None)?;
        models::fit(&inverter, self.embedder)?;
        let count = examples.texts.len();
        let bar = self.terminal.bar("guessing", count);
        let (mut texts, mut vectors) = (Vec::with_capacity(count), Vec::new());
        while texts.len() < count && (texts.is_empty() || go_on(texts.len())) {
            let (start, end) = (texts.len(), (texts.len() + chunk).min(count));
            let guesses = self.kept(&inverter, &part(examples, start, end))?;
            vectors.push(embed(self.embedder, self.cache, &guesses, Terminal::Quiet)?);
            texts.extend(guesses);
            bar.set_position(end as u64);
        }
        bar.finish_and_clear();
        let views: Vec<_> = vectors.iter().map(|part| part.view()).collect();
        Ok((texts, concatenate(Axis(0), &views)?))
    }

    fn kept(&self, inverter: &Vec2Text, part: &Examples) -> Result<Vec<String>, CliError> {
        // protected vectors of a text differ from clean ones, and so do the guesses
        let bytes = |row: ArrayView1<'_, f32>| row.iter().flat_map(|value| value.to_le_bytes()).collect();
        let guessed_from =
            Digest::of(part.vectors.rows().into_iter().map(|row| -> Vec<u8> { bytes(row) })).hex();
        let models = [inverter.hash(), self.embedder.hash(), guessed_from.as_str(), CODE].into_iter();
        let key = Digest::of(models.chain(part.texts.iter().map(String::as_str))).short();
        let path = self.folder.join(format!("{key}.txt"));
        let known = partial::read_ours(&path).unwrap_or_default();
        let known: Vec<String> = known.lines().map(String::from).collect();
        if known.len() == part.texts.len() {
            return Ok(known);
        }
        let guesses = self.guess(inverter, part)?;
        files::write_ours(Readers::Owner, &path, &(guesses.join("\n") + "\n"))?;
        Ok(guesses)
    }

    fn guess(&self, inverter: &Vec2Text, part: &Examples) -> Result<Vec<String>, CliError> {
        Ok(if self.device.is_cpu() {
            inverter.hypotheses(part.vectors.view())?
        } else {
            training::hypotheses(self.inverter, part, self.device)?
        })
    }
}

/// Some of the examples, without hypotheses.
fn part(examples: &Examples, start: usize, end: usize) -> Examples {
    Examples {
        texts: examples.texts[start..end].to_vec(),
        vectors: examples.vectors.slice(s![start..end, ..]).to_owned(),
        hypotheses: None,
    }
}
