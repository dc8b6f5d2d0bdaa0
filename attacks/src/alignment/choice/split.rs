//! Splits the attacker's pairs: some to fit maps on, and some to compare maps by.

use faer::Mat;
use ndarray::{ArrayView2, Axis};

use super::candidate::Candidate;
use super::{FEW, Prior, Recipe, Then};
use crate::Error;
use crate::alignment::lengths::{cosines, longer, scale};
use crate::alignment::{Denoising, Evidence, denoiser, narrow, widen};

/// One in `EVERY` pairs is held out, and one in `EVERY_OF_FEW` if that would be fewer than three.
const EVERY: usize = 5;
const EVERY_OF_FEW: usize = 3;
/// More held-out pairs than this would only cost time.
const HELD_OUT: usize = 1000;

/// The distance at which two pairs are held out together: if they are a multiple of it apart, the choice of a map
/// holds out both or neither, and so does the training of its network.
///
/// Place several draws of one text at such distances. Otherwise a map is chosen by texts that it was fitted on.
pub const HELD_OUT_TOGETHER: usize = EVERY * denoiser::HELD_OUT;

// of what the choice leaves, a network holds out one in `denoiser::HELD_OUT`
const _: () = assert!((HELD_OUT_TOGETHER - HELD_OUT_TOGETHER / EVERY).is_multiple_of(denoiser::HELD_OUT));
// a variance takes two held-out pairs
const _: () = assert!(FEW / EVERY_OF_FEW >= 2 && 3 * EVERY > FEW);

/// The pairs, split into those to fit on and those to compare by.
pub(super) struct Split {
    pub(super) seen: Mat<f64>,
    pub(super) target: Mat<f64>,
    pub(super) unseen: Mat<f64>,
    truth: Mat<f64>,
    pub(super) between_spaces: bool,
}

/// Whether a pair is held out, of `of` pairs.
fn is_held_out(pair: usize, of: usize) -> bool {
    let every = if of < 3 * EVERY { EVERY_OF_FEW } else { EVERY };
    pair % every == every - 1
}

/// Which pairs are held out, and which ones maps are fitted on.
pub(super) fn held_out_and_fitted(pairs: usize) -> (Vec<usize>, Vec<usize>) {
    (0..pairs).partition(|&pair| is_held_out(pair, pairs))
}

impl Split {
    pub(super) fn of(evidence: &Evidence<'_>) -> Self {
        let &Evidence { protected, clean, .. } = evidence;
        let (mut held_out, fitted) = held_out_and_fitted(protected.nrows());
        held_out.truncate(HELD_OUT);
        let part = |vectors: ArrayView2<'_, f32>, rows: &[usize]| widen(vectors.select(Axis(0), rows).view());
        Self {
            seen: part(protected, &fitted),
            target: part(clean, &fitted),
            unseen: part(protected, &held_out),
            truth: part(clean, &held_out),
            between_spaces: evidence.is_between_spaces(),
        }
    }

    /// Tries a prior map, scaled if the norms require it.
    pub(super) fn turned(&self, prior: Prior) -> Result<Candidate, Error> {
        let map = prior.map(&self.seen, &self.target)?;
        let errors = self.errors(&map.apply(self.unseen.as_ref()));
        let (protected, clean) = self.measured(&prior);
        let scale = scale(&map.apply(protected.as_ref()), clean);
        let map = map.times(scale.unwrap_or(1.0));
        Ok(Candidate { recipe: Recipe { prior, scale, then: Then::Nothing }, map, errors })
    }

    /// Tries a denoiser after a prior map. The vectors get the lengths that the denoiser was fitted for, not those of
    /// clean vectors, because the remaining noise is in proportion to them.
    pub(super) fn denoised(&self, before: Candidate, denoiser: &Denoising) -> Result<Candidate, Error> {
        let Recipe { prior, scale, .. } = before.recipe;
        let plain = before.map.times(1.0 / scale.unwrap_or(1.0));
        let scale = longer(&plain.apply(self.measured(&prior).0.as_ref()), denoiser.norm);
        let map = plain.times(scale.unwrap_or(1.0));
        let restored = denoiser.map.apply(narrow(&map.apply(self.unseen.as_ref())).view())?;
        let errors = self.errors(&widen(restored.view()));
        let then = Then::Denoiser(Box::new(denoiser.map.clone()));
        Ok(Candidate { recipe: Recipe { prior, scale, then }, map, errors })
    }

    /// The error of each held-out pair, 1 − the cosine.
    pub(super) fn errors(&self, restored: &Mat<f64>) -> Vec<f64> {
        cosines(restored.as_ref(), self.truth.as_ref()).map(|cosine| 1.0 - cosine).collect()
    }

    /// The pairs that show a map's lengths. A map of minimum norm shortens what lies outside the span of its pairs,
    /// which is not a scaling. For such a map, they are the pairs that it was fitted on.
    fn measured(&self, prior: &Prior) -> (&Mat<f64>, &Mat<f64>) {
        let is_short = self.seen.nrows() < self.seen.ncols().max(self.target.ncols());
        if prior.is_procrustes() && is_short {
            (&self.seen, &self.target)
        } else {
            (&self.unseen, &self.truth)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_of_one_text_are_held_out_together() {
        let pairs = 4 * HELD_OUT_TOGETHER;
        let (held_out, fitted) = held_out_and_fitted(pairs);
        let by_network = fitted.iter().enumerate().filter(|(place, _)| denoiser::is_held_out(*place));
        let by_network: Vec<usize> = by_network.map(|(_, &pair)| pair).collect();
        assert!(held_out.len() == pairs / EVERY && !by_network.is_empty());
        for part in [held_out, by_network] {
            for pair in &part {
                assert!(part.contains(&((pair + HELD_OUT_TOGETHER) % pairs)), "{pair}");
            }
        }
    }
}
