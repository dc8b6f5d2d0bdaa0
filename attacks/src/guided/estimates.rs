//! What an edit is expected to add to the likeness: estimated from what is known of it, and learned from the edits that
//! were tried.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use super::edits::Edit;
use super::gradient::Pieces;

/// Features of an edit.
const COUNT: usize = 10;
/// The places of the features, with their names.
const REPLACE: usize = 0;
const SWAP: usize = 1;
const NEW: usize = 2;
const OLD: usize = 3;
const DELETE: usize = 4;
const DELETED: usize = 5;
const INSERT: usize = 6;
const INSERTED: usize = 7;
const NEIGHBORS: usize = 8;
const MOVE: usize = 9;

/// What a feature of 1 is expected to add before anything was tried, and the standard deviation of that. A word's
/// score is in standard deviations.
const PRIOR: [(f32, f32); COUNT] = [
    (0.0, 0.03),
    (0.5, 0.3),
    (0.004, 0.003),
    (-0.004, 0.003),
    (0.0, 0.03),
    (-0.004, 0.003),
    (0.0, 0.03),
    (0.004, 0.003),
    (0.0, 0.02),
    (0.0, 0.02),
];
/// The variance of what an edit adds around the estimate.
const NOISE: f32 = 0.03 * 0.03;

/// What is known of an edit before it is tried, each in units of its prior's standard deviation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Features([f32; COUNT]);

/// What is known of a hypothesis whose edits are estimated.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) units: &'a [u32],
    /// For each scored word, how much more the target tells of it than the hypothesis does, in standard
    /// deviations.
    pub(super) missing: ArrayView1<'a, f32>,
    /// The gradient's estimates, `[places, single pieces]`, and what the columns are.
    pub(super) swaps: Option<(ArrayView2<'a, f32>, &'a Pieces)>,
}

impl Known<'_> {
    pub(super) fn score(&self, unit: u32) -> f32 {
        self.missing.get(unit as usize).copied().unwrap_or(0.0)
    }

    pub(super) fn of(&self, edit: Edit) -> Features {
        let mut features = [0.0; COUNT];
        let set: &[(usize, f32)] = match edit {
            Edit::Replace { at, unit } => &[
                (REPLACE, 1.0),
                (SWAP, self.swap(at, unit)),
                (NEW, self.score(unit)),
                (OLD, self.score(self.units[at])),
            ],
            Edit::Delete { at } => &[(DELETE, 1.0), (DELETED, self.score(self.units[at]))],
            Edit::Insert { unit, .. } => &[(INSERT, 1.0), (INSERTED, self.score(unit))],
            Edit::Swap { .. } => &[(NEIGHBORS, 1.0)],
            Edit::Move { .. } => &[(MOVE, 1.0)],
        };
        for &(feature, value) in set {
            features[feature] = value * PRIOR[feature].1;
        }
        Features(features)
    }

    /// The gradient's estimate of a replacement; 0 for what it says nothing of.
    fn swap(&self, at: usize, unit: u32) -> f32 {
        let Some((swaps, pieces)) = &self.swaps else { return 0.0 };
        pieces.units.binary_search(&unit).map_or(0.0, |column| swaps[[at, column]])
    }
}

/// Estimates the worth of edits, by Bayesian linear regression on those that were tried.
#[derive(Debug, Clone)]
pub(super) struct Estimator {
    weights: Array1<f32>,
    /// What is not known of the weights, `[COUNT, COUNT]`.
    covariance: Array2<f32>,
}

impl Default for Estimator {
    fn default() -> Self {
        let weights = PRIOR.iter().map(|(mean, deviation)| mean / deviation).collect();
        Self { weights, covariance: Array2::eye(COUNT) }
    }
}

impl Estimator {
    pub(super) fn gain(&self, features: &Features) -> f32 {
        self.weights.dot(&ArrayView1::from(&features.0))
    }

    /// How much a replacement gains with the gradient's estimate, and with the new word's score.
    pub(super) fn slopes(&self) -> [f32; 2] {
        [SWAP, NEW].map(|feature| self.weights[feature] * PRIOR[feature].1)
    }

    /// Learns what an edit added.
    pub(super) fn learn(&mut self, features: &Features, added: f32) {
        let features = ArrayView1::from(&features.0);
        let known = self.covariance.dot(&features);
        let variance = NOISE + features.dot(&known);
        let surprise = (added - self.weights.dot(&features)) / variance;
        self.weights.scaled_add(surprise, &known);
        let outer = known.view().insert_axis(Axis(1)).dot(&known.view().insert_axis(Axis(0)));
        self.covariance.scaled_add(-1.0 / variance, &outer);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn it_learns_what_edits_add() {
        let missing = ndarray::array![2.0, -1.0, 0.5, 3.0];
        let known = Known { units: &[0, 1, 2], missing: missing.view(), swaps: None };
        let mut estimator = Estimator::default();
        let replace = |at, unit| known.of(Edit::Replace { at, unit });
        let (better, worse) = (replace(1, 3), replace(0, 1));
        assert!(estimator.gain(&better) > estimator.gain(&worse));
        // here, words that score high make it worse, and inserted words gain nothing
        for _ in 0..40 {
            for (at, unit) in [(0, 1), (0, 2), (0, 3), (1, 0), (1, 2), (2, 0), (2, 3)] {
                estimator.learn(&replace(at, unit), -0.01 * known.score(unit));
                estimator.learn(&known.of(Edit::Insert { at, unit }), 0.0);
            }
        }
        assert!(estimator.gain(&better) < estimator.gain(&worse));
        assert!((estimator.gain(&better) + 0.03).abs() < 0.005, "{}", estimator.gain(&better));
        assert!(estimator.gain(&known.of(Edit::Insert { at: 0, unit: 3 })).abs() < 0.004);
    }
}
