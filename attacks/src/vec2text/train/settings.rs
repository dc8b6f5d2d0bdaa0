//! How to train, and the events of a training.

use std::time::Duration;

use candle_core::Device;
use embosk_models::Location;
use embosk_models::weights::Stored;
use ndarray::Array2;

use crate::Error;
use crate::alignment::SpaceMap;
use crate::vec2text::config::{LONGEST, Preset};

/// How to train.
///
/// ```
/// use embosk_attacks::vec2text::train::{TrainingLength, Schedule, Settings};
///
/// let settings = Settings { length: TrainingLength::Steps(1000), schedule: Schedule::Linear, ..Settings::default() };
/// assert_eq!(settings.batch, 256);
/// ```
#[derive(Debug, Clone)]
pub struct Settings {
    /// The size of a new model.
    pub preset: Preset,
    /// The folder of a model whose weights and word pieces to begin with: one of the same kind, or a Hugging Face T5
    /// alone. If there is none, an inverter begins with random weights, and a corrector with its inverter's.
    ///
    /// The model may be for vectors of another dimension. The layers that read the vectors then start afresh: with
    /// random weights, or in a corrector with its inverter's.
    pub init: Option<Location>,
    /// The map from the training vectors to those that `init` takes, if `init` was trained for another embedder. It
    /// becomes part of the model's first layers. Without it, the vectors are read as they are.
    pub space: Option<SpaceMap>,
    /// How many tokens the longest text of an inverter has (default: those of `init` or the preset). A corrector
    /// always has its inverter's.
    pub max_length: Option<usize>,
    /// The name of the embedder, for the checkpoint's `config.json`.
    pub embedder: String,
    /// When to stop. The learning rate falls to zero by then.
    pub length: TrainingLength,
    /// Examples per step.
    pub batch: usize,
    /// Examples that run through a model together. The gradients of a step's parts are added up, so
    /// memory does not grow with `batch`.
    pub micro_batch: usize,
    /// The learning rate after warm-up.
    pub learning_rate: f64,
    /// Steps of warm-up, until the learning rate is reached.
    pub warm_up: usize,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// Gradients of a larger norm are scaled down to this one.
    pub clip: f64,
    /// The share of a target's probability that is spread over all tokens (Szegedy et al., CVPR 2016,
    /// arXiv 1512.00567).
    pub label_smoothing: f64,
    /// For a corrector: from how many depths it learns. At 1 it corrects what the inverter guesses, as in the paper.
    /// At 3 it also corrects its own results after one and after two corrections.
    pub depths: usize,
    /// The steps between new hypotheses, if there are several depths.
    pub refresh_every: usize,
    /// Stop after this many decodings of the held-out texts in a row without a lower loss on them. The model with the
    /// lowest loss is kept.
    pub patience: Option<usize>,
    /// Fixes the initial weights and the order of the examples.
    pub seed: u64,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Steps between decodings of the held-out texts.
    pub held_out_every: usize,
    /// Whether to resume from the checkpoint in the output folder.
    pub resume: bool,
    /// How the model's weights are stored. A resumed run may store them in another way.
    pub stored: Stored,
    /// Where the model is trained.
    pub device: Device,
}

/// How the learning rate falls to zero after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Half a cosine (Loshchilov & Hutter, ICLR 2017, arXiv 1608.03983).
    Cosine,
    /// A straight line.
    Linear,
}

/// How long to train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TrainingLength {
    /// This many steps: the same run every time.
    Steps(usize),
    /// This much time, over all runs of a resumed training.
    Time(Duration),
}

/// What happened, for progress bars and logs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A step was made.
    Step {
        /// Steps so far.
        step: usize,
        /// The mean loss per token: its negative log-likelihood, smoothed if the settings say so. For an embedder,
        /// the mean of 1 − the cosine to the teacher's vector.
        loss: f32,
        /// The learning rate of the step.
        learning_rate: f64,
        /// The share of the length that is used, 0 to 1.
        progress: f64,
        /// Examples per second since this run began.
        samples_per_second: f64,
    },
    /// The held-out texts were decoded greedily, or embedded.
    HeldOut {
        /// Steps so far.
        step: usize,
        /// The mean negative log-likelihood of their tokens; for an embedder, the mean of 1 − the cosine.
        loss: f32,
        /// What the model made of them.
        outputs: &'a Outputs,
    },
    /// A corrector continues with new hypotheses.
    Refreshed {
        /// Steps so far.
        step: usize,
        /// Examples whose hypothesis is wrong, and that are learned from.
        examples: usize,
        /// Those of them whose hypothesis is the corrector's own.
        own: usize,
    },
    /// A checkpoint was written.
    Saved {
        /// Steps so far.
        step: usize,
    },
}

