//! Which words a vector speaks of: ridge regression from vectors to the words of the attacker's own texts.

use std::collections::HashSet;

use faer::Mat;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use crate::Error;
use crate::decomposition::eigen;
use crate::matmul::{across, mapped, matrix, times};

/// The strength of the ridge, in units of the vectors' mean variance, is this times dimensions by texts.
const STRENGTH: f64 = 0.2;

/// Scores of words: how much more than in other texts a vector tells that a word is there.
///
/// The score of word `w` for vector `x` is `(x − mean) · W[w]`, divided by its standard deviation over the own
/// texts. `W` is the ridge regression of each word's presence, 0 or 1, on the vectors.
#[derive(Debug)]
pub(super) struct WordScores {
    mean: Array1<f32>,
    /// `[dim, words]`.
    weights: Mat<f32>,
    /// The regression of a text's length in units, `[dim]`, and the mean length.
    length: (Array1<f32>, f32),
}

impl WordScores {
    /// Fits the scores of the words below `words` on texts as numbers of units, and on their vectors
    /// `[texts, dim]`.
    pub(super) fn fit(texts: &[Vec<u32>], vectors: ArrayView2<'_, f32>, words: usize) -> Result<Self, Error> {
        let mean = vectors.mean_axis(Axis(0)).ok_or(Error::Empty("the list of the attacker's own texts"))?;
        let centred = &vectors - &mean;
        let count = centred.nrows() as f32;
        let covariance = across(centred.view(), centred.view()) * faer::Scale(1.0 / count);
        let inverse = ridge_inverse(&covariance, centred.nrows())?;
        let present = sums(texts, centred.view(), words) / count;
        let mut weights = times(matrix(present.view()).as_ref(), inverse.as_ref());
        scale(&mut weights, &covariance);
        let length = length(texts, centred.view(), &inverse);
        Ok(Self { mean, weights: weights.transpose().to_owned(), length })
    }

    /// Scores all words for each vector, `[rows, dim]` to `[rows, words]`.
    pub(super) fn of(&self, vectors: ArrayView2<'_, f32>) -> Array2<f32> {
        self.of_differences((&vectors - &self.mean).view())
    }

    /// Scores the differences of pairs of vectors: the first's scores less the second's.
    pub(super) fn of_differences(&self, differences: ArrayView2<'_, f32>) -> Array2<f32> {
        mapped(differences, self.weights.as_ref())
    }

    /// Estimates how many units the text of a vector has.
    pub(super) fn length_of(&self, vector: ArrayView1<'_, f32>) -> f32 {
        let (slope, mean) = &self.length;
        mean + (&vector - &self.mean).dot(slope)
    }
}

/// `(covariance + ridge)⁻¹`.
fn ridge_inverse(covariance: &Mat<f32>, texts: usize) -> Result<Mat<f32>, Error> {
    let size = covariance.nrows();
    let wide = Mat::from_fn(size, size, |row, column| f64::from(covariance[(row, column)]));
    let (values, vectors) = eigen(wide.as_ref())?;
    let variance = values.iter().sum::<f64>() / size as f64;
    let ridge = (STRENGTH * size as f64 / texts as f64 * variance).max(f64::MIN_POSITIVE);
    let scaled = Mat::from_fn(size, size, |row, column| {
        (vectors[(row, column)] / (values[column].max(0.0) + ridge).sqrt()) as f32
    });
    Ok(times(scaled.as_ref(), scaled.as_ref().transpose()))
}

/// For each word the sum of the vectors of the texts that have it, `[words, dim]`.
fn sums(texts: &[Vec<u32>], vectors: ArrayView2<'_, f32>, words: usize) -> Array2<f32> {
    let mut sums = Array2::zeros((words, vectors.ncols()));
    for (text, vector) in texts.iter().zip(vectors.rows()) {
        let distinct: HashSet<u32> = text.iter().copied().filter(|&word| (word as usize) < words).collect();
        for word in distinct {
            let mut sum = sums.row_mut(word as usize);
            sum += &vector;
        }
    }
    sums
}

/// Divides each word's weights by the standard deviation of its score.
fn scale(weights: &mut Mat<f32>, covariance: &Mat<f32>) {
    let spread = times(weights.as_ref(), covariance.as_ref());
    for word in 0..weights.nrows() {
        let variance: f32 = spread.row(word).iter().zip(weights.row(word).iter()).map(|(a, b)| a * b).sum();
        let deviation = variance.max(f32::MIN_POSITIVE).sqrt();
        weights.row_mut(word).iter_mut().for_each(|weight| *weight /= deviation);
    }
}

fn length(texts: &[Vec<u32>], centred: ArrayView2<'_, f32>, inverse: &Mat<f32>) -> (Array1<f32>, f32) {
    let count = texts.len() as f32;
    let lengths: Array1<f32> = texts.iter().map(|text| text.len() as f32).collect();
    let mean = lengths.sum() / count;
    let across = centred.t().dot(&(lengths - mean)) / count;
    let slope =
        (0..inverse.nrows()).map(|row| inverse.row(row).iter().zip(&across).map(|(a, b)| a * b).sum());
    (slope.collect(), mean)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A text's vector is the sum of its words' directions.
    #[test]
    fn words_that_are_there_score_highest() {
        let texts: Vec<Vec<u32>> = (0..60u32).map(|text| vec![text % 7, (text / 7 + 1) % 7, 7]).collect();
        let vector = |text: &Vec<u32>| {
            let mut vector = Array1::<f32>::zeros(8);
            for &word in text {
                vector[word as usize] += 1.0;
            }
            vector
        };
        let vectors: Vec<Array1<f32>> = texts.iter().map(vector).collect();
        let views: Vec<_> = vectors.iter().map(|vector| vector.view()).collect();
        let vectors = ndarray::stack(Axis(0), &views).unwrap();
        let scores = WordScores::fit(&texts, vectors.view(), 8).unwrap();
        let of_one = scores.of(vectors.slice(ndarray::s![8..9, ..]));
        let [first, second] = [texts[8][0], texts[8][1]];
        let others = (0..7).filter(|word| ![first, second].contains(word));
        let best_other = others.map(|word| of_one[[0, word as usize]]).fold(f32::MIN, f32::max);
        assert!(of_one[[0, first as usize]] > best_other + 1.0, "{of_one}");
        assert!(of_one[[0, second as usize]] > best_other + 1.0, "{of_one}");
        assert!((scores.length_of(vectors.row(0)) - 3.0).abs() < 0.1);
        let difference = &vectors.row(8) - &vectors.row(9);
        let by_difference = scores.of_differences(difference.insert_axis(Axis(0)).view());
        let apart = scores.of(vectors.slice(ndarray::s![8..10, ..]));
        assert!((by_difference[[0, 3]] - (apart[[0, 3]] - apart[[1, 3]])).abs() < 1e-4);
    }
}
