//! Resamples of a sample, drawn with replacement.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;

use crate::evaluate::draws::index_below;

/// The means of `resamples` resamples, ascending.
pub(super) fn resampled_means(values: &[f64], resamples: usize, seed: u64) -> Vec<f64> {
    let mut means: Vec<f64> = (0..resamples as u64)
        .into_par_iter()
        .map(|resample| resampled_mean(values, seed, resample))
        .collect();
    means.par_sort_unstable_by(f64::total_cmp);
    means
}

/// The scores of `resamples` resamples of `n` items, ascending.
pub(super) fn resampled_scores(
    n: usize,
    resamples: usize,
    seed: u64,
    score: impl Fn(&[usize]) -> f64 + Sync,
) -> Vec<f64> {
    let draw = |resample| {
        let mut rng = stream(seed, resample);
        score(&(0..n).map(|_| index_below(n, &mut rng)).collect::<Vec<_>>())
    };
    let mut scores: Vec<f64> = (0..resamples as u64).into_par_iter().map(draw).collect();
    scores.par_sort_unstable_by(f64::total_cmp);
    scores
}

/// Each resample draws from its own stream of the cipher, so that threads share nothing.
fn stream(seed: u64, resample: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(resample);
    rng
}

fn resampled_mean(values: &[f64], seed: u64, resample: u64) -> f64 {
    let mut rng = stream(seed, resample);
    let n = values.len();
    (0..n).map(|_| values[index_below(n, &mut rng)]).sum::<f64>() / n as f64
}
