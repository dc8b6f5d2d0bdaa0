//! vec2text (Morris et al., EMNLP 2023, arXiv 2310.06816), written from the paper.
//!
//! An inverter guesses the text of a vector; a corrector sees the guess, what the guess embeds to,
//! and how far that is off, and guesses again. [`Vec2Text`] runs the loop, [`train`] makes both
//! models.

mod checkpoint;
mod config;
mod corrector;
mod generate;
mod inverter;
mod search;
mod shipped;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
pub mod train;
mod vocabulary;

use std::fmt;

use candle_core::{Device, Tensor};
use embosk_models::Location;
use embosk_models::linear::Precision;
use embosk_models::t5::{self, T5};
use embosk_models::threads::{in_parallel, threads};
use ndarray::ArrayView2;
use tokenizers::Tokenizer;

use self::checkpoint::Checkpoint;
pub use self::config::{Config, Preset};
use self::corrector::Corrector;
use self::inverter::Inverter;
pub use self::shipped::{SHIPPED, shipped, shipped_for};
use crate::{Attack, Error, Inversion, Ranking, Resources, check_pairs};

/// Oracle queries a text that the local search may use where nothing else is said.
pub const LOCAL_QUERIES: usize = 100;

/// Hypotheses that are decoded together on a thread where nothing else is said.
pub const BATCH_SIZE: usize = 16;

/// Tokens of the longest correction of the published loop.
const PAPER_LENGTH: usize = 128;

/// The attack: an inverter, perhaps a corrector, and how to search with them.
///
/// ```no_run
/// use embosk_attacks::vec2text::Vec2Text;
///
/// let attack = Vec2Text::load("my-attack")?.steps(20).beam_width(4);
/// # Ok::<(), embosk_attacks::Error>(())
/// ```
pub struct Vec2Text {
    inverter: Inverter,
    corrector: Option<Corrector>,
    tokenizer: Tokenizer,
    max_length: usize,
    dimension: usize,
    hash: String,
    embedder_hash: Option<String>,
    steps: usize,
    beam_width: usize,
    local_queries: usize,
    paper: bool,
    longest: usize,
    batch_size: usize,
    precision: Precision,
}

impl Vec2Text {
    /// Loads a folder that holds an `inverter` and perhaps a `corrector`.
    ///
    /// # Errors
    /// [`Error::File`] for folders or files that are missing or damaged.
    pub fn load(dir: impl Into<Location>) -> Result<Self, Error> {
        let dir = dir.into();
        if !dir.join("inverter").is_dir() {
            let message = "there is no folder `inverter` in it; an attack is a folder with `inverter` and perhaps \
                           `corrector`, each a model's folder as `embosk train` writes it";
            return Err(Error::File { path: dir.path().to_owned(), message: message.into() });
        }
        let corrector = dir.join("corrector");
        Self::new(dir.join("inverter"), corrector.is_dir().then_some(corrector))
    }

    /// Loads an inverter and perhaps a corrector, each from its folder.
    ///
    /// # Errors
    /// [`Error::File`] for files that are missing or damaged, or models of different embedders.
    pub fn new(inverter: impl Into<Location>, corrector: Option<Location>) -> Result<Self, Error> {
        let corrector = corrector.map(|dir| Checkpoint::read(dir, &Device::Cpu)).transpose()?;
        Self::from_checkpoints(&Checkpoint::read(inverter, &Device::Cpu)?, corrector.as_ref())
    }

    /// An attack that ships with the crate, by name: `reference`, for the embedder of that name, or `minilm`,
    /// for all-MiniLM-L6-v2.
    ///
    /// # Errors
    /// As [`shipped`].
    pub fn shipped(name: &str) -> Result<Self, Error> {
        Self::load(shipped(name)?)
    }

    fn from_checkpoints(from: &Checkpoint, correcting: Option<&Checkpoint>) -> Result<Self, Error> {
        let inverter = from.model(Inverter::load)?;
        let dimension = inverter.dimension().map_err(model_error)?;
        let mut hash = from.hash.clone();
        let corrector = correcting.map(|checkpoint| checkpoint.model(Corrector::load)).transpose()?;
        if let (Some(corrector), Some(checkpoint)) = (&corrector, correcting) {
            hash = format!("{hash}+{}", checkpoint.hash);
            checkpoint.takes(corrector.dimension().map_err(model_error)?, dimension)?;
            checkpoint.shares_tokens_with(from)?;
        }
        Ok(Self {
            inverter,
            corrector,
            tokenizer: from.tokenizer.clone(),
            max_length: from.config.max_seq_length,
            dimension,
            hash,
            embedder_hash: from.embedder_hash.clone(),
            steps: 20,
            beam_width: 4,
            local_queries: LOCAL_QUERIES,
            paper: false,
            longest: PAPER_LENGTH,
            batch_size: BATCH_SIZE,
            precision: Precision::F32,
        })
    }

