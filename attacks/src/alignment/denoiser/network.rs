//! One hidden layer with GELU, its gradients, and Adam. Samples are columns.

use faer::{Mat, MatMut, MatRef};
use pulp::Arch;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use crate::matmul::{times, times_into};

/// Hidden units for each dimension of the output.
const WIDTH: usize = 4;
/// The decay rates of Adam's moments; the third number keeps a step finite.
const FIRST: f32 = 0.9;
const SECOND: f32 = 0.99;
const TINY: f32 = 1e-8;
/// The share of a weight that decays in a step at a learning rate of 1.
const DECAY: f32 = 0.01;
/// Columns of a matrix that one thread processes at once.
const COLUMNS: usize = 64;

/// `output · gelu(hidden · x + its bias) + its bias`; the biases are the last column of each matrix.
#[derive(Debug, Clone)]
pub(super) struct Network {
    /// `[units, inputs + 1]`
    hidden: Mat<f32>,
    /// `[outputs, units + 1]`
    output: Mat<f32>,
}

/// A batch on its way through the hidden layer.
pub(super) struct Pass {
    input: Mat<f32>,
    slopes: Mat<f32>,
    after: Mat<f32>,
}

impl Network {
    /// A network whose output is zero until it is trained.
    pub(super) fn new(inputs: usize, outputs: usize, seed: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        // uniform, with a variance of 1 / inputs
        let bound = (3.0 / inputs as f32).sqrt();
        let mut draw = || ((rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0) * bound;
        let units = WIDTH * outputs;
        let hidden = Mat::from_fn(units, inputs + 1, |_, column| if column == inputs { 0.0 } else { draw() });
        Self { hidden, output: Mat::zeros(outputs, units + 1) }
    }

    pub(super) fn output(&self, input: MatRef<'_, f32>) -> Mat<f32> {
        let mut inner = layer(&self.hidden, input);
        inner.par_col_chunks_mut(COLUMNS).for_each(|columns| {
            widest(
                #[inline(always)]
                || slices(columns).flatten().for_each(|value| *value = gelu(*value).0),
            );
        });
        layer(&self.output, inner.as_ref())
    }

    /// The output, and what its gradients need.
    pub(super) fn pass(&self, input: Mat<f32>) -> (Mat<f32>, Pass) {
        let mut after = layer(&self.hidden, input.as_ref());
        let mut slopes = Mat::zeros(after.nrows(), after.ncols());
        pairs(after.as_mut(), slopes.as_mut(), |value, slope| (*value, *slope) = gelu(*value));
        let output = layer(&self.output, after.as_ref());
        (output, Pass { input, slopes, after })
    }

    /// The gradients of a loss whose gradient with respect to the output is `error`, one column per sample.
    pub(super) fn gradients(&self, pass: &mut Pass, error: MatRef<'_, f32>) -> [Mat<f32>; 2] {
        let units = self.output.ncols() - 1;
        let mut inner = times(self.output.as_ref().subcols(0, units).transpose(), error);
        pairs(inner.as_mut(), pass.slopes.as_mut(), |value, slope| *value *= *slope);
        [by_weights(inner.as_ref(), pass.input.as_ref()), by_weights(error, pass.after.as_ref())]
    }
}

fn layer(weights: &Mat<f32>, input: MatRef<'_, f32>) -> Mat<f32> {
    let last = weights.ncols() - 1;
    let mut output = times(weights.as_ref().subcols(0, last), input);
    for mut column in output.col_iter_mut() {
        column += weights.col(last);
    }
    output
}

fn by_weights(error: MatRef<'_, f32>, input: MatRef<'_, f32>) -> Mat<f32> {
    let mut gradient = Mat::zeros(error.nrows(), input.nrows() + 1);
    times_into(gradient.as_mut().subcols_mut(0, input.nrows()), error, input.transpose());
    let mut bias = gradient.as_mut().col_mut(input.nrows());
    for column in error.col_iter() {
        bias += column;
    }
    gradient
}

/// Changes the values of two matrices of the same shape pair by pair, on all threads.
fn pairs(first: MatMut<'_, f32>, second: MatMut<'_, f32>, change: impl Fn(&mut f32, &mut f32) + Sync) {
    first.par_col_chunks_mut(COLUMNS).zip(second.par_col_chunks_mut(COLUMNS)).for_each(|(first, second)| {
        widest(
            #[inline(always)]
            || {
                for (first, second) in slices(first).zip(slices(second)) {
                    first.iter_mut().zip(second).for_each(|(first, second)| change(first, second));
                }
            },
        );
    });
}

/// Runs `work`, compiled for the widest registers that the processor has.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the target features")]
fn widest(work: impl FnOnce()) {
    Arch::new().dispatch(work);
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
#[allow(clippy::redundant_closure_for_method_calls, reason = "faer has several methods of these names")]
fn slices(columns: MatMut<'_, f32>) -> impl Iterator<Item = &mut [f32]> {
    let each = columns.col_iter_mut().filter_map(|column| column.try_as_col_major_mut());
    each.map(|column| column.as_slice_mut())
}

/// `√(2/π)` and the cubic term of the usual approximation (Hendrycks & Gimpel 2016, arXiv 1606.08415).
const INNER: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// The unit's value, and its slope.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
fn gelu(x: f32) -> (f32, f32) {
    let t = tanh(INNER * (x + CUBIC * x * x * x));
    let slope = 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * INNER * (1.0 + 3.0 * CUBIC * x * x);
    (0.5 * x * (1.0 + t), slope)
}

/// A ratio of polynomials, accurate to about 1e-4: fast, and the same on every machine.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
fn tanh(x: f32) -> f32 {
    let x = x.clamp(-4.97, 4.97);
    let square = x * x;
    let above = x * (135_135.0 + square * (17_325.0 + square * (378.0 + square)));
    let below = 135_135.0 + square * (62_370.0 + square * (3_150.0 + square * 28.0));
    above / below
}

/// Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101).
pub(super) struct Adam {
    moments: [[Mat<f32>; 2]; 2],
    steps: i32,
}

impl Adam {
    pub(super) fn new(network: &Network) -> Self {
        let zeros = |like: &Mat<f32>| [(); 2].map(|()| Mat::zeros(like.nrows(), like.ncols()));
        Self { moments: [zeros(&network.hidden), zeros(&network.output)], steps: 0 }
    }

    pub(super) fn step(&mut self, network: &mut Network, mut gradients: [Mat<f32>; 2], rate: f32) {
        self.steps += 1;
        let (first, second) = (1.0 - FIRST.powi(self.steps), (1.0 - SECOND.powi(self.steps)).sqrt());
        let weights = [&mut network.hidden, &mut network.output];
        for ((weights, gradients), [mean, square]) in
            weights.into_iter().zip(&mut gradients).zip(&mut self.moments)
        {
            let parts = weights.par_col_chunks_mut(COLUMNS).zip(gradients.par_col_chunks_mut(COLUMNS));
            let moments = mean.par_col_chunks_mut(COLUMNS).zip(square.par_col_chunks_mut(COLUMNS));
            parts.zip(moments).for_each(|((weights, gradients), (mean, square))| {
                widest(
                    #[inline(always)]
                    || {
                        let columns = slices(weights).zip(slices(gradients));
                        let moments = slices(mean).zip(slices(square));
                        for ((weights, gradients), (mean, square)) in columns.zip(moments) {
                            let values = weights.iter_mut().zip(gradients);
                            let moments = mean.iter_mut().zip(square);
                            for ((weight, gradient), (mean, square)) in values.zip(moments) {
                                *mean = FIRST * *mean + (1.0 - FIRST) * *gradient;
                                *square = SECOND * *square + (1.0 - SECOND) * *gradient * *gradient;
                                let step = (*mean / first) / (square.sqrt() / second + TINY);
                                *weight -= rate * (step + DECAY * *weight);
                            }
                        }
                    },
                );
            });
        }
    }
}
