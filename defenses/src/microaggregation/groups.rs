//! MDAV (Domingo-Ferrer and Torra, Data Min. Knowl. Discov. 11, 2005): groups around the vectors that are furthest out.
//! All in `f64` and in a fixed order, so that the same vectors give the same groups.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

/// The means, `[groups, dim]`, of groups of at least `k` rows; there are as many rows.
pub(super) fn means(stored: ArrayView2<'_, f32>, k: usize) -> Array2<f32> {
    let mut left: Vec<usize> = (0..stored.nrows()).collect();
    let mut means: Vec<Array1<f32>> = Vec::new();
    while left.len() >= 2 * k {
        let outermost = furthest(stored, &left, mean(stored, &left).view());
        means.push(taken(stored, &mut left, outermost, k));
        if left.len() >= 2 * k {
            // opposite of it
            let opposite = furthest(stored, &left, stored.row(outermost).mapv(f64::from).view());
            means.push(taken(stored, &mut left, opposite, k));
        }
    }
    means.push(mean(stored, &left).mapv(|x| x as f32));
    let dim = stored.ncols();
    let mut all = Array2::zeros((means.len(), dim));
    all.rows_mut().into_iter().zip(means).for_each(|(mut row, mean)| row.assign(&mean));
    all
}

/// Takes a row and its nearest ones out, `k` together, and returns their mean.
fn taken(stored: ArrayView2<'_, f32>, left: &mut Vec<usize>, row: usize, k: usize) -> Array1<f32> {
    let centre = stored.row(row).mapv(f64::from);
    let distance = |at: usize| square_distance(stored.row(at), centre.view());
    let mut order: Vec<(f64, usize)> = left.iter().map(|&at| (distance(at), at)).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut group: Vec<usize> = order[..k].iter().map(|(_, at)| *at).collect();
    group.sort_unstable();
    left.retain(|at| group.binary_search(at).is_err());
    mean(stored, &group).mapv(|x| x as f32)
}

fn mean(stored: ArrayView2<'_, f32>, rows: &[usize]) -> Array1<f64> {
    let mut sum = Array1::<f64>::zeros(stored.len_of(Axis(1)));
    for &row in rows {
        sum.zip_mut_with(&stored.row(row), |sum, &x| *sum += f64::from(x));
    }
    sum / rows.len() as f64
}

/// The row that is furthest from a point, the first of equals.
fn furthest(stored: ArrayView2<'_, f32>, rows: &[usize], from: ArrayView1<'_, f64>) -> usize {
    let mut best = (rows[0], -1.0);
    for &row in rows {
        let distance = square_distance(stored.row(row), from);
        if distance > best.1 {
            best = (row, distance);
        }
    }
    best.0
}

fn square_distance(row: ArrayView1<'_, f32>, from: ArrayView1<'_, f64>) -> f64 {
    row.iter().zip(from).map(|(&a, &b)| (f64::from(a) - b).powi(2)).sum()
}
