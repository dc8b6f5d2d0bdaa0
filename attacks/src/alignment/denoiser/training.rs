//! How a [`Denoiser`]'s network is trained.

use faer::Mat;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::Denoiser;
use super::network::Adam;
use crate::Error;
use crate::alignment::ridge::Ridge;
use crate::alignment::{Affine, widen};
use crate::matmul::mapped;
use crate::rows::normalize;

const BATCH: usize = 256;
const RATE: f32 = 1e-3;
/// The least and most passes over the pairs, and how many samples all passes take if that lies in between.
const PASSES: (usize, usize) = (4, 250);
const SAMPLES: usize = 500_000;
/// Training ends after this many passes, and this many steps, without progress on the held-out pairs.
const PATIENCE: usize = 8;
const PATIENT_STEPS: usize = 500;
/// The share of the training in which the learning rate rises.
const WARM_UP: f32 = 0.03;

/// Pairs, the clean vectors at norm 1.
pub(super) struct TrainingSet {
    protected: Array2<f32>,
    clean: Array2<f32>,
}

impl TrainingSet {
    pub(super) fn new(protected: Array2<f32>, mut clean: Array2<f32>) -> Self {
        normalize(&mut clean);
        Self { protected, clean }
    }
}

/// Trains `denoiser`, and keeps the state that did best on `held_out`.
pub(super) fn train(
    denoiser: &mut Denoiser,
    pairs: &TrainingSet,
    held_out: &TrainingSet,
    seed: u64,
) -> Result<(), Error> {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed ^ 0x6465_6e6f_6973_6572);
    let count = pairs.protected.nrows();
    if count == 0 || held_out.protected.nrows() == 0 {
        return Ok(());
    }
    let noise = Noise::of(pairs)?;
    let passes = (SAMPLES / count).clamp(PASSES.0, PASSES.1);
    let (each, steps) = (count.div_ceil(BATCH), passes * count.div_ceil(BATCH));
    let mut adam = Adam::new(&denoiser.network);
    let (mut best, mut least, mut since) = (denoiser.network.clone(), error(denoiser, held_out), 0);
    let mut step = 0;
    let mut order: Vec<usize> = (0..count).collect();
    for pass in 0..passes {
        order.shuffle(rng);
        let mut sources = order.clone();
        if pass % 2 == 1 {
            sources.shuffle(rng);
        }
        for (rows, sources) in order.chunks(BATCH).zip(sources.chunks(BATCH)) {
            let rate = RATE * schedule(step as f32 / steps as f32);
            let vectors = if pass % 2 == 1 {
                noise.moved(rows, sources)
            } else {
                pairs.protected.select(Axis(0), rows)
            };
            descend(denoiser, &mut adam, &vectors, pairs.clean.select(Axis(0), rows).view(), rate);
            step += 1;
        }
        let now = error(denoiser, held_out);
        if now < least {
            (best, least, since) = (denoiser.network.clone(), now, 0);
        } else {
            since += 1;
            if since >= PATIENCE && since * each >= PATIENT_STEPS {
                break;
            }
        }
    }
    denoiser.network = best;
    Ok(())
}

/// The share of the learning rate after the share `way` of the training: a rise, then half a cosine down.
fn schedule(way: f32) -> f32 {
    (way / WARM_UP).min(1.0) * 0.5 * (1.0 + (std::f32::consts::PI * way).cos())
}

/// One step down the gradient of the squared error.
fn descend(
    denoiser: &mut Denoiser,
    adam: &mut Adam,
    vectors: &Array2<f32>,
    clean: ArrayView2<'_, f32>,
    rate: f32,
) {
    let (mut error, mut pass) = denoiser.network.pass(denoiser.input(vectors.view()));
    let linear = denoiser.linear_part(vectors.view());
    let share = 1.0 / vectors.nrows() as f32;
    for ((column, linear), clean) in error.col_iter_mut().zip(linear.rows()).zip(clean.rows()) {
        for ((value, linear), clean) in column.iter_mut().zip(linear).zip(clean) {
            *value = share * (*value + linear - clean);
        }
    }
    let gradients = denoiser.network.gradients(&mut pass, error.as_ref());
    adam.step(&mut denoiser.network, gradients, rate);
}

/// 1 − the mean cosine.
fn error(denoiser: &Denoiser, examples: &TrainingSet) -> f32 {
    let restored = denoiser.restored(examples.protected.view());
    let cosine = |(a, b): (ArrayView1<'_, f32>, ArrayView1<'_, f32>)| {
        let norm = a.dot(&a).sqrt();
        if norm > 0.0 { a.dot(&b) / norm } else { 0.0 }
    };
    let cosines = restored.rows().into_iter().zip(examples.clean.rows()).map(cosine);
    1.0 - cosines.sum::<f32>() / examples.clean.nrows() as f32
}

/// What the pairs show of the defense: its linear part, and the residuals.
struct Noise {
    linear: Array2<f32>,
    residuals: Array2<f32>,
}

impl Noise {
    fn of(pairs: &TrainingSet) -> Result<Self, Error> {
        let (clean, protected) = (widen(pairs.clean.view()), widen(pairs.protected.view()));
        let zero = Affine::linear(Mat::zeros(clean.ncols(), protected.ncols()));
        let affine = Ridge::fit(&clean, &protected)?.around(&zero).of(1e-6);
        let map = Mat::from_fn(affine.map.nrows(), affine.map.ncols(), |i, j| affine.map[(i, j)] as f32);
        let offset: Array1<f32> = affine.offset.iter().map(|&value| value as f32).collect();
        let linear = mapped(pairs.clean.view(), map.as_ref()) + &offset;
        let residuals = &pairs.protected - &linear;
        Ok(Self { linear, residuals })
    }

    /// The vectors of `rows`, protected with the noise that those of `sources` had.
    fn moved(&self, rows: &[usize], sources: &[usize]) -> Array2<f32> {
        self.linear.select(Axis(0), rows) + self.residuals.select(Axis(0), sources)
    }
}
