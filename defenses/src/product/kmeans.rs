//! k-means, and the search for the nearest centroid. All in `f64` and in a fixed order, so that a
//! seed gives the same centroids on every machine.

use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::Rng;
use crate::wide::{Work, widest};

/// Rounds of Lloyd's algorithm; later ones move little.
const ROUNDS: usize = 25;

/// Returns `centroids` centroids, `[centroids, width]`, of `points`, `[rows, width]`, which has at least as many
/// rows.
pub(super) fn fit(points: ArrayView2<'_, f32>, centroids: usize, rng: &mut Rng) -> Array2<f32> {
    let mut found = spread(points, centroids, rng);
    let mut assigned = Vec::new();
    for _ in 0..ROUNDS {
        let now = assign(points, &found);
        if same_places(&now, &assigned) {
            break;
        }
        assigned = now;
        found = means(points, &mut assigned, centroids);
    }
    found
}

/// k-means++: each further centroid is a point drawn with a probability proportional to its squared distance from the
/// nearest centroid so far.
fn spread(points: ArrayView2<'_, f32>, centroids: usize, rng: &mut Rng) -> Array2<f32> {
    let mut found = Array2::zeros((centroids, points.ncols()));
    let mut distances = vec![1.0; points.nrows()];
    for (number, mut centroid) in found.rows_mut().into_iter().enumerate() {
        let chosen = points.row(draw(&distances, rng));
        centroid.assign(&chosen);
        for (nearest, point) in distances.iter_mut().zip(points.rows()) {
            let distance = square_distance(point, chosen);
            *nearest = if number == 0 { distance } else { distance.min(*nearest) };
        }
    }
    found
}

/// Draws a place with a probability proportional to its weight. If rounding leads beyond the end, it is the last with
/// a weight; if none has a weight, the first.
fn draw(weights: &[f64], rng: &mut Rng) -> usize {
    let mut left = rng.uniform() * weights.iter().sum::<f64>();
    let mut chosen = 0;
    for (place, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        chosen = place;
        if left < *weight {
            break;
        }
        left -= weight;
    }
    chosen
}

/// Returns the nearest centroid of each point, and the squared distance.
fn assign(points: ArrayView2<'_, f32>, centroids: &Array2<f32>) -> Vec<(usize, f64)> {
    let mut assigned = vec![(0, 0.0); points.nrows()];
    Centroids::new(centroids.view()).nearest_of_each(points, |row, nearest| assigned[row] = nearest);
    assigned
}

fn same_places(a: &[(usize, f64)], b: &[(usize, f64)]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0)
}

/// Returns the mean of each centroid's points. A centroid without points takes the point that is furthest from its
/// own centroid.
fn means(points: ArrayView2<'_, f32>, assigned: &mut [(usize, f64)], centroids: usize) -> Array2<f32> {
    let mut counts = vec![0_usize; centroids];
    for (centroid, _) in assigned.iter() {
        counts[*centroid] += 1;
    }
    for empty in 0..centroids {
        if counts[empty] == 0 {
            let furthest = furthest_of_many(assigned, &counts);
            counts[assigned[furthest].0] -= 1;
            counts[empty] = 1;
            assigned[furthest] = (empty, 0.0);
        }
    }
    let mut sums = Array2::<f64>::zeros((centroids, points.ncols()));
    for ((centroid, _), point) in assigned.iter().zip(points.rows()) {
        sums.row_mut(*centroid).zip_mut_with(&point, |sum, &x| *sum += f64::from(x));
    }
    for (mut sum, count) in sums.rows_mut().into_iter().zip(&counts) {
        sum /= *count as f64;
    }
    sums.mapv(|x| x as f32)
}

/// Returns the point furthest from its centroid, among those that are not their centroid's only point. There is one,
/// since there are at least as many points as centroids, and one centroid has none.
fn furthest_of_many(assigned: &[(usize, f64)], counts: &[usize]) -> usize {
    let mut best = (0, -1.0);
    for (place, (centroid, distance)) in assigned.iter().enumerate() {
        if counts[*centroid] > 1 && *distance > best.1 {
            best = (place, *distance);
        }
    }
    best.0
}

fn square_distance(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (&a, &b)| sum + (f64::from(a) - f64::from(b)).powi(2))
}

/// Centroids laid out for the search: `[width, centroids]`, so that all distances grow side by side.
#[derive(Clone, PartialEq)]
pub(crate) struct Centroids(Array2<f64>);

impl Centroids {
    /// Of centroids `[centroids, width]`.
    pub(crate) fn new(centroids: ArrayView2<'_, f32>) -> Self {
        Self(centroids.t().mapv(f64::from).as_standard_layout().into_owned())
    }

    /// Calls `found` with each row, its nearest centroid and the squared distance. Of equally near centroids it is
    /// the first.
    pub(crate) fn nearest_of_each(
        &self,
        points: ArrayView2<'_, f32>,
        mut found: impl FnMut(usize, (usize, f64)),
    ) {
        let mut distances = vec![0.0; self.0.ncols()];
        for (row, point) in points.rows().into_iter().enumerate() {
            widest(SquareDistances { centroids: &self.0, point, distances: &mut distances });
            found(row, smallest(&distances));
        }
    }
}

struct SquareDistances<'a> {
    centroids: &'a Array2<f64>,
    point: ArrayView1<'a, f32>,
    distances: &'a mut [f64],
}

impl Work for SquareDistances<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const WIDE: bool>(self) {
        self.distances.fill(0.0);
        for (&x, coordinates) in self.point.iter().zip(self.centroids.rows()) {
            let x = f64::from(x);
            let coordinates = coordinates.to_slice().unwrap_or(&[]);
            for (distance, coordinate) in self.distances.iter_mut().zip(coordinates) {
                let difference = x - coordinate;
                *distance += difference * difference;
            }
        }
    }
}

fn smallest(distances: &[f64]) -> (usize, f64) {
    let mut best = (0, f64::INFINITY);
    for (place, &distance) in distances.iter().enumerate() {
        if distance < best.1 {
            best = (place, distance);
        }
    }
    best
}
