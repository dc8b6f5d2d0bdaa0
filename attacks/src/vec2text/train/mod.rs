//! Training of inverters and correctors.

mod adamw;
mod batches;
pub(super) mod initial;
mod saved;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
use ndarray::{Array2, ArrayView2, Axis};
use sha2::{Digest, Sha256};
use tokenizers::Tokenizer;

use self::adamw::AdamW;
use self::batches::Batches;
use self::saved::{Saved, vacant};
use super::checkpoint::{Checkpoint, hex};
use super::config::{Config, Preset};
use super::corrector::Corrector;
use super::generate::greedy;
use super::inverter::Inverter;
use super::kernels::cross_entropy;
use super::t5::{Memory, PAD, T5};
use super::threads::in_parallel;
use super::{Error, model_error, pad, to_tensor, vocabulary};

/// Examples that run through the model together; gradients of several are added up for a step.
const MICRO_BATCH: usize = 64;

/// What to learn from: texts, normalized as the embedder sees them, and their vectors.
#[derive(Debug, Clone)]
pub struct Examples {
    /// The texts.
    pub texts: Vec<String>,
    /// Their vectors, `[texts, dim]`.
    pub vectors: Array2<f32>,
    /// For a corrector: a hypothesis for each text, and the hypotheses' vectors.
    pub hypotheses: Option<(Vec<String>, Array2<f32>)>,
}

impl Examples {
    /// The SHA-256 of all of it, in hexadecimal.
    fn hash(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |texts: &[String], vectors: &Array2<f32>| {
            for text in texts {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
            for row in vectors.rows() {
                hash.update(row.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
            }
        };
        add(&self.texts, &self.vectors);
        if let Some((texts, vectors)) = &self.hypotheses {
            add(texts, vectors);
        }
        hex(&hash.finalize())
    }
}

/// How to train.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The size of a new model.
    pub preset: Preset,
    /// The folder of a model of the same kind whose weights and word pieces to begin with. Where there
    /// is none, an inverter begins with random weights, and a corrector with its inverter's.
    pub init: Option<PathBuf>,
    /// The name of the embedder, for the checkpoint's `config.json`.
    pub embedder: String,
    /// When to stop; the learning rate falls to zero until then.
    pub budget: Budget,
    /// Examples a step.
    pub batch: usize,
    /// The learning rate after warm-up.
    pub learning_rate: f64,
    /// Fixes the initial weights and the order of the examples.
    pub seed: u64,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Steps between decodings of the held-out texts.
    pub held_out_every: usize,
    /// Whether to go on from the checkpoint in the output folder.
    pub resume: bool,
}

/// How long to train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// So many steps: the same run every time.
    Steps(usize),
    /// So much time, over all runs of a resumed training.
    Time(Duration),
}

/// What happened, for progress bars and logs.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step was made.
    Step {
        /// Steps so far.
        step: usize,
        /// The mean negative log-likelihood of a token.
        loss: f32,
        /// The share of the budget that is used, 0 to 1.
        progress: f64,
        /// Examples a second since this run began.
        samples_per_second: f64,
    },
    /// The held-out texts were decoded greedily.
    HeldOut {
        /// Steps so far.
        step: usize,
        /// The decoded texts, in the order of the held-out ones.
        outputs: &'a [String],
    },
    /// A checkpoint was written.
    Saved {
        /// Steps so far.
        step: usize,
    },
}

/// What a training came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Steps, over all runs.
    pub steps: usize,
    /// Time spent, over all runs.
    pub elapsed: Duration,
}

/// Whether a training can begin in `out`, before the work of making its examples.
///
/// # Errors
/// [`Error::File`] where a model is there that it does not go on from, or nothing to go on from, or where
/// `settings.init` names no model.
pub fn can_begin(settings: &Settings, out: &Path) -> Result<(), Error> {
    vacant(out, settings.resume)?;
    Checkpoint::init(settings).map(|_| ())
}

