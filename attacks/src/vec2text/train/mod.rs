//! Trains inverters, correctors and embedders.

mod adamw;
mod batches;
mod embedder;
mod examples;
pub(super) mod initial;
mod rounds;
mod saved;
mod settings;
mod step;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod trainable;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
use embosk_models::Location;
use embosk_models::threads::in_parallel;
use ndarray::Array2;
use tokenizers::Tokenizer;

use self::adamw::AdamW;
pub use self::embedder::embedder;
pub use self::examples::Examples;
use self::examples::{Data, Later, Lesson};
use self::rounds::{Rounds, Source};
use self::saved::{Files, Saved, files, vacant};
pub use self::settings::{Event, Outputs, Schedule, Settings, Trained, TrainingLength};
use self::step::{decode, gradients, held_out_loss};
use self::trainable::Trainable;
use super::checkpoint::Checkpoint;
use super::config::{Config, LONGEST};
use super::corrector::Corrector;
use super::inverter::Inverter;
use super::training_texts::TrainingTexts;
use super::{Error, model_error, vocabulary};
use crate::BoxError;

/// Turns texts into vectors, `[texts, dim]`, from any thread.
pub type Embed<'a> = dyn Fn(&[&str]) -> Result<Array2<f32>, BoxError> + Sync + 'a;

/// Returns greedy zero-step hypotheses of the inverter in a folder for the vectors of `examples`: what a corrector
/// learns from. With a GPU, they are decoded there.
///
/// # Errors
/// [`Error::File`] if there is no inverter, and [`Error::Dimension`] if it takes vectors of another dimension.
pub fn hypotheses(
    inverter: impl Into<Location>,
    examples: &Examples,
    device: &Device,
) -> Result<Vec<String>, Error> {
    examples.check()?;
    let from = Checkpoint::read(inverter, &Device::Cpu)?;
    from.takes(from.model(Inverter::load)?.dimension().map_err(model_error)?, examples.vectors.ncols())?;
    let max_length = from.config.max_seq_length;
    let data = Data::new(examples, &from.tokenizer, max_length)?;
    let model: Inverter = load(&from.tensors.into_iter().collect(), device)?;
    let (rows, later): (Vec<usize>, _) = ((0..data.len()).collect(), Later::new());
    let lesson = Lesson { data: &data, later: &later };
    decode(&model, lesson, &rows, &from.tokenizer, max_length, &|| true)
}

/// Returns the mean loss per token of the examples under the inverter in a folder, in nats. It shows how well the
/// inverter fits an embedder that it was not trained on.
///
/// # Errors
/// [`Error::File`] if there is no inverter, or it takes vectors of another dimension.
pub fn loss(inverter: impl Into<Location>, examples: &Examples) -> Result<f32, Error> {
    examples.check()?;
    let from = Checkpoint::read(inverter, &Device::Cpu)?;
    let model = from.model(Inverter::load)?;
    from.takes(model.dimension().map_err(model_error)?, examples.vectors.ncols())?;
    let data = Data::new(examples, &from.tokenizer, from.config.max_seq_length)?;
    held_out_loss(&model, Lesson { data: &data, later: &Later::new() })
}

/// Texts as a model reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tokens {
    /// The number of tokens of each text, with the end token.
    pub lengths: Vec<usize>,
    /// How many tokens of all texts are unknown to the model.
    pub unknown: usize,
}

/// Counts the tokens of texts as the model in a folder reads them.
///
/// # Errors
/// [`Error::File`] if there is no model.
pub fn count_tokens(model: impl Into<Location>, texts: &[String]) -> Result<Tokens, Error> {
    let from = Checkpoint::read(model, &Device::Cpu)?;
    let parts: Vec<&[String]> = texts.chunks(1024).collect();
    let encode = |text: &String| vocabulary::encode(&from.tokenizer, text, LONGEST);
    let parts = in_parallel(&parts, |part| part.iter().map(encode).collect::<Result<Vec<_>, _>>())?;
    let tokens: Vec<Vec<u32>> = parts.into_iter().flatten().collect();
    let unknown = vocabulary::unknown(&from.tokenizer);
    let is_unknown = |token: &&u32| Some(**token) == unknown;
    Ok(Tokens {
        lengths: tokens.iter().map(Vec::len).collect(),
        unknown: tokens.iter().map(|tokens| tokens.iter().filter(is_unknown).count()).sum(),
    })
}