    /// Holds the models' weights in fewer bits: less memory, and less to read for each token. What was
    /// narrowed stays so; the hash remains that of the weights in the files.
    ///
    /// # Errors
    /// [`Error::Model`] where a weight is no matrix.
    pub fn precision(mut self, precision: Precision) -> Result<Self, Error> {
        self.inverter = self.inverter.narrowed(precision).map_err(model_error)?;
        let corrector = self.corrector.take();
        self.corrector = corrector.map(|it| it.narrowed(precision)).transpose().map_err(model_error)?;
        self.precision = precision;
        Ok(self)
    }

    /// Correction steps after the zero step; 20 unless told.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Hypotheses kept a step, from 1 to 256; 4 unless told.
    pub fn beam_width(mut self, width: usize) -> Self {
        self.beam_width = width.clamp(1, 256);
        self
    }

    /// Oracle queries a text that the local search may use; [`LOCAL_QUERIES`] unless told, 0 for none.
    ///
    /// They come on top of those of the correction. In the tests (5 steps) correction with at most 2 of them
    /// finds at least what [`paper`](Self::paper) finds, with at most half of its queries over all texts;
    /// the default may spend up to 100 more a text.
    pub fn local_queries(mut self, queries: usize) -> Self {
        self.local_queries = queries;
        self
    }

    /// The published loop, for numbers that compare with others': a greedy zero step to the checkpoint's
    /// `max_seq_length`; then exactly as many steps as are set, each a beam search over tokens with as many
    /// beams as the beam is wide (1 is greedy), up to [`paper_length`](Self::paper_length); the best distinct
    /// token sequences of all candidates go on, and the best of the last step is the result. No best-ever, no
    /// early stop, no local search. A corrected hypothesis is read again with its start token.
    ///
    /// The embedder of the published loop cuts texts to `max_seq_length` of its own tokens; where the
    /// oracle's does not, let it ([`max_length`](Self::max_length) says the number).
    pub fn paper(mut self, paper: bool) -> Self {
        self.paper = paper;
        self
    }

    /// `max_length` of a correction in the published loop, counted as Hugging Face does, with the start
    /// and the end token, from 2 to 4,096; 128 unless told.
    pub fn paper_length(mut self, tokens: usize) -> Self {
        self.longest = tokens.clamp(2, config::LONGEST);
        self
    }

    /// Hypotheses that are decoded together on a thread, at least one; [`BATCH_SIZE`] unless told.
    ///
    /// Memory beside the weights grows with it, with the beam width and with the texts' length; see
    /// [`batch_memory`](Self::batch_memory).
    pub fn batch_size(mut self, hypotheses: usize) -> Self {
        self.batch_size = hypotheses.max(1);
        self
    }

    /// The largest batch size, up to [`BATCH_SIZE`], with which all threads together stay within so many
    /// bytes beside the weights; 1 where even that takes more, which is where
    /// [`batch_memory`](Self::batch_memory) times [`threads()`] is more. Set the beam width first.
    pub fn batch_size_within(self, bytes: usize) -> Self {
        let fits = bytes / (self.batch_memory() * threads()).max(1);
        self.batch_size(fits.min(BATCH_SIZE))
    }

    /// What a hypothesis in a batch takes, in bytes, at most: for every decoder layer the keys and values
    /// of all encoder positions and of all tokens of all beams, the encoder's states and scores, and the
    /// beams' logits; or the logits of all positions in the local search. Beside it the vectors of the texts
    /// that were embedded are kept, for 256 vectors' searches at a time.
    pub fn batch_memory(&self) -> usize {
        let tokens = if self.paper { self.longest.max(self.max_length) } else { self.max_length };
        let locally = if self.paper || self.local_queries == 0 { 0 } else { tokens + 1 };
        let of = |t5: &T5, positions| {
            t5.values_per_input(positions, self.beam_width, tokens).max(t5.values_of_logits(locally))
        };
        let given = self.inverter.pseudo_tokens();
        let inverting = of(&self.inverter.t5, given);
        let corrector = self.corrector.as_ref();
        let correcting = corrector.map_or(0, |corrector| of(&corrector.t5, corrector.given() + tokens + 1));
        inverting.max(correcting) * size_of::<f32>()
    }

