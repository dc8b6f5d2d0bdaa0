//! A first guess of the rotation: the principal axes of one cloud on those of the other.

use faer::Mat;
use ndarray::Array2;
use rand_chacha::rand_core::Rng;

use super::cloud::Cloud;
use super::precision::wide;
use crate::Error;
use crate::assignment::assignment;
use crate::decomposition::eigen;
use crate::matmul::{across, mapped};
use crate::rows::quantiles;

/// How many axes are matched: in the first start, and in the others by turns.
const AXES: [usize; 4] = [24, 12, 32, 16];
/// Quantiles by which two axes are compared.
const QUANTILES: usize = 64;
/// The mean random change of a disagreement in all starts but the first, in shares of the variance.
const CHANCE: f64 = 2e-3;

/// The principal axes of a cloud, and how its vectors are distributed along them.
pub(super) struct Axes {
    /// `[dim, axes]`, by falling variance.
    directions: Mat<f32>,
    /// `[QUANTILES, axes]`, in standard deviations of the axis.
    quantiles: Array2<f64>,
    deviations: Vec<f64>,
}

impl Axes {
    pub(super) fn of(cloud: &Cloud) -> Result<Self, Error> {
        let rows = cloud.vectors.view();
        let scatter = across(rows, rows);
        let scatter = wide(&scatter);
        let (eigenvalues, eigenvectors) = eigen(scatter.as_ref())?;
        let count = AXES.iter().copied().max().unwrap_or(1).min(rows.ncols());
        let last = rows.ncols() - 1;
        let axes = Mat::from_fn(rows.ncols(), count, |row, axis| eigenvectors[(row, last - axis)] as f32);
        let variance = |axis: usize| eigenvalues[last - axis].max(0.0) / rows.nrows() as f64;
        let deviations: Vec<f64> = (0..count).map(|axis| variance(axis).sqrt()).collect();
        let along = mapped(rows, axes.as_ref());
        let quantiles = quantiles(along.view(), QUANTILES).mapv(f64::from);
        Ok(Self { directions: axes, quantiles, deviations })
    }

    /// The mean squared difference between the distributions along two axes, in shares of the variance. The second
    /// axis is reversed if `sign` is −1.
    fn disagreement(&self, axis: usize, other: &Self, partner: usize, sign: f64) -> f64 {
        let square = |step: usize| {
            let turned = if sign > 0.0 { step } else { QUANTILES - 1 - step };
            (self.quantiles[(step, axis)] - sign * other.quantiles[(turned, partner)]).powi(2)
        };
        let variance = (self.deviations[axis] * other.deviations[partner]).max(f64::MIN_POSITIVE.sqrt());
        (0..QUANTILES).map(square).sum::<f64>() / QUANTILES as f64 / variance
    }
}

/// Returns the map that lays the first axes of `theirs` on the axes of `mine` with the most similar distributions
/// (linear assignment, with the better sign of each), and makes the rest zero. Axes of nearly the same variance mix,
/// and an axis with a symmetric distribution has no sign. So all starts but the first are varied at random.
pub(super) fn start(theirs: &Axes, mine: &Axes, number: usize, rng: &mut impl Rng) -> Mat<f32> {
    let count = AXES[number % AXES.len()].min(theirs.deviations.len());
    let mut chance = || {
        let uniform = ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        if number == 0 { 0.0 } else { -CHANCE * uniform.ln() }
    };
    let mut signs = Mat::zeros(count, count);
    let mut costs = Mat::zeros(count, count);
    for axis in 0..count {
        for partner in 0..count {
            let [plus, minus] =
                [1.0, -1.0].map(|sign| theirs.disagreement(axis, mine, partner, sign) + chance());
            costs[(axis, partner)] = plus.min(minus);
            signs[(axis, partner)] = if plus <= minus { 1.0_f32 } else { -1.0 };
        }
    }
    let mut turn = Mat::zeros(count, count);
    for (axis, partner) in assignment(costs.as_ref()).into_iter().enumerate() {
        turn[(axis, partner)] = signs[(axis, partner)];
    }
    theirs.directions.as_ref().subcols(0, count)
        * turn
        * mine.directions.as_ref().subcols(0, count).transpose()
}
