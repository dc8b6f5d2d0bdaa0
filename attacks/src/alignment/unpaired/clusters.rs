use ndarray::{Array2, ArrayView2, Axis};
use rand_chacha::rand_core::Rng;

use super::cloud::normalize;
use crate::products::nearest;

const ROUNDS: usize = 20;

/// Centres of norm 1, `[count, dim]`, of rows of norm 1: spherical k-means from a k-means++ start (Arthur &
/// Vassilvitskii 2007).
pub(super) fn centres(rows: ArrayView2<'_, f32>, count: usize, rng: &mut impl Rng) -> Array2<f32> {
    let mut centres = scattered(rows, count, rng);
    let mut before = Vec::new();
    for _ in 0..ROUNDS {
        let owners: Vec<usize> = nearest(rows, centres.view(), 1)
            .into_iter()
            .map(|found| found.first().map_or(0, |f| f.0))
            .collect();
        if owners == before {
            break;
        }
        let mut sums = Array2::zeros(centres.raw_dim());
        for (row, &owner) in rows.rows().into_iter().zip(&owners) {
            let mut sum = sums.row_mut(owner);
            sum += &row;
        }
        // a cluster that lost all its rows keeps its centre
        for (mut sum, centre) in sums.rows_mut().into_iter().zip(centres.rows()) {
            if sum.iter().all(|&value| value == 0.0) {
                sum.assign(&centre);
            }
        }
        normalize(&mut sums);
        (centres, before) = (sums, owners);
    }
    centres
}

/// Rows far from each other: each drawn by its squared distance to those before it.
fn scattered(rows: ArrayView2<'_, f32>, count: usize, rng: &mut impl Rng) -> Array2<f32> {
    let mut chosen = vec![(rng.next_u64() % rows.nrows() as u64) as usize];
    let mut distances = vec![f32::INFINITY; rows.nrows()];
    while chosen.len() < count.min(rows.nrows()) {
        let last = rows.row(chosen[chosen.len() - 1]);
        for (distance, row) in distances.iter_mut().zip(rows.rows()) {
            *distance = distance.min((2.0 - 2.0 * row.dot(&last)).max(0.0));
        }
        let total: f64 = distances.iter().map(|&distance| f64::from(distance)).sum();
        let mut left = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * total;
        let place = distances.iter().position(|&distance| {
            left -= f64::from(distance);
            left < 0.0
        });
        chosen.push(place.unwrap_or(rows.nrows() - 1));
    }
    rows.select(Axis(0), &chosen)
}