    /// Tokens of the longest text that the models were trained on: `max_seq_length` of the inverter.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The dimension of the vectors it takes.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The SHA-256 of the weights, in hexadecimal: the inverter's, then the corrector's.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The hash of the embedder that the inverter was trained on, where its `manifest.json` has one.
    pub fn embedder_hash(&self) -> Option<&str> {
        self.embedder_hash.as_deref()
    }

    /// Greedy zero-step hypotheses for `vectors`, without an oracle: what a corrector learns from.
    ///
    /// # Errors
    /// As [`Attack::invert`].
    pub fn hypotheses(&self, vectors: ArrayView2<'_, f32>) -> Result<Vec<String>, Error> {
        self.check(vectors)?;
        let rows: Vec<usize> = (0..vectors.nrows()).collect();
        let parts: Vec<&[usize]> = rows.chunks(64).collect();
        let tokens = in_parallel(&parts, |rows| {
            let part = vectors.select(ndarray::Axis(0), rows);
            let memory = self.inverter.encode(&to_tensor(part.view())?)?;
            generate::greedy(&self.inverter.t5, &memory, rows.len(), self.max_length)
        })
        .map_err(model_error)?;
        tokens.into_iter().flatten().map(|tokens| vocabulary::decode(&self.tokenizer, &tokens)).collect()
    }

    fn check(&self, vectors: ArrayView2<'_, f32>) -> Result<(), Error> {
        if vectors.ncols() != self.dimension {
            return Err(Error::Dimension { expected: self.dimension, found: vectors.ncols() });
        }
        match vectors.rows().into_iter().position(|row| row.iter().any(|value| !value.is_finite())) {
            Some(row) => Err(Error::NotFinite { row }),
            None => Ok(()),
        }
    }
}

impl Attack for Vec2Text {
    fn invert(
        &self,
        vectors: ArrayView2<'_, f32>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, Error> {
        self.invert_ranked_by(vectors, &Ranking { targets: vectors, image: None }, resources)
    }

    fn invert_ranked_by(
        &self,
        estimates: ArrayView2<'_, f32>,
        ranking: &Ranking<'_>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, Error> {
        self.check(estimates)?;
        self.check(ranking.targets)?;
        check_pairs(estimates, ranking.targets)?;
        search::run(self, estimates, ranking, resources.oracle)
    }
}

impl fmt::Debug for Vec2Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vec2Text")
            .field("dimension", &self.dimension)
            .field("corrector", &self.corrector.is_some())
            .field("steps", &self.steps)
            .field("beam_width", &self.beam_width)
            .field("local_queries", &self.local_queries)
            .field("paper", &self.paper)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Vec2Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vec2text(steps={}, beam={}", self.steps, self.beam_width)?;
        match (self.paper, self.longest) {
            (true, PAPER_LENGTH) => f.write_str(", paper")?,
            (true, longest) => write!(f, ", paper, length={longest}")?,
            (false, _) => write!(f, ", local_queries={}", self.local_queries)?,
        }
        match self.precision {
            Precision::F32 => f.write_str(")"),
            Precision::Bf16 => f.write_str(", weights=bf16)"),
            Precision::Q8 => f.write_str(", weights=q8)"),
        }
    }
}

fn model_error(error: candle_core::Error) -> Error {
    Error::Model(Box::new(error))
}

/// Token ids of different lengths to `[rows, longest]`, padded at the end.
fn pad<T: AsRef<[u32]>>(rows: &[T]) -> candle_core::Result<Tensor> {
    let length = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0).max(1);
    let mut ids = vec![t5::PAD; rows.len() * length];
    for (target, row) in ids.chunks_exact_mut(length).zip(rows) {
        target[..row.as_ref().len()].copy_from_slice(row.as_ref());
    }
    Tensor::from_vec(ids, (rows.len(), length), &Device::Cpu)
}

fn to_tensor(vectors: ArrayView2<'_, f32>) -> candle_core::Result<Tensor> {
    Tensor::from_vec(vectors.iter().copied().collect::<Vec<f32>>(), vectors.dim(), &Device::Cpu)
}
