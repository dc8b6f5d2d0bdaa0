//! The time that a recipe has.

use std::time::{Duration, Instant};

use crate::cli::error::CliError;

/// A span of time that has begun. Without a length, it is never over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    began: Instant,
    length: Option<Duration>,
}

impl Clock {
    /// Starts a clock of `minutes` minutes.
    pub(super) fn start(minutes: Option<f64>) -> Result<Self, CliError> {
        let length = minutes.map(|minutes| Duration::try_from_secs_f64(60.0 * minutes)).transpose();
        match length {
            Ok(length) if length.is_none_or(|length| !length.is_zero()) => {
                Ok(Self { began: Instant::now(), length })
            }
            _ => Err(CliError::new("--minutes must be a number above 0")),
        }
    }

    /// Starts a clock of `seconds` seconds, or of all the time that this one has left if that is more.
    pub(super) fn part(&self, seconds: f64) -> Self {
        let length = self.length.map(|_| Duration::from_secs_f64(seconds.max(self.left())));
        Self { began: Instant::now(), length }
    }

    /// Whether this share of the time is over.
    pub(super) fn is_over(&self, share: f64) -> bool {
        self.length.is_some_and(|length| self.began.elapsed() >= length.mul_f64(share))
    }

    /// The seconds that are left; 0 if there is no length.
    pub(super) fn left(&self) -> f64 {
        self.length.map_or(0.0, |length| length.saturating_sub(self.began.elapsed()).as_secs_f64())
    }
}
