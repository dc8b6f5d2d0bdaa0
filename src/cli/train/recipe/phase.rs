//! How long one of the two models is trained, and in what batches.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attacks::vec2text::Preset;
use crate::attacks::vec2text::train::{Settings, TrainingLength};
use crate::models::threads::threads;

/// Steps that a training should have: batches are as large as they allow.
const STEPS: f64 = 400.0;
/// The sizes of batches on a processor.
const BATCHES: [usize; 4] = [256, 128, 64, 32];
const BATCH_ON_GPU: usize = 512;

/// Tokens of the texts that run through a model together on a core, with the padding.
const TOKENS_TOGETHER: usize = 4096;

/// The learning rate of a batch of 256 texts. It grows with the square root of the batch.
const LEARNING_RATE: f64 = 1e-3;

/// About how often the held-out texts are looked at.
const LOOKS: f64 = 12.0;
/// This many looks without a lower loss end a training.
const PATIENCE: usize = 5;

/// The amount of work that a phase is planned by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    pub(super) texts: usize,
    /// Tokens of a text, on average and at most.
    pub(super) tokens: f64,
    pub(super) max_length: usize,
    /// About how many tokens a core trains on in a second.
    pub(super) rate: f64,
    pub(super) on_gpu: bool,
}

/// How one model is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Phase {
    pub(super) length: Length,
    /// How many texts it is trained on.
    pub(super) texts: usize,
    pub(super) batch: usize,
    micro_batch: usize,
    learning_rate: f64,
    warm_up: usize,
    held_out_every: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Length {
    Steps(usize),
    Seconds(u64),
}

impl Phase {
    pub(super) fn new(length: Length, work: Work) -> Self {
        // steps with batches of one text
        let single = match length {
            Length::Steps(steps) => (steps * BATCHES[0]) as f64,
            Length::Seconds(seconds) => seconds as f64 * work.rate * threads() as f64 / work.tokens.max(1.0),
        };
        let (batch, steps) = match length {
            _ if work.on_gpu => (BATCH_ON_GPU, 10.0 * STEPS),
            Length::Steps(steps) => (BATCHES[1], steps as f64),
            Length::Seconds(_) => {
                let fits = |batch: &&usize| single / **batch as f64 >= STEPS;
                let batch = *BATCHES.iter().find(fits).unwrap_or(&BATCHES[3]);
                (batch, single / batch as f64)
            }
        };
        // every core has a part of a batch, and none a larger one than memory holds
        let together = (TOKENS_TOGETHER / work.max_length.max(1)).clamp(8, 64);
        let micro_batch = if work.on_gpu { batch } else { together.min(batch.div_ceil(threads())) };
        Self {
            length,
            texts: work.texts,
            batch,
            micro_batch,
            learning_rate: LEARNING_RATE * (batch as f64 / 256.0).sqrt(),
            warm_up: ((steps / 15.0) as usize).clamp(5, 200),
            held_out_every: ((steps / LOOKS) as usize).clamp(10, 1000),
        }
    }

    pub(super) fn settings(&self, device: &candle_core::Device) -> Settings {
        Settings {
            preset: Preset::TINY,
            length: match self.length {
                Length::Steps(steps) => TrainingLength::Steps(steps),
                Length::Seconds(seconds) => TrainingLength::Time(Duration::from_secs(seconds)),
            },
            batch: self.batch,
            micro_batch: self.micro_batch,
            learning_rate: self.learning_rate,
            warm_up: self.warm_up,
            held_out_every: self.held_out_every,
            patience: Some(PATIENCE),
            device: device.clone(),
            ..Settings::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(max_length: usize) -> Work {
        Work { texts: 5000, tokens: 30.0, max_length, rate: 1900.0, on_gpu: false }
    }

    #[test]
    fn batches_are_as_large_as_the_time_allows() {
        let batch = |seconds| Phase::new(Length::Seconds(seconds), work(64)).batch;
        assert_eq!((batch(10), batch(100_000)), (32, 256));
        assert!((1..60).map(|n| batch(n * 60)).is_sorted());
    }

    #[test]
    fn long_texts_run_through_a_model_in_small_parts() {
        let part = |length| Phase::new(Length::Steps(10), work(length)).micro_batch;
        assert!(part(64) <= 64 && part(128) <= 32 && part(4096) == 8);
    }
}