/// What a model makes of the held-out texts, in their order.
#[derive(Debug, Clone, PartialEq)]
pub enum Outputs {
    /// An inverter or a corrector: the decoded texts.
    Texts(Vec<String>),
    /// An embedder: their vectors, `[texts, dim]`.
    Vectors(Array2<f32>),
}

/// The number of steps of a training, and the time it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// Steps, over all runs.
    pub steps: usize,
    /// Time spent, over all runs.
    pub elapsed: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            preset: Preset::TINY,
            init: None,
            space: None,
            max_length: None,
            embedder: String::new(),
            length: TrainingLength::Time(Duration::from_hours(1)),
            batch: 256,
            micro_batch: 64,
            learning_rate: 1e-3,
            warm_up: 200,
            schedule: Schedule::Cosine,
            clip: 1.0,
            label_smoothing: 0.0,
            depths: 1,
            refresh_every: 500,
            patience: None,
            seed: 1,
            checkpoint_every: Duration::from_mins(1),
            held_out_every: 200,
            resume: false,
            stored: Stored::F16,
            device: Device::Cpu,
        }
    }
}

impl Settings {
    /// # Errors
    /// If a setting is out of its range.
    pub(super) fn check(&self) -> Result<(), Error> {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        for (good, message) in [
            (self.batch > 0, "the batch size must be more than 0"),
            (self.micro_batch > 0, "the micro-batch size must be more than 0"),
            (positive(self.learning_rate), "the learning rate must be more than 0"),
            (positive(self.clip), "the norm that gradients are clipped to must be more than 0"),
            ((0.0..1.0).contains(&self.label_smoothing), "label smoothing is from 0 to less than 1"),
            (self.depths > 0, "a corrector learns from at least 1 depth"),
            (self.refresh_every > 0, "steps between new hypotheses must be more than 0"),
            (self.held_out_every > 0, "steps between decodings of held-out texts must be more than 0"),
            (self.patience != Some(0), "patience must be more than 0"),
            (
                self.max_length.is_none_or(|length| (1..=LONGEST).contains(&length)),
                "the longest text has from 1 to 4096 tokens",
            ),
        ] {
            if !good {
                return Err(Error::Setting(message.into()));
            }
        }
        Ok(())
    }

    pub(super) fn progress(&self, step: usize, elapsed: Duration) -> f64 {
        match self.length {
            TrainingLength::Steps(steps) => step as f64 / steps.max(1) as f64,
            TrainingLength::Time(time) => elapsed.as_secs_f64() / time.as_secs_f64().max(1e-9),
        }
    }

    /// Linear warm-up, then down to zero.
    pub(super) fn rate(&self, step: usize, progress: f64) -> f64 {
        let warm_up = ((step + 1) as f64 / self.warm_up.max(1) as f64).min(1.0);
        let progress = progress.min(1.0);
        let decay = match self.schedule {
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Schedule::Linear => 1.0 - progress,
        };
        self.learning_rate * warm_up * decay
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_and_falls() {
        let settings =
            |schedule| Settings { learning_rate: 2.0, warm_up: 4, schedule, ..Settings::default() };
        for (schedule, step, progress, expected) in [
            (Schedule::Cosine, 0, 0.0, 0.5),
            (Schedule::Cosine, 3, 0.0, 2.0),
            (Schedule::Cosine, 9, 0.5, 1.0),
            (Schedule::Cosine, 9, 0.75, 1.0 - 0.5f64.sqrt()),
            (Schedule::Linear, 1, 0.0, 1.0),
            (Schedule::Linear, 9, 0.75, 0.5),
            (Schedule::Linear, 9, 1.5, 0.0),
        ] {
            let rate = settings(schedule).rate(step, progress);
            assert!((rate - expected).abs() < 1e-12, "{schedule:?} {step} {progress}: {rate}");
        }
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        Settings::default().check().unwrap();
        for bad in [
            Settings { label_smoothing: 1.0, ..Settings::default() },
            Settings { label_smoothing: f64::NAN, ..Settings::default() },
            Settings { clip: 0.0, ..Settings::default() },
            Settings { depths: 0, ..Settings::default() },
            Settings { patience: Some(0), ..Settings::default() },
            Settings { micro_batch: 0, ..Settings::default() },
            Settings { max_length: Some(0), ..Settings::default() },
            Settings { learning_rate: f64::INFINITY, ..Settings::default() },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
