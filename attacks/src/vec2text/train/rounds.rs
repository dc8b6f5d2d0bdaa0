//! Rounds of a corrector's training, each with its own hypotheses.
//!
//! The paper's corrector sees only the inverter's guesses, but must then correct what it made of them itself. Here it
//! learns from that too. A round lasts `refresh_every` steps. In the first two rounds, the hypotheses are the
//! inverter's. In round `k`, half of them are, and the others are what the corrector made of these in one or more
//! corrections. It made them with its weights at the beginning of round `k − 1`, so they are computed while that
//! round is trained. Rows whose hypothesis is already right are left out.
//!
//! A round follows entirely from the seed and from the weights at the beginning of the round before, which are kept
//! in files. So a run that was killed continues exactly as one that was not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};

use candle_core::{Device, Tensor, Var};
use ndarray::{Array2, Axis};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tokenizers::Tokenizer;

use super::super::{model_error, vocabulary};
use super::batches::Batches;
use super::examples::{Data, Hypothesis, Later, Lesson};
use super::saved;
use super::settings::{Outputs, Settings, TrainingLength};
use super::trainable::Trainable;
use super::{Embed, load};
use crate::Error;

/// How many texts are embedded together. A run that is over waits for at most this many.
const TEXTS: usize = 1024;

/// Weights by name.
type Weights = BTreeMap<String, Tensor>;

/// What rounds are made of.
pub(super) struct Source<'a> {
    pub(super) settings: &'a Settings,
    pub(super) data: &'a Data<'a>,
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) max_length: usize,
    /// Whether texts can be embedded; without it every round is the first.
    pub(super) embed: Option<&'a Embed<'a>>,
    /// The training's folder.
    pub(super) out: &'a Path,
    /// Set when the hypotheses in progress are no longer needed.
    pub(super) over: AtomicBool,
}

/// A round: what its batches are drawn from.
pub(super) struct Round {
    /// The rows that are learned from.
    rows: Vec<usize>,
    pub(super) later: Later,
    batches: Batches,
    first_step: usize,
}

impl Source<'_> {
    /// Whether there is more than one round.
    fn refreshes(&self) -> bool {
        self.settings.depths > 1 && self.embed.is_some() && self.data.has_hypotheses()
    }

    /// The round that a step belongs to.
    pub(super) fn round_of(&self, step: usize) -> usize {
        if self.refreshes() { step / self.settings.refresh_every } else { 0 }
    }

    /// Creates a round with hypotheses that were made for it.
    fn round(&self, number: usize, later: Later) -> Result<Round, Error> {
        let lesson = Lesson { data: self.data, later: &later };
        let unsolved = |row: &usize| !lesson.is_solved(*row);
        let planned: Vec<usize> = if number < 2 {
            (0..self.data.len()).collect()
        } else {
            self.plan(number).into_iter().map(|(row, _)| row).collect()
        };
        let rows: Vec<usize> = planned.into_iter().filter(unsolved).collect();
        if rows.is_empty() && number >= 2 {
            // what was drawn is right by now: back to the inverter's hypotheses, of all rows
            return Ok(Round { first_step: self.first_step(number), ..self.round(0, Later::new())? });
        }
        if rows.is_empty() {
            return Err(Error::Empty("the list of hypotheses that are wrong, and to be corrected,"));
        }
        let lengths: Vec<usize> = rows.iter().map(|&row| self.data.tokens[row].len()).collect();
        let seed = self.settings.seed.wrapping_add(number as u64);
        let batches = Batches::new(&lengths, self.settings.batch, seed);
        Ok(Round { rows, later, batches, first_step: self.first_step(number) })
    }

    fn first_step(&self, number: usize) -> usize {
        if self.refreshes() { number * self.settings.refresh_every } else { 0 }
    }

    /// The rows of a round, drawn by the seed, and how often each is corrected beforehand.
    fn plan(&self, number: usize) -> Vec<(usize, usize)> {
        let mut rng = ChaCha12Rng::seed_from_u64(self.settings.seed);
        // streams that no epoch has
        rng.set_stream(u64::MAX - number as u64);
        let mut rows: Vec<usize> = (0..self.data.len()).collect();
        rows.shuffle(&mut rng);
        rows.truncate(self.settings.refresh_every.saturating_mul(self.settings.batch));
        let mut depth = || match rng.next_u32() {
            draw if draw.is_multiple_of(2) => 0,
            draw => 1 + draw as usize / 2 % (self.settings.depths - 1),
        };
        rows.into_iter().map(|row| (row, depth())).collect()
    }

    /// The corrector's own hypotheses for a round, made with these weights.
    fn corrected<M: Trainable>(&self, number: usize, weights: &Weights) -> Result<Later, Error> {
        let Some(embed) = self.embed else { return Ok(Later::new()) };
        let model: M = load(weights, &self.settings.device)?;
        let plan = self.plan(number);
        let mut later = Later::new();
        let go_on = || !self.over.load(Ordering::Relaxed);
        for depth in 1..self.settings.depths {
            let lesson = Lesson { data: self.data, later: &later };
            let rows: Vec<usize> = plan
                .iter()
                .filter(|(row, depths)| *depths >= depth && !lesson.is_solved(*row))
                .map(|(row, _)| *row)
                .collect();
            let made = model.outputs(lesson, &rows, self.tokenizer, self.max_length, &go_on)?;
            let Outputs::Texts(texts) = made else { break };
            if rows.is_empty() || !go_on() {
                break;
            }
            let vectors = self.vectors(embed, &texts)?;
            for ((row, text), vector) in rows.into_iter().zip(texts).zip(vectors.rows()) {
                let tokens = vocabulary::encode(self.tokenizer, &text, self.max_length)?;
                later.insert(row, Hypothesis { tokens, vector: vector.to_owned() });
            }
        }
        Ok(later)
    }

    fn vectors(&self, embed: &Embed<'_>, texts: &[String]) -> Result<Array2<f32>, Error> {
        let dim = self.data.vectors.ncols();
        let mut all = Array2::zeros((texts.len(), dim));
        for (texts, mut rows) in texts.chunks(TEXTS).zip(all.axis_chunks_iter_mut(Axis(0), TEXTS)) {
            if self.over.load(Ordering::Relaxed) {
                break;
            }
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let vectors = embed(&texts).map_err(Error::Oracle)?;
            if vectors.ncols() != dim {
                return Err(Error::Dimension { expected: dim, found: vectors.ncols() });
            }
            if vectors.dim() != rows.dim() || vectors.iter().any(|value| !value.is_finite()) {
                let message = "it returned another number of rows than it was given texts, or a value that is not finite";
                return Err(Error::Oracle(message.into()));
            }
            rows.assign(&vectors);
        }
        Ok(all)
    }

    fn file(&self, number: usize) -> PathBuf {
        self.out.join(format!("round-{number}.safetensors"))
    }

    /// The weights that a round began with.
    fn read(&self, number: usize) -> Result<Weights, Error> {
        let path = self.file(number);
        let weights = candle_core::safetensors::load(&path, &Device::Cpu).map_err(|error| Error::File {
            path,
            message: format!(
                "what the round began with cannot be read ({error}); train anew in another folder"
            ),
        })?;
        Ok(weights.into_iter().collect())
    }

    /// Removes the files that no checkpoint from here on needs. The first round has none.
    pub(super) fn forget(&self, number: usize) {
        for round in 1..number.saturating_sub(1) {
            let _ = fs::remove_file(self.file(round));
        }
    }
}