/// Returns whether a training was begun in `out`, so that it can be resumed.
pub fn is_begun(out: &Path) -> bool {
    saved::has_checkpoint(out)
}

/// Checks that a training can begin in `out`, before the work of making its examples.
///
/// # Errors
/// [`Error::Setting`] for a setting out of its range. [`Error::File`] if `out` holds a model that is not to be
/// resumed, there is nothing to resume, or `settings.init` does not name a model.
pub fn can_begin(settings: &Settings, out: &Path) -> Result<(), Error> {
    settings.check()?;
    vacant(out, settings.resume)?;
    Checkpoint::init(settings.init.as_ref()).map(|_| ())
}

/// Trains an inverter on `examples` and writes it to `out`.
///
/// # Errors
/// For settings out of their range, empty or mismatched examples, files that cannot be written, and a checkpoint that
/// does not fit.
pub fn inverter(
    settings: &Settings,
    examples: &Examples,
    held_out: &Examples,
    out: &Path,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Trained, Error> {
    check(settings, examples, held_out)?;
    let dim = examples.vectors.ncols();
    let own = |name: String| Config {
        embedder_model_name: settings.embedder.clone(),
        model_name_or_path: name,
        num_repeat_tokens: settings.preset.pseudo_tokens,
        max_seq_length: settings.preset.max_length,
    };
    let init = Checkpoint::init(settings.init.as_ref())?;
    let texts = listed(examples, held_out, init.as_ref(), None);
    let (config, tokenizer, fresh) = match init {
        Some(from) if from.is_language_model_alone() => {
            let config = own(from.name());
            let fresh = initial::around(&from.tensors, config.num_repeat_tokens, dim, settings.seed)
                .map_err(model_error)?;
            (config, from.tokenizer, fresh)
        }
        Some(from) => {
            let config = from.config_for(&settings.embedder);
            let takes = from.model(Inverter::load)?;
            let fresh = match &settings.space {
                Some(space) => initial::through(space, from.tensors).map_err(model_error)?,
                None if takes.dimension().map_err(model_error)? == dim => from.tensors.into_iter().collect(),
                None => {
                    let language_model = from.language_model();
                    initial::around(&language_model, takes.pseudo_tokens(), dim, settings.seed)
                        .map_err(model_error)?
                }
            };
            (config, from.tokenizer, fresh)
        }
        None => {
            let preset = &settings.preset;
            let tokenizer = match Saved::tokenizer(settings, out)? {
                Some(tokenizer) => tokenizer,
                None => vocabulary::train(&examples.texts, preset.vocabulary).map_err(Error::Model)?,
            };
            let fresh = initial::inverter(preset, vocabulary::size(&tokenizer), dim, settings.seed)?;
            (own(preset.name.into()), tokenizer, fresh)
        }
    };
    let max_length = settings.max_length.unwrap_or(config.max_seq_length);
    let config = Config { max_seq_length: max_length, ..config };
    let files = files(&config, &tokenizer, &texts)?;
    let start = Start { files, max_length, tokenizer: &tokenizer, fresh };
    run::<Inverter>(settings, start, examples, held_out, None, out, on_event)
}

/// The texts of a training that begins with `init`, and of a corrector with its `inverter`.
fn listed(
    examples: &Examples,
    held_out: &Examples,
    init: Option<&Checkpoint>,
    inverter: Option<&Checkpoint>,
) -> TrainingTexts {
    // what a language model read before is no pair of a text and its vector
    let init = init.filter(|init| !init.is_language_model_alone());
    let begun_with = init.into_iter().chain(inverter).map(|from| from.training_texts.as_ref());
    TrainingTexts::of_training(&examples.texts, &held_out.texts, begun_with)
}

/// Trains a corrector on `examples` with hypotheses, and writes it to `out`. It begins with the weights and the
/// vocabulary of the inverter in `inverter`. Examples whose hypothesis is right are left out.
///
/// If `settings.depths` is more than 1, `embed` is called on another thread for the vectors of the corrector's own
/// hypotheses. Without it there is one depth.
///
/// # Errors
/// As [`inverter`], and if the examples have no hypotheses, or none that is wrong.
pub fn corrector(
    settings: &Settings,
    inverter: impl Into<Location>,
    examples: &Examples,
    held_out: &Examples,
    embed: Option<&Embed<'_>>,
    out: &Path,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Trained, Error> {
    check(settings, examples, held_out)?;
    if examples.hypotheses.is_none() || held_out.hypotheses.is_none() {
        return Err(Error::Empty("the list of hypotheses"));
    }
    let mut from = Checkpoint::read(inverter, &Device::Cpu)?;
    let init = Checkpoint::init(settings.init.as_ref())?;
    let texts = listed(examples, held_out, init.as_ref(), Some(&from));
    let fresh = match init {
        Some(init) => {
            init.shares_tokens_with(&from)?;
            if init.is_language_model_alone() {
                init.is_as_wide_as(&from)?;
                from.tensors.retain(|name, _| !name.starts_with("encoder_decoder."));
                from.tensors.extend(init.tensors);
                initial::corrector(&from.tensors).map_err(model_error)?
            } else {
                let takes = init.model(Corrector::load)?.dimension().map_err(model_error)?;
                match &settings.space {
                    Some(space) => initial::through(space, init.tensors).map_err(model_error)?,
                    None if takes == examples.vectors.ncols() => init.tensors.into_iter().collect(),
                    None => {
                        init.is_as_wide_as(&from)?;
                        let mut fresh = initial::corrector(&from.tensors).map_err(model_error)?;
                        let reads_vectors = |name: &str| name.starts_with("embedding_transform");
                        fresh.extend(init.tensors.into_iter().filter(|(name, _)| !reads_vectors(name)));
                        fresh
                    }
                }
            }
        }
        None => initial::corrector(&from.tensors).map_err(model_error)?,
    };
    let (files, max_length) = (files(&from.config, &from.tokenizer, &texts)?, from.config.max_seq_length);
    let start = Start { files, max_length, tokenizer: &from.tokenizer, fresh };
    run::<Corrector>(settings, start, examples, held_out, embed, out, on_event)
}

fn check(settings: &Settings, examples: &Examples, held_out: &Examples) -> Result<(), Error> {
    settings.check()?;
    examples.check()?;
    held_out.check()
}

/// What a run begins with.
struct Start<'a> {
    files: Files,
    /// Tokens of the longest text.
    max_length: usize,
    tokenizer: &'a Tokenizer,
    fresh: BTreeMap<String, Tensor>,
}

fn run<M: Trainable>(
    settings: &Settings,
    start: Start<'_>,
    examples: &Examples,
    held_out: &Examples,
    embed: Option<&Embed<'_>>,
    out: &Path,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Trained, Error> {
    let Start { files, max_length, tokenizer, fresh } = start;
    let began = Instant::now();
    let mut saved = Saved::open(settings, out, &files, fresh, M::FOLDER_OF, &examples.hash())?;
    let vars = saved.vars(&settings.device)?;
    if saved.is_model {
        // a kill may have come between the checkpoint and the model
        saved.write_model(&vars, settings.stored)?;
    }
    let data = Data::new(examples, tokenizer, max_length)?;
    let (held_out, first_hypotheses) = (Data::new(held_out, tokenizer, max_length)?, Later::new());
    let source =
        Source { settings, data: &data, tokenizer, max_length, embed, out, over: AtomicBool::new(false) };
    let mut run: Run<'_, M> = Run {
        model: load(&tensors(&vars), &settings.device)?,
        optimizer: AdamW::new(&vars, saved.moments(), settings.clip)?,
        source: &source,
        held_out: Lesson { data: &held_out, later: &first_hypotheses },
        began,
        last_saved: began,
        first: saved.step,
        saved,
        vars,
    };
    thread::scope(|scope| run.all(Rounds::new(scope, &source), on_event))
}

/// A training in progress.
struct Run<'a, M> {
    model: M,
    vars: BTreeMap<String, Var>,
    optimizer: AdamW,
    source: &'a Source<'a>,
    held_out: Lesson<'a>,
    saved: Saved,
    began: Instant,
    last_saved: Instant,
    /// The step that this run began at.
    first: usize,
}

