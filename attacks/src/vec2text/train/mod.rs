//! Training of inverters, of correctors, and of embedders.

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
use super::config::Config;
use super::corrector::Corrector;
use super::inverter::Inverter;
use super::{Error, model_error, vocabulary};
use crate::BoxError;

/// Turns texts into vectors, `[texts, dim]`, from any thread.
pub type Embed<'a> = dyn Fn(&[&str]) -> Result<Array2<f32>, BoxError> + Sync + 'a;

/// Greedy zero-step hypotheses of the inverter in a folder for the vectors of `examples`: what a corrector
/// learns from. On a GPU they are decoded there.
///
/// # Errors
/// [`Error::File`] where no inverter is, [`Error::Dimension`] where it takes other vectors.
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

/// Whether a training can begin in `out`, before the work of making its examples.
///
/// # Errors
/// [`Error::Setting`] for a setting out of its range; [`Error::File`] where a model is there that it does
/// not go on from, or nothing to go on from, or where `settings.init` names no model.
pub fn can_begin(settings: &Settings, out: &Path) -> Result<(), Error> {
    settings.check()?;
    vacant(out, settings.resume)?;
    Checkpoint::init(settings.init.as_deref()).map(|_| ())
}

/// Trains an inverter on `examples` and writes it to `out`.
///
/// # Errors
/// Settings out of their range, empty or mismatched examples, files that cannot be written, a checkpoint
/// that does not fit.
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
    let (config, tokenizer, fresh) = match Checkpoint::init(settings.init.as_deref())? {
        Some(from) if from.is_language_model_alone() => {
            let config = own(from.name());
            let fresh = initial::around(&from.tensors, config.num_repeat_tokens, dim, settings.seed)
                .map_err(model_error)?;
            (config, from.tokenizer, fresh)
        }
        Some(from) => {
            let takes = from.model(Inverter::load)?.dimension().map_err(model_error)?;
            from.takes(takes, dim)?;
            (from.config_for(&settings.embedder), from.tokenizer, from.tensors.into_iter().collect())
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
    let (files, max_length) = (files(&config, &tokenizer)?, config.max_seq_length);
    let start = Start { files, max_length, tokenizer: &tokenizer, fresh };
    run::<Inverter>(settings, start, examples, held_out, None, out, on_event)
}

/// Trains a corrector, from the weights and the vocabulary of the inverter in `inverter`, on
/// `examples` with hypotheses, and writes it to `out`. Examples whose hypothesis is right are left out.
///
/// `embed` is asked for the vectors of the corrector's own hypotheses, from another thread, where
/// `settings.depths` is more than 1; without it there is one depth.
///
/// # Errors
/// As [`inverter`], and when the examples have no hypotheses, or none that is wrong.
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
    let fresh = match Checkpoint::init(settings.init.as_deref())? {
        Some(init) => {
            init.shares_tokens_with(&from)?;
            if init.is_language_model_alone() {
                init.is_as_wide_as(&from)?;
                from.tensors.retain(|name, _| !name.starts_with("encoder_decoder."));
                from.tensors.extend(init.tensors);
                initial::corrector(&from.tensors).map_err(model_error)?
            } else {
                let takes = init.model(Corrector::load)?.dimension().map_err(model_error)?;
                init.takes(takes, examples.vectors.ncols())?;
                init.tensors.into_iter().collect()
            }
        }
        None => initial::corrector(&from.tensors).map_err(model_error)?,
    };
    let (files, max_length) = (files(&from.config, &from.tokenizer)?, from.config.max_seq_length);
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

/// A training that goes on.
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

    /// Between two steps: looks at the held-out texts and saves, where it is time to. Whether the run is
    /// over, as its budget is `spent` or its patience.
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
