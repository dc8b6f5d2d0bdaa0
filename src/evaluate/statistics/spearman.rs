//! Rank correlation, and with it the similarity of two embedders.

use ndarray::ArrayView2;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::evaluate::draws::index_below;

/// How many pairs of texts [`similarity_correlation`] draws.
pub const SIMILARITY_PAIRS: usize = 10_000;

/// Returns Spearman's rank correlation of `x` and `y`, from −1 to 1; equal values share the mean of their ranks. The
/// longer one is cut. NaN if either does not vary.
///
/// ```
/// # use embosk::evaluate::statistics::spearman;
/// // as scipy.stats.spearmanr has it
/// let correlation = spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[5.0, 6.0, 7.0, 8.0, 7.0]);
/// assert!((correlation - 0.820_782_681_668_123_3).abs() < 1e-12);
/// ```
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    let count = x.len().min(y.len());
    let (x, y) = (ranks(&x[..count]), ranks(&y[..count]));
    // ranks and their means are the same numbers on both sides
    let mean = (count as f64 - 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    product(&x, &y) / (product(&x, &x) * product(&y, &y)).sqrt()
}

/// Ranks from 0.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for equal in order.chunk_by(|&a, &b| values[a].total_cmp(&values[b]).is_eq()) {
        let rank = first as f64 + (equal.len() as f64 - 1.0) / 2.0;
        for &place in equal {
            ranks[place] = rank;
        }
        first += equal.len();
    }
    ranks
}

/// Returns how much two embedders agree on the similarity of texts: Spearman's correlation of the cosines in `a` and
/// in `b`, `[texts, dim]` each, over [`SIMILARITY_PAIRS`] pairs of different texts drawn from the seed. NaN if there
/// are fewer than two texts.
pub fn similarity_correlation(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>, seed: u64) -> f64 {
    let texts = a.nrows().min(b.nrows());
    if texts < 2 {
        return f64::NAN;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut below = |n: usize| index_below(n, &mut rng);
    let cosine = |of: &ArrayView2<'_, f32>, i: usize, j: usize| {
        let (i, j) = (of.row(i), of.row(j));
        f64::from(i.dot(&j)) / (f64::from(i.dot(&i)) * f64::from(j.dot(&j))).sqrt()
    };
    let (in_a, in_b): (Vec<f64>, Vec<f64>) = (0..SIMILARITY_PAIRS)
        .map(|_| {
            let (i, other) = (below(texts), below(texts - 1));
            let j = if other < i { other } else { other + 1 };
            (cosine(&a, i, j), cosine(&b, i, j))
        })
        .unzip();
    spearman(&in_a, &in_b)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    /// scipy.stats.spearmanr of SciPy 1.17.1, with ties.
    #[test]
    fn equal_values_share_their_ranks() {
        let (x, y) = ([1.0, 2.0, 2.0, 3.0, 9.0], [0.0, 1.0, 0.0, -1.0, 1.0]);
        assert!((spearman(&x, &y) - 0.162_221_421_130_762_54).abs() < 1e-12, "{}", spearman(&x, &y));
        assert!(spearman(&x, &[1.0; 5]).is_nan() && spearman(&[], &[]).is_nan());
    }

    #[test]
    fn a_rotated_and_scaled_space_has_the_same_structure() {
        let a = Array2::from_shape_fn((40, 6), |(row, column)| ((row * 7 + column * 5) as f32 * 0.61).sin());
        let mut turned = a.clone();
        for (row, mut to) in a.rows().into_iter().zip(turned.rows_mut()) {
            for place in 0..6 {
                to[place] = -2.0 * row[5 - place];
            }
        }
        assert!(similarity_correlation(a.view(), turned.view(), 1) > 0.999);
        let other = Array2::from_shape_fn((40, 6), |(row, column)| ((row * 3 + column) as f32).cos());
        assert!(similarity_correlation(a.view(), other.view(), 1) < 0.9);
        assert!(similarity_correlation(a.view().slice_move(ndarray::s![..1, ..]), other.view(), 1).is_nan());
    }
}
