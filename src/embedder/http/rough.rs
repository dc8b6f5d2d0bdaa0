//! Rehearsals: what a run will send, without sending it.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use ndarray::Array2;
use rand_chacha::rand_core::Rng as _;

use super::service::Service;
use crate::digest::Digest;
use crate::{Error, Rng, Role};

/// The dimension of vectors where none is known.
pub(super) const DIMENSION: usize = 64;

/// How much is sent to a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Volume {
    /// Texts.
    pub texts: usize,
    /// Their tokens, estimated: one for four ASCII characters, and one for each other character.
    pub tokens: usize,
}

impl Volume {
    /// Of some texts, with what stands before each.
    pub fn of<'t>(texts: impl IntoIterator<Item = &'t str>, prompt: &str) -> Self {
        let tokens = |text: &str| {
            let others = text.chars().filter(|letter| !letter.is_ascii()).count();
            let ascii = text.bytes().filter(u8::is_ascii).count();
            (ascii.div_ceil(4) + others).max(1)
        };
        let before = if prompt.is_empty() { 0 } else { tokens(prompt) };
        texts.into_iter().fold(Self::default(), |Self { texts, tokens: sum }, text| Self {
            texts: texts + 1,
            tokens: sum + before + tokens(text),
        })
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} texts of about {} tokens", self.texts, self.tokens)
    }
}

/// What would have been sent so far.
#[derive(Debug, Default)]
pub(super) struct Rough {
    seen: Mutex<(HashSet<String>, Volume)>,
}

impl Rough {
    pub(super) fn volume(&self) -> Volume {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Counts the texts that are not cached, and returns vectors of norm 1 that depend on the texts alone.
    pub(super) fn embed(
        &self,
        service: &Service,
        (role, key): (Role, &str),
        texts: &[&str],
        dimension: usize,
    ) -> Result<Array2<f32>, Error> {
        let missing = match &service.cache {
            Some(cache) => cache.missing(key, texts)?,
            None => texts.to_vec(),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, volume) = &mut *seen;
        let new: Vec<&str> =
            missing.into_iter().filter(|text| known.insert(Digest::of([key, text]).short())).collect();
        let more = Volume::of(new, &service.roles.of(role).prompt);
        *volume = Volume { texts: volume.texts + more.texts, tokens: volume.tokens + more.tokens };
        Ok(vectors(texts, dimension))
    }
}

fn vectors(texts: &[&str], dimension: usize) -> Array2<f32> {
    let mut vectors = Array2::zeros((texts.len(), dimension));
    for (text, mut row) in texts.iter().zip(vectors.rows_mut()) {
        let seed = u64::from_str_radix(&Digest::of([text]).short()[..16], 16).unwrap_or_default();
        let mut rng = Rng::seeded(seed);
        row.mapv_inplace(|_: f32| rng.next_u32() as f32 / u32::MAX as f32 - 0.5);
        let norm = row.dot(&row).sqrt().max(f32::MIN_POSITIVE);
        row.mapv_inplace(|value| value / norm);
    }
    vectors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_estimated() {
        for (text, tokens) in [("", 1), ("four", 1), ("seven l", 2), ("会议", 2), ("für", 2)] {
            assert_eq!(Volume::of([text], "").tokens, tokens, "{text}");
        }
        assert_eq!(Volume::of(["four", "four"], "query: "), Volume { texts: 2, tokens: 6 });
    }
}
