//! Which words a vector speaks of: by ridge regression from vectors to the words of the attacker's own texts, and by
//! the vectors of single words.

use std::collections::HashSet;

use faer::Mat;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use crate::Error;
use crate::decomposition::eigen;
use crate::matmul::{across, mapped, matrix, times};

/// The strength of the ridge, in units of the vectors' mean variance, is this times dimensions by texts.
const STRENGTH: f64 = 0.2;

/// A word in fewer own texts has no regression, which would be noise for the most part.
const LEAST_TEXTS_OF_A_WORD: u32 = 12;

/// The strength of the ridge with which single words are compared, in units of the vectors' mean variance.
const SINGLE_STRENGTH: f64 = 0.5;

/// The least ridge. Vectors of norm 1 that vary by less are equal but for rounding.
const LEAST_RIDGE: f64 = 1e-12;

/// How much a single word's comparison counts beside the regression.
const SINGLE_WEIGHT: f32 = 0.75;

/// Scores of words: how much more than in other texts a vector tells that a word is there.
///
/// The score of word `w` for vector `x` is a sum of two, `(x − mean) · W[w]` and 0.75 `(x − mean) · V[w]`, each divided
/// by its standard deviation over the own texts. `W` is the ridge regression of each word's presence, 0 or 1, on the
/// vectors, and 0 for a rare word. `V[w]` is the vector of the single word, centred and whitened with a ridge:
/// regression knows little of rare words, and nothing of those that no own text has.
#[derive(Debug)]
pub(super) struct WordScores {
    mean: Array1<f32>,
    /// `[dim, words]`.
    weights: Mat<f32>,
    /// The regression of a text's length in units, `[dim]`, and the mean length.
    length: (Array1<f32>, f32),
}

impl WordScores {
    /// Fits the scores of words on texts as numbers of units, on their vectors `[texts, dim]`, and on the vectors of
    /// the single words, `[words, dim]`. All vectors have norm 1.
    pub(super) fn fit(
        texts: &[Vec<u32>],
        vectors: ArrayView2<'_, f32>,
        single: ArrayView2<'_, f32>,
    ) -> Result<Self, Error> {
        let mean = vectors.mean_axis(Axis(0)).ok_or(Error::Empty("the list of the attacker's own texts"))?;
        let centred = &vectors - &mean;
        let count = centred.nrows() as f64;
        let covariance = across(centred.view(), centred.view()) * faer::Scale(1.0 / count as f32);
        let [inverse, whitener] =
            ridge_inverses(&covariance, [STRENGTH * covariance.nrows() as f64 / count, SINGLE_STRENGTH])?;
        let present = sums(texts, centred.view(), single.nrows()) / count as f32;
        let scaled = |values: ArrayView2<'_, f32>, inverse: &Mat<f32>| {
            let mut weights = times(matrix(values).as_ref(), inverse.as_ref());
            scale(&mut weights, &covariance);
            weights
        };
        let mut weights = scaled(present.view(), &inverse);
        if let Some(mean) = single.mean_axis(Axis(0)) {
            weights += scaled((&single - &mean).view(), &whitener) * faer::Scale(SINGLE_WEIGHT);
        }
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

/// `(covariance + ridge)⁻¹` for ridges in units of the mean variance.
fn ridge_inverses(covariance: &Mat<f32>, ridges: [f64; 2]) -> Result<[Mat<f32>; 2], Error> {
    let size = covariance.nrows();
    let wide = Mat::from_fn(size, size, |row, column| f64::from(covariance[(row, column)]));
    let (values, vectors) = eigen(wide.as_ref())?;
    let variance = values.iter().sum::<f64>() / size as f64;
    Ok(ridges.map(|ridge| {
        let ridge = (ridge * variance).max(LEAST_RIDGE);
        let scaled = Mat::from_fn(size, size, |row, column| {
            (vectors[(row, column)] / (values[column].max(0.0) + ridge).sqrt()) as f32
        });
        times(scaled.as_ref(), scaled.as_ref().transpose())
    }))
}

/// For each word the sum of the vectors of the texts that have it, `[words, dim]`; zeros for a word that is too rare.
fn sums(texts: &[Vec<u32>], vectors: ArrayView2<'_, f32>, words: usize) -> Array2<f32> {
    let mut sums = Array2::zeros((words, vectors.ncols()));
    let mut counts = vec![0u32; words];
    for (text, vector) in texts.iter().zip(vectors.rows()) {
        let distinct: HashSet<u32> = text.iter().copied().filter(|&word| (word as usize) < words).collect();
        for word in distinct {
            let mut sum = sums.row_mut(word as usize);
            sum += &vector;
            counts[word as usize] += 1;
        }
    }
    let rare = counts.iter().zip(sums.rows_mut()).filter(|(count, _)| **count < LEAST_TEXTS_OF_A_WORD);
    rare.for_each(|(_, mut sum)| sum.fill(0.0));
    sums
}

/// Divides each word's weights by the standard deviation of its score. A score that does not vary gets no weight.
fn scale(weights: &mut Mat<f32>, covariance: &Mat<f32>) {
    let spread = times(weights.as_ref(), covariance.as_ref());
    for word in 0..weights.nrows() {
        let variance: f32 = spread.row(word).iter().zip(weights.row(word).iter()).map(|(a, b)| a * b).sum();
        let factor = if variance > f32::MIN_POSITIVE { variance.sqrt().recip() } else { 0.0 };
        weights.row_mut(word).iter_mut().for_each(|weight| *weight *= factor);
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

    fn table(rows: &serde_json::Value) -> Array2<f32> {
        let rows: Vec<Vec<f32>> = serde_json::from_value(rows.clone()).unwrap();
        Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
    }

    /// attacks/tests/golden/word_scores.py
    #[test]
    fn scores_are_those_of_numpy() {
        let golden = include_str!("../../tests/data/word-scores.json");
        let golden: serde_json::Value = serde_json::from_str(golden).unwrap();
        let texts: Vec<Vec<u32>> = serde_json::from_value(golden["texts"].clone()).unwrap();
        let lengths: Vec<f32> = serde_json::from_value(golden["lengths"].clone()).unwrap();
        let (rows, expected) = (table(&golden["rows"]), table(&golden["scores"]));
        let [vectors, single] = ["vectors", "single"].map(|name| table(&golden[name]));
        let scores = WordScores::fit(&texts, vectors.view(), single.view()).unwrap();
        let found = scores.of(rows.view());
        assert_eq!(found.dim(), expected.dim());
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 2e-4, "{found} for {expected}");
        }
        for (row, expected) in rows.rows().into_iter().zip(lengths) {
            let found = scores.length_of(row);
            assert!((found - expected).abs() < 2e-4, "{found} for {expected}");
        }
    }

