//! vec2text (Morris et al., EMNLP 2023, arXiv 2310.06816), written from the paper.
//!
//! An inverter guesses the text of a vector. A corrector sees the guess, the guess's vector, and how far it is off,
//! and guesses again. [`Vec2Text`] runs the loop, and [`train`] trains both models.

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
mod training_texts;
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
pub use self::training_texts::{TRAINING_TEXTS, TrainingTexts};
use crate::check::check_targets;
use crate::{Attack, Error, Inversion, Ranking, Resources, check_pairs};

/// How many oracle queries the local search may use per text, by default.
pub const LOCAL_QUERIES: usize = 100;

/// How many hypotheses are decoded together on a thread, by default.
pub const BATCH_SIZE: usize = 16;

/// Tokens of the longest correction of the published loop.
const PAPER_LENGTH: usize = 128;

/// The vec2text attack: an inverter, perhaps a corrector, and how to search with them.
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
    /// The training texts of the inverter, and of the corrector if there is one.
    trained_on: Vec<Option<TrainingTexts>>,
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

    /// Loads an attack that ships with the crate, by name: `reference`, for the embedder of that name, or `minilm`,
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
            inverter: inverter.packed().map_err(model_error)?,
            corrector: corrector.map(Corrector::packed).transpose().map_err(model_error)?,
            tokenizer: from.tokenizer.clone(),
            max_length: from.config.max_seq_length,
            dimension,
            hash,
            embedder_hash: from.embedder_hash.clone(),
            trained_on: std::iter::once(from).chain(correcting).map(|it| it.training_texts.clone()).collect(),
            steps: 20,
            beam_width: 4,
            local_queries: LOCAL_QUERIES,
            paper: false,
            longest: PAPER_LENGTH,
            batch_size: BATCH_SIZE,
            precision: Precision::F32,
        })
    }

    /// Sets in how many bits the models' weights are held. Fewer bits take less memory, and are faster to read for
    /// each token. Narrowed weights stay narrowed. The hash remains that of the weights in the files.
    ///
    /// # Errors
    /// [`Error::Model`] if a weight is not a matrix.
    pub fn precision(mut self, precision: Precision) -> Result<Self, Error> {
        self.inverter = self.inverter.narrowed(precision).map_err(model_error)?;
        let corrector = self.corrector.take();
        self.corrector = corrector.map(|it| it.narrowed(precision)).transpose().map_err(model_error)?;
        self.precision = precision;
        Ok(self)
    }

    /// Sets the number of correction steps after the zero step. Default: 20.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Sets how many hypotheses are kept in each step, from 1 to 256. Default: 4.
    pub fn beam_width(mut self, width: usize) -> Self {
        self.beam_width = width.clamp(1, 256);
        self
    }

    /// Sets how many oracle queries the local search may use per text; 0 disables it. Default: [`LOCAL_QUERIES`].
    ///
    /// They come on top of those of the correction. In the tests (5 steps), correction with at most 2 of them finds
    /// at least what [`paper`](Self::paper) finds, with at most half of its queries over all texts. The default may
    /// spend up to 100 more per text.
    pub fn local_queries(mut self, queries: usize) -> Self {
        self.local_queries = queries;
        self
    }

    /// Sets whether the attack runs the published loop, so that its numbers can be compared with others'. Default:
    /// no.
    ///
    /// The loop has a greedy zero step to the checkpoint's `max_seq_length`, and then exactly as many steps as are
    /// set. Each is a beam search over tokens of the set beam width (1 is greedy), up to
    /// [`paper_length`](Self::paper_length). The best distinct token sequences of all candidates are kept, and the
    /// best of the last step is the result. There is no best-ever, no early stop and no local search. A corrected
    /// hypothesis is read again with its start token.
    ///
    /// The embedder of the published loop cuts texts to `max_seq_length` of its own tokens. If the oracle's embedder
    /// does not, make it do so ([`max_length`](Self::max_length) returns the number).
    pub fn paper(mut self, paper: bool) -> Self {
        self.paper = paper;
        self
    }

    /// Sets the `max_length` of a correction in the published loop, from 2 to 4,096, counted as in Hugging Face: with
    /// the start and the end token. Default: 128.
    pub fn paper_length(mut self, tokens: usize) -> Self {
        self.longest = tokens.clamp(2, config::LONGEST);
        self
    }

    /// Sets how many hypotheses are decoded together on a thread, at least one. Default: [`BATCH_SIZE`].
    ///
    /// The memory needed besides the weights grows with it, with the beam width and with the texts' length; see
    /// [`batch_memory`](Self::batch_memory).
    pub fn batch_size(mut self, hypotheses: usize) -> Self {
        self.batch_size = hypotheses.max(1);
        self
    }

    /// Sets the largest batch size, up to [`BATCH_SIZE`], with which all threads together need at most `bytes`
    /// besides the weights. It is 1 if even that takes more: if [`batch_memory`](Self::batch_memory) times
    /// [`threads()`] exceeds `bytes`. Set the beam width first.
    pub fn batch_size_within(self, bytes: usize) -> Self {
        let fits = bytes / (self.batch_memory() * threads()).max(1);
        self.batch_size(fits.min(BATCH_SIZE))
    }

    /// Returns how many bytes a hypothesis in a batch takes at most. They hold, for every decoder layer, the keys and
    /// values of all encoder positions and of all tokens of all beams, the encoder's states and scores, and the
    /// beams' logits; or the logits of all positions in the local search. The vectors of embedded texts are kept in
    /// addition, for the searches of 256 vectors at a time.
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

    /// Returns the number of tokens of the longest text that the models were trained on: `max_seq_length` of the
    /// inverter.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Returns the dimension of the vectors that the attack takes.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Returns the SHA-256 of the weights, in hexadecimal: the inverter's, then the corrector's.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Returns the hash of the embedder that the inverter was trained on, if its `manifest.json` has one.
    pub fn embedder_hash(&self) -> Option<&str> {
        self.embedder_hash.as_deref()
    }

    /// Returns greedy zero-step hypotheses for `vectors`, without an oracle: what a corrector learns from.
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
        self.invert_ranked_by(vectors, &Ranking::by(vectors), resources)
    }

    fn invert_ranked_by(
        &self,
        estimates: ArrayView2<'_, f32>,
        ranking: &Ranking<'_>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, Error> {
        self.check(estimates)?;
        check_targets(ranking, self.dimension)?;
        check_pairs(estimates, ranking.targets)?;
        search::run(self, estimates, ranking, resources.oracle)
    }

    /// The answer is known if each model's folder lists what the model was trained on ([`TrainingTexts`]).
    fn trained_on(&self, text: &str) -> Option<bool> {
        let lists = || self.trained_on.iter().flatten();
        let is_complete =
            self.trained_on.iter().all(|list| list.as_ref().is_some_and(TrainingTexts::is_complete));
        if lists().any(|list| list.contains(text)) { Some(true) } else { is_complete.then_some(false) }
    }

    /// Corrects each hypothesis once: the corrector's beam.
    fn refine(
        &self,
        estimates: ArrayView2<'_, f32>,
        hypotheses: &[&str],
        vectors: ArrayView2<'_, f32>,
    ) -> Result<Vec<Vec<String>>, Error> {
        self.check(estimates)?;
        self.check(vectors)?;
        search::refine(self, estimates, hypotheses, vectors)
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

/// Pads token ids of different lengths at the end, to `[rows, longest]`.
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