/// Trains an inverter on `examples` and writes it to `out`.
///
/// # Errors
/// Empty or mismatched examples, files that cannot be written, a checkpoint that does not fit.
pub fn inverter(
    settings: &Settings,
    examples: &Examples,
    held_out: &Examples,
    out: &Path,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, Error> {
    check(examples)?;
    if let Some(from) = Checkpoint::init(settings)? {
        let takes = from.model(Inverter::load)?.dimension().map_err(model_error)?;
        from.takes(takes, examples.vectors.ncols())?;
        let (config, fresh) = (from.config(settings), from.tensors.into_iter().collect());
        return run::<Inverter>(settings, &config, &from.tokenizer, fresh, examples, held_out, out, on_event);
    }
    let tokenizer = match Saved::tokenizer(settings, out)? {
        Some(tokenizer) => tokenizer,
        None => vocabulary::train(&examples.texts, settings.preset.vocabulary).map_err(Error::Model)?,
    };
    let config = Config {
        embedder_model_name: settings.embedder.clone(),
        model_name_or_path: settings.preset.name.into(),
        num_repeat_tokens: settings.preset.pseudo_tokens,
        max_seq_length: settings.preset.max_length,
    };
    let fresh = initial::inverter(
        &settings.preset,
        vocabulary::size(&tokenizer),
        examples.vectors.ncols(),
        settings.seed,
    )?;
    run::<Inverter>(settings, &config, &tokenizer, fresh, examples, held_out, out, on_event)
}

/// Trains a corrector, from the weights and the vocabulary of the inverter in `inverter`, on
/// `examples` with hypotheses, and writes it to `out`.
///
/// # Errors
/// As [`inverter`], and when the examples have no hypotheses.
pub fn corrector(
    settings: &Settings,
    inverter: &Path,
    examples: &Examples,
    held_out: &Examples,
    out: &Path,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, Error> {
    check(examples)?;
    if examples.hypotheses.is_none() || held_out.hypotheses.is_none() {
        return Err(Error::Empty("the list of hypotheses"));
    }
    let from = Checkpoint::read(inverter, &Device::Cpu)?;
    let fresh = match Checkpoint::init(settings)? {
        Some(init) => {
            let takes = init.model(Corrector::load)?.dimension().map_err(model_error)?;
            init.takes(takes, examples.vectors.ncols())?;
            init.shares_tokens_with(&from)?;
            init.tensors.into_iter().collect()
        }
        None => initial::corrector(&from.tensors).map_err(model_error)?,
    };
    run::<Corrector>(settings, &from.config, &from.tokenizer, fresh, examples, held_out, out, on_event)
}

#[allow(clippy::too_many_arguments, reason = "private; each is a different thing")]
fn run<M: Trainable>(
    settings: &Settings,
    config: &Config,
    tokenizer: &Tokenizer,
    fresh: BTreeMap<String, Tensor>,
    examples: &Examples,
    held_out: &Examples,
    out: &Path,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, Error> {
    let began = Instant::now();
    let mut saved = Saved::open(settings, out, config, tokenizer, fresh, &examples.hash())?;
    let vars = saved.vars()?;
    let model: M = load(&vars)?;
    let data = Data::new(examples, tokenizer, config.max_seq_length)?;
    let held_out = Data::new(held_out, tokenizer, config.max_seq_length)?;
    let mut batches = Batches::new(&data.lengths(), settings.batch, settings.seed);
    let mut optimizer = AdamW::new(&vars, saved.moments());
    let mut last_saved = Instant::now();
    let (first, before) = (saved.step, saved.elapsed);
    let (mut step, mut seen) = (first, 0);
    loop {
        let elapsed = before + began.elapsed();
        let progress = settings.progress(step, elapsed);
        let done = progress >= 1.0;
        if (done && step > first) || last_saved.elapsed() > settings.checkpoint_every {
            saved.write(&vars, &optimizer, step, elapsed)?;
            last_saved = Instant::now();
            on_event(Event::Saved { step });
        }
        if done || (step > first && step.is_multiple_of(settings.held_out_every)) {
            let outputs = decode(&model, &held_out, tokenizer, config.max_seq_length)?;
            on_event(Event::HeldOut { step, outputs: &outputs });
        }
        if done {
            return Ok(Outcome { steps: step, elapsed });
        }
        let rows = batches.at(step);
        let (loss, gradients) = gradients(&model, &vars, &data, &rows)?;
        optimizer.step(&vars, gradients, settings.rate(step, progress))?;
        step += 1;
        seen += rows.len();
        let samples_per_second = seen as f64 / began.elapsed().as_secs_f64();
        on_event(Event::Step { step, loss, progress, samples_per_second });
    }
}

impl Settings {
    fn progress(&self, step: usize, elapsed: Duration) -> f64 {
        match self.budget {
            Budget::Steps(steps) => step as f64 / steps.max(1) as f64,
            Budget::Time(time) => elapsed.as_secs_f64() / time.as_secs_f64().max(1e-9),
        }
    }

    /// Linear warm-up over 200 steps, then a cosine down to zero.
    fn rate(&self, step: usize, progress: f64) -> f64 {
        let warm_up = ((step + 1) as f64 / 200.0).min(1.0);
        let decay = 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos());
        self.learning_rate * warm_up * decay
    }
}

/// What the inverter's and the corrector's training differ in.
trait Trainable: Sized + Sync {
    fn load(vb: &VarBuilder<'_>) -> candle_core::Result<Self>;
    fn t5(&self) -> &T5;
    fn encode_rows(&self, data: &Data<'_>, rows: &[usize]) -> candle_core::Result<Memory>;
}

impl Trainable for Inverter {
    fn load(vb: &VarBuilder<'_>) -> candle_core::Result<Self> {
        Inverter::load(vb)
    }

    fn t5(&self) -> &T5 {
        &self.t5
    }

    fn encode_rows(&self, data: &Data<'_>, rows: &[usize]) -> candle_core::Result<Memory> {
        self.encode(&select(data.vectors, rows)?)
    }
}

impl Trainable for Corrector {
    fn load(vb: &VarBuilder<'_>) -> candle_core::Result<Self> {
        Corrector::load(vb)
    }

    fn t5(&self) -> &T5 {
        &self.t5
    }

    fn encode_rows(&self, data: &Data<'_>, rows: &[usize]) -> candle_core::Result<Memory> {
        let Some((tokens, vectors)) = &data.hypotheses else { candle_core::bail!("no hypotheses") };
        let tokens: Vec<&[u32]> = rows.iter().map(|&row| tokens[row].as_slice()).collect();
        let vectors = select(*vectors, rows)?;
        self.encode(&select(data.vectors, rows)?, &vectors, &pad(&tokens)?)
    }
}

/// Examples as tokens.
struct Data<'a> {
    tokens: Vec<Vec<u32>>,
    vectors: ArrayView2<'a, f32>,
    hypotheses: Option<(Vec<Vec<u32>>, ArrayView2<'a, f32>)>,
}

impl<'a> Data<'a> {
    fn new(examples: &'a Examples, tokenizer: &Tokenizer, max_length: usize) -> Result<Self, Error> {
        let tokens = |texts: &[String]| -> Result<Vec<Vec<u32>>, Error> {
            texts.iter().map(|text| vocabulary::encode(tokenizer, text, max_length)).collect()
        };
        let hypotheses = match &examples.hypotheses {
            Some((texts, vectors)) => Some((tokens(texts)?, vectors.view())),
            None => None,
        };
        Ok(Self { tokens: tokens(&examples.texts)?, vectors: examples.vectors.view(), hypotheses })
    }

    fn lengths(&self) -> Vec<usize> {
        self.tokens.iter().map(Vec::len).collect()
    }
}

/// The mean loss of a token over `rows`, and its gradients by name.
fn gradients<M: Trainable>(
    model: &M,
    vars: &BTreeMap<String, Var>,
    data: &Data<'_>,
    rows: &[usize],
) -> Result<(f32, BTreeMap<String, Tensor>), Error> {
    let total: usize = rows.iter().map(|&row| data.tokens[row].len()).sum();
    let parts: Vec<&[usize]> = rows.chunks(MICRO_BATCH).rev().collect();
    let results = in_parallel(&parts, |rows| {
        let loss = (loss(model, data, rows)? / total as f64)?;
        let gradients = loss.backward()?;
        let own = vars.iter().filter_map(|(name, var)| Some((name, gradients.get(var)?.clone())));
        Ok::<_, candle_core::Error>((loss.to_scalar::<f32>()?, own.collect::<Vec<_>>()))
    })
    .map_err(model_error)?;
    let mut sum: BTreeMap<String, Tensor> = BTreeMap::new();
    let mut mean = 0.0;
    for (loss, gradients) in results {
        mean += loss;
        for (name, gradient) in gradients {
            let gradient = match sum.get(name) {
                Some(sum) => (sum + gradient).map_err(model_error)?,
                None => gradient,
            };
            sum.insert(name.clone(), gradient);
        }
    }
    Ok((mean, sum))
}

/// The summed negative log-likelihood of the rows' tokens.
fn loss<M: Trainable>(model: &M, data: &Data<'_>, rows: &[usize]) -> candle_core::Result<Tensor> {
    let memory = model.encode_rows(data, rows)?;
    let targets: Vec<&[u32]> = rows.iter().map(|&row| data.tokens[row].as_slice()).collect();
    let targets = pad(&targets)?;
    let (batch, length) = targets.dims2()?;
    let start = Tensor::full(PAD, (batch, 1), targets.device())?;
    let inputs = Tensor::cat(&[&start, &targets.narrow(1, 0, length - 1)?], 1)?;
    let logits = model.t5().decode(&inputs, &memory)?.flatten(0, 1)?;
    let targets = targets.flatten_all()?;
    let mask = targets.ne(PAD)?.to_dtype(DType::F32)?;
    (cross_entropy(&logits, &targets)? * mask)?.sum_all()
}

/// Greedy decodings of all of `data`.
fn decode<M: Trainable>(
    model: &M,
    data: &Data<'_>,
    tokenizer: &Tokenizer,
    max_length: usize,
) -> Result<Vec<String>, Error> {
    let rows: Vec<usize> = (0..data.tokens.len()).collect();
    let parts: Vec<&[usize]> = rows.chunks(MICRO_BATCH).collect();
    let tokens = in_parallel(&parts, |rows| {
        greedy(model.t5(), &model.encode_rows(data, rows)?, rows.len(), max_length)
    })
    .map_err(model_error)?;
    tokens.into_iter().flatten().map(|tokens| vocabulary::decode(tokenizer, &tokens)).collect()
}

fn load<M: Trainable>(vars: &BTreeMap<String, Var>) -> Result<M, Error> {
    let tensors: HashMap<String, Tensor> =
        vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
    M::load(&VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)).map_err(model_error)
}

fn select(vectors: ArrayView2<'_, f32>, rows: &[usize]) -> candle_core::Result<Tensor> {
    to_tensor(vectors.select(Axis(0), rows).view())
}

fn check(examples: &Examples) -> Result<(), Error> {
    if examples.texts.is_empty() {
        return Err(Error::Empty("the list of texts to train on"));
    }
    if examples.texts.len() != examples.vectors.nrows() {
        return Err(Error::Setting(format!(
            "there are {} texts and {} vectors; each text needs one",
            examples.texts.len(),
            examples.vectors.nrows()
        )));
    }
    for (row, vector) in examples.vectors.rows().into_iter().enumerate() {
        if vector.iter().any(|value| !value.is_finite()) {
            return Err(Error::NotFinite { row });
        }
    }
    Ok(())
}
