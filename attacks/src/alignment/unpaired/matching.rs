//! A first guess of the rotation: centres of clusters, matched by their inner products.

use faer::{Mat, MatRef};
use ndarray::{Array2, Axis};
use rand_chacha::rand_core::Rng;

use super::cloud::Cloud;
use super::clusters::centres;
use crate::Error;
use crate::alignment::procrustes::on_the_span;
use crate::alignment::widen;
use crate::structure::assignment::assignment;

/// Vectors that are clustered, and into how many clusters.
const VECTORS: usize = 6_000;
const CENTRES: usize = 40;
/// Vectors a cluster has at least, on average.
const MEMBERS: usize = 8;
/// Starts of the quadratic assignment, its steps, and the step below which it has arrived.
const STARTS: usize = 20;
const STEPS: usize = 40;
const ARRIVED: f64 = 1e-3;

/// The map that lays the centres of one cloud on those of the other; zero outside their span.
pub(super) fn start(theirs: &Cloud, mine: &Cloud, rng: &mut impl Rng) -> Result<Mat<f32>, Error> {
    let (theirs, mine) = (theirs.sample(VECTORS, rng), mine.sample(VECTORS, rng));
    let count = CENTRES.min(theirs.nrows().min(mine.nrows()) / MEMBERS);
    let (theirs, mine) = (centres(theirs.view(), count, rng), centres(mine.view(), count, rng));
    let partner = matched(gram(&theirs).as_ref(), gram(&mine).as_ref(), rng);
    let map =
        on_the_span(widen(theirs.view()).as_ref(), widen(mine.select(Axis(0), &partner).view()).as_ref())?;
    Ok(Mat::from_fn(map.nrows(), map.ncols(), |row, column| map[(row, column)] as f32))
}

fn gram(rows: &Array2<f32>) -> Mat<f64> {
    let rows = widen(rows.view());
    &rows * rows.transpose()
}

/// For each index of `a` the one of `b` so that the two symmetric matrices agree best.
///
/// Fast approximate quadratic assignment (Vogelstein et al. 2015, PLOS ONE 10(4)): Frank–Wolfe on doubly
/// stochastic matrices `P` for the largest `tr(A P B Pᵀ)`, each direction a linear assignment; the best of
/// several starts.
pub(super) fn matched(a: MatRef<'_, f64>, b: MatRef<'_, f64>, rng: &mut impl Rng) -> Vec<usize> {
    let mut best = (f64::NEG_INFINITY, Vec::new());
    for start in 0..STARTS {
        let found = climbed(a, b, if start == 0 { by_profile(a, b) } else { by_chance(a.nrows(), rng) });
        let value = agreement(a, b, &found);
        if value > best.0 {
            best = (value, found);
        }
    }
    best.1
}

fn agreement(a: MatRef<'_, f64>, b: MatRef<'_, f64>, partner: &[usize]) -> f64 {
    let row = |i: usize| partner.iter().enumerate().map(move |(j, &to)| a[(i, j)] * b[(partner[i], to)]);
    (0..partner.len()).flat_map(row).sum()
}

fn climbed(a: MatRef<'_, f64>, b: MatRef<'_, f64>, mut place: Mat<f64>) -> Vec<usize> {
    for _ in 0..STEPS {
        let slope = a * &place * b;
        let direction = permutation(&assignment((-&slope).as_ref())) - &place;
        let curve = dot(&(a * &direction * b), &direction);
        let rise = 2.0 * dot(&slope, &direction);
        let step = if curve < 0.0 { (-rise / (2.0 * curve)).min(1.0) } else { 1.0 };
        place += faer::Scale(step) * &direction;
        if step * direction.norm_l2() < ARRIVED {
            break;
        }
    }
    assignment((-&place).as_ref())
}

fn dot(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
    a.col_iter().zip(b.col_iter()).map(|(a, b)| a.transpose() * b).sum()
}

fn permutation(partner: &[usize]) -> Mat<f64> {
    Mat::from_fn(partner.len(), partner.len(), |row, column| f64::from(partner[row] == column))
}

/// Halfway between all and the match of rows by their sorted values.
fn by_profile(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let sorted = |matrix: MatRef<'_, f64>| -> Vec<Vec<f64>> {
        let row = |row: faer::RowRef<'_, f64>| {
            let mut values: Vec<f64> = row.iter().copied().collect();
            values.sort_unstable_by(f64::total_cmp);
            values
        };
        matrix.row_iter().map(row).collect()
    };
    let (a, b) = (sorted(a), sorted(b));
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    let costs = Mat::from_fn(a.len(), b.len(), |row, column| distance(&a[row], &b[column]));
    half(&permutation(&assignment(costs.as_ref())))
}

/// Halfway between all and a doubly stochastic matrix of chance (Sinkhorn 1964).
fn by_chance(count: usize, rng: &mut impl Rng) -> Mat<f64> {
    let mut place =
        Mat::from_fn(count, count, |_, _| (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64 + 1e-9);
    for _ in 0..10 {
        for mut row in place.row_iter_mut() {
            let sum = row.as_ref().iter().sum::<f64>();
            row *= faer::Scale(sum.recip());
        }
        for mut column in place.col_iter_mut() {
            let sum = column.as_ref().iter().sum::<f64>();
            column *= faer::Scale(sum.recip());
        }
    }
    half(&place)
}

fn half(place: &Mat<f64>) -> Mat<f64> {
    let share = 1.0 / place.nrows() as f64;
    Mat::from_fn(place.nrows(), place.ncols(), |row, column| 0.5 * (place[(row, column)] + share))
}