impl<M: Trainable> Run<'_, M> {
    fn all(
        &mut self,
        mut rounds: Rounds<'_, '_>,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Trained, Error> {
        let mut round = None;
        let (mut step, mut seen) = (self.first, 0);
        loop {
            let elapsed = self.saved.elapsed + self.began.elapsed();
            let progress = self.source.settings.progress(step, elapsed);
            if self.pause(step, elapsed, progress >= 1.0, on_event)? {
                self.source.forget(self.source.round_of(step) + 2);
                return Ok(Trained { steps: step, elapsed });
            }
            let number = self.source.round_of(step);
            if round.as_ref().is_none_or(|(of, _)| *of != number) {
                let entered = rounds.enter::<M>(step, &self.vars)?;
                let (examples, own) = entered.sizes();
                if self.source.data.has_hypotheses() {
                    on_event(Event::Refreshed { step, examples, own });
                }
                round = Some((number, entered));
            }
            let Some((_, current)) = &mut round else { continue };
            let rows = current.batch(step);
            let learning_rate = self.source.settings.rate(step, progress);
            let loss = self.step(&rows, &current.later, learning_rate)?;
            step += 1;
            seen += rows.len();
            let samples_per_second = seen as f64 / self.began.elapsed().as_secs_f64();
            on_event(Event::Step { step, loss, learning_rate, progress, samples_per_second });
        }
    }

    fn step(&mut self, rows: &[usize], later: &Later, learning_rate: f64) -> Result<f32, Error> {
        let lesson = Lesson { data: self.source.data, later };
        let (loss, gradients) = gradients(&self.model, &self.vars, self.source.settings, lesson, rows)?;
        self.optimizer.step(&self.vars, gradients, learning_rate)?;
        Ok(loss)
    }

    /// Looks at the held-out texts and saves, between two steps, if it is time to. Returns whether the run is over,
    /// because its budget is `spent` or its patience is exhausted.
    fn pause(
        &mut self,
        step: usize,
        elapsed: Duration,
        spent: bool,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool, Error> {
        let settings = self.source.settings;
        let moved = step > self.first;
        let mut over = spent || self.saved.stopping.is_over(settings);
        let mut better = false;
        if over || (moved && step.is_multiple_of(settings.held_out_every)) {
            let loss = self.look(step, on_event)?;
            // what a finished run looks at again is nothing new
            better = (moved || step == 0) && self.saved.stopping.saw(loss);
            over |= self.saved.stopping.is_over(settings);
        }
        // with patience, the model that is kept is the best
        let (patient, last) = (settings.patience.is_some(), over && moved);
        if last || self.last_saved.elapsed() > settings.checkpoint_every || (better && patient) {
            let model = (better || !patient).then_some(settings.stored);
            self.saved.write(&self.vars, &self.optimizer, step, elapsed, model)?;
            self.source.forget(self.source.round_of(step));
            self.last_saved = Instant::now();
            on_event(Event::Saved { step });
        }
        Ok(over)
    }

    /// Decodes or embeds the held-out texts, and returns the loss on them.
    fn look(&self, step: usize, on_event: &mut dyn FnMut(Event<'_>)) -> Result<f32, Error> {
        let Source { tokenizer, max_length, .. } = *self.source;
        let rows: Vec<usize> = (0..self.held_out.data.len()).collect();
        let outputs = self.model.outputs(self.held_out, &rows, tokenizer, max_length, &|| true)?;
        let loss = held_out_loss(&self.model, self.held_out)?;
        on_event(Event::HeldOut { step, loss, outputs: &outputs });
        Ok(loss)
    }
}

fn tensors(vars: &BTreeMap<String, Var>) -> BTreeMap<String, Tensor> {
    vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect()
}

fn load<M: Trainable>(tensors: &BTreeMap<String, Tensor>, device: &Device) -> Result<M, Error> {
    let tensors: HashMap<String, Tensor> =
        tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
    M::load(&VarBuilder::from_tensors(tensors, DType::F32, device)).map_err(model_error)
}
