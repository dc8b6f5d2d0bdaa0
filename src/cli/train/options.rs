//! The options of `train` that say how a model learns.

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::attacks::vec2text::train::{self, Settings};
use crate::models::weights::Stored;

#[derive(Debug, clap::Args)]
pub(super) struct Optimization {
    /// Texts per step.
    #[arg(long, default_value_t = 256, value_name = "N")]
    batch_size: usize,
    /// How many texts run through the model together on a core; memory grows with it.
    #[arg(long, default_value_t = 64, value_name = "N")]
    micro_batch: usize,
    /// The learning rate after warm-up.
    #[arg(long, default_value_t = 1e-3, value_name = "RATE")]
    learning_rate: f64,
    /// Steps of warm-up, until the learning rate is reached.
    #[arg(long, default_value_t = 200, value_name = "N")]
    warmup: usize,
    /// How the learning rate falls to zero after warm-up.
    #[arg(long, value_enum, default_value_t = ScheduleName::Cosine)]
    schedule: ScheduleName,
    /// Gradients of a larger norm are scaled down to this one.
    #[arg(long, default_value_t = 1.0, value_name = "NORM")]
    clip: f64,
    /// Steps between checks on the held-out texts.
    #[arg(long, default_value_t = 200, value_name = "N")]
    held_out_every: usize,
    /// Stop after this many checks in which the loss on held-out texts did not fall, and keep the model with the
    /// lowest loss.
    #[arg(long, value_name = "N")]
    patience: Option<usize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScheduleName {
    Cosine,
    Linear,
}

/// Options of models that write texts.
#[derive(Debug, clap::Args)]
pub(super) struct Writing {
    /// The share of a token's probability that is spread over all tokens.
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    label_smoothing: f64,
    /// How the model's weights are stored: in 16 bits, or matrices in 8 bits with a scale for every 32 values.
    #[arg(long, value_enum, default_value_t = StoredAs::F16)]
    store: StoredAs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StoredAs {
    F16,
    Q8,
}

/// Options of correctors only.
#[derive(Debug, clap::Args)]
pub(super) struct Correcting {
    /// How many rounds of hypotheses the corrector learns from: 1 takes the inverter's, 2 or more also its own
    /// corrections.
    #[arg(long, default_value_t = 1, value_name = "N")]
    depths: usize,
    /// Steps after which the corrector's own hypotheses are made anew.
    #[arg(long, default_value_t = 500, value_name = "N")]
    refresh_every: usize,
}

impl Optimization {
    pub(super) fn apply(&self, settings: Settings) -> Settings {
        Settings {
            batch: self.batch_size,
            micro_batch: self.micro_batch,
            learning_rate: self.learning_rate,
            warm_up: self.warmup,
            schedule: match self.schedule {
                ScheduleName::Cosine => train::Schedule::Cosine,
                ScheduleName::Linear => train::Schedule::Linear,
            },
            clip: self.clip,
            held_out_every: self.held_out_every,
            patience: self.patience,
            ..settings
        }
    }
}

impl Writing {
    pub(super) fn apply(&self, settings: Settings) -> Settings {
        let stored = match self.store {
            StoredAs::F16 => Stored::F16,
            StoredAs::Q8 => Stored::Q8,
        };
        Settings { label_smoothing: self.label_smoothing, stored, ..settings }
    }
}

impl Correcting {
    pub(super) fn apply(&self, settings: Settings) -> Settings {
        Settings { depths: self.depths, refresh_every: self.refresh_every, ..settings }
    }
}

/// The settings as the manifest has them.
pub(super) fn listed(settings: &Settings) -> Value {
    json!({
        "batch_size": settings.batch,
        "micro_batch": settings.micro_batch,
        "learning_rate": settings.learning_rate,
        "warmup": settings.warm_up,
        "schedule": format!("{:?}", settings.schedule).to_lowercase(),
        "clip": settings.clip,
        "label_smoothing": settings.label_smoothing,
        "held_out_every": settings.held_out_every,
        "patience": settings.patience,
        "store": format!("{:?}", settings.stored).to_lowercase(),
        "depths": settings.depths,
        "refresh_every": (settings.depths > 1).then_some(settings.refresh_every),
    })
}
