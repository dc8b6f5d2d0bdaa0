//! A map that was tried, and the rule by which one replaces another.

use super::{ROUNDING, Recipe};
use crate::alignment::affine::Affine;
use crate::alignment::lengths::mean;

/// A map must have less than this share of another one's error to be better.
const BETTER: f64 = 0.99;

/// A map that was tried on held-out pairs.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) recipe: Recipe,
    /// The map, as far as it is affine.
    pub(super) map: Affine,
    /// 1 − the cosine, for each held-out pair.
    pub(super) errors: Vec<f64>,
}

/// How far a candidate must lead to replace the best so far, in standard errors of the difference.
#[derive(Debug, Clone, Copy)]
pub(super) enum Margin {
    /// The candidate must be better by 1 % and by more than this many standard errors.
    Better(f64),
    /// The candidate is taken unless the best is better by 1 % and by more than this many standard errors.
    NotWorse(f64),
}

impl Margin {
    /// The margin of most candidates: they must be better by more than chance explains.
    pub(super) const USUAL: Self = Self::Better(1.0);
}

/// The best candidate so far.
pub(super) struct Selection {
    pub(super) best: Candidate,
}

impl From<Candidate> for Selection {
    fn from(best: Candidate) -> Self {
        Self { best }
    }
}

impl Selection {
    /// Takes the candidate if it beats the best so far by `margin`.
    pub(super) fn offer(&mut self, candidate: Candidate, margin: Margin) {
        let is_taken = match margin {
            Margin::Better(standard_errors) => candidate.is_better_than(&self.best, standard_errors),
            Margin::NotWorse(standard_errors) => !self.best.is_better_than(&candidate, standard_errors),
        };
        if is_taken {
            self.best = candidate;
        }
    }
}

impl Candidate {
    pub(super) fn error(&self) -> f64 {
        mean(&self.errors)
    }

    /// Whether only rounding errors are left, which no map can reduce.
    pub(super) fn is_exact(&self) -> bool {
        self.error() <= ROUNDING
    }

    /// Whether the error is smaller by 1 %, and by more than `standard_errors` of the difference, because few pairs
    /// say little.
    fn is_better_than(&self, other: &Self, standard_errors: f64) -> bool {
        let gains: Vec<f64> = other.errors.iter().zip(&self.errors).map(|(other, own)| other - own).collect();
        let gain = mean(&gains);
        let variance = gains.iter().map(|it| (it - gain).powi(2)).sum::<f64>() / (gains.len() as f64 - 1.0);
        let chance = standard_errors * (variance / gains.len() as f64).sqrt();
        other.error() > ROUNDING && self.error() < BETTER * other.error() && gain > chance
    }
}

#[cfg(test)]
mod tests {
    use faer::Mat;

    use super::*;
    use crate::alignment::{Prior, Then};

    fn candidate(prior: Prior, errors: &[f64]) -> Candidate {
        let recipe = Recipe { prior, scale: None, then: Then::Nothing };
        Candidate { recipe, map: Affine::linear(Mat::zeros(1, 1)), errors: errors.to_vec() }
    }

    /// Each case: the errors of a candidate, its margin, and whether it is taken in place of `BEST`.
    #[test]
    fn a_candidate_is_taken_by_its_margin() {
        const BEST: [f64; 3] = [0.4, 0.5, 0.6];
        let (better, not_worse) = (Margin::USUAL, Margin::NotWorse(4.0));
        let cases = [
            ([0.2, 0.3, 0.4], better, true),
            ([0.399, 0.499, 0.599], better, false), // by less than 1 %
            ([0.1, 0.7, 0.6], better, false),       // within chance
            (BEST, better, false),
            (BEST, not_worse, true),
            ([0.7, 0.4, 0.6], not_worse, true), // worse within chance
            ([0.6, 0.7, 0.8], not_worse, false),
            ([0.2, 0.3, 0.4], not_worse, true),
        ];
        for (errors, margin, is_taken) in cases {
            let mut selection = Selection::from(candidate(Prior::Identity, &BEST));
            selection.offer(candidate(Prior::Zero, &errors), margin);
            assert_eq!(!selection.best.recipe.prior.is_identity(), is_taken, "{errors:?} {margin:?}");
        }
        let mut selection = Selection::from(candidate(Prior::Identity, &[1e-11; 3]));
        selection.offer(candidate(Prior::Zero, &[0.0; 3]), better);
        assert!(selection.best.recipe.prior.is_identity(), "both are rounding");
    }
}