impl Round {
    /// The rows of a step.
    pub(super) fn batch(&mut self, step: usize) -> Vec<usize> {
        self.batches.at(step - self.first_step).into_iter().map(|place| self.rows[place]).collect()
    }

    /// How many examples are learned from, and how many of them have a hypothesis of the corrector's own.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.rows.len(), self.rows.iter().filter(|row| self.later.contains_key(row)).count())
    }
}

/// The rounds of a run: the current one, and the hypotheses of the next while they are made.
pub(super) struct Rounds<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    source: &'env Source<'env>,
    next: Option<(usize, ScopedJoinHandle<'scope, Result<Later, Error>>)>,
}

impl<'scope, 'env> Rounds<'scope, 'env> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, source: &'env Source<'env>) -> Self {
        Self { scope, source, next: None }
    }

    /// Enters a round at a step: at its first step with the current weights, or within it if a run resumes.
    pub(super) fn enter<M: Trainable>(
        &mut self,
        step: usize,
        vars: &BTreeMap<String, Var>,
    ) -> Result<Round, Error> {
        let number = self.source.round_of(step);
        let made = match self.next.take() {
            Some((of, handle)) if of == number => match handle.join() {
                Ok(made) => made?,
                Err(_) => return Err(Error::Model("a worker panicked".into())),
            },
            _ if number < 2 => Later::new(),
            _ => self.source.corrected::<M>(number, &self.source.read(number - 1)?)?,
        };
        if number > 0 {
            let fresh = step == number * self.source.settings.refresh_every;
            let weights = if fresh { self.keep(number, vars)? } else { self.source.read(number)? };
            self.begin_next::<M>(number + 1, weights);
        }
        self.source.round(number, made)
    }

    /// Copies the weights, which continue to change, and saves them.
    fn keep(&self, number: usize, vars: &BTreeMap<String, Var>) -> Result<Weights, Error> {
        let weights: Weights = vars
            .iter()
            .map(|(name, var)| Ok((name.clone(), var.as_tensor().detach().copy()?)))
            .collect::<candle_core::Result<_>>()
            .map_err(model_error)?;
        saved::write_tensors(&self.source.file(number), &weights, None)?;
        Ok(weights)
    }

    fn begin_next<M: Trainable>(&mut self, number: usize, weights: Weights) {
        let source = self.source;
        let last = match source.settings.length {
            TrainingLength::Steps(steps) => number * source.settings.refresh_every >= steps,
            TrainingLength::Time(_) => false,
        };
        if !last {
            let make = move || source.corrected::<M>(number, &weights);
            self.next = Some((number, self.scope.spawn(make)));
        }
    }
}

impl Drop for Rounds<'_, '_> {
    fn drop(&mut self) {
        self.source.over.store(true, Ordering::Relaxed);
    }
}