    #[test]
    fn equal_vectors_tell_of_no_word() {
        let texts: Vec<Vec<u32>> = (0..60).map(|text| vec![text % 7; 1 + text as usize % 3]).collect();
        for vector in [Array1::from_vec(vec![0.6, 0.0, 0.8]), Array1::zeros(3)] {
            let equal = vector.broadcast((60, 3)).unwrap();
            let scores = WordScores::fit(&texts, equal, Array2::eye(3).view()).unwrap();
            let found = scores.of(Array2::eye(3).view());
            assert!(found.iter().all(|score| score.is_finite()), "{found}");
            let length = scores.length_of(ndarray::aview1(&[0.0, 1.0, 0.0]));
            assert!(length.is_finite(), "{length}");
        }
    }

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
        let scores = WordScores::fit(&texts, vectors.view(), Array2::zeros((8, 8)).view()).unwrap();
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
        // a word that no own text has is known by its own vector
        let unseen = Array1::from_shape_fn(8, |at| f32::from(at == 7));
        let without: Vec<Vec<u32>> = texts.iter().map(|text| text[..2].to_vec()).collect();
        let mut varied = vectors.clone();
        varied.column_mut(7).iter_mut().enumerate().for_each(|(at, value)| *value = f32::from(at % 4 == 0));
        let unknown = WordScores::fit(&without, varied.view(), Array2::zeros((8, 8)).view()).unwrap();
        let known = WordScores::fit(&without, varied.view(), Array2::eye(8).view()).unwrap();
        let of = |scores: &WordScores| scores.of(unseen.view().insert_axis(Axis(0)))[[0, 7]];
        assert!(of(&unknown).abs() < 1e-6 && of(&known) > 0.5, "{} {}", of(&unknown), of(&known));
    }
}
