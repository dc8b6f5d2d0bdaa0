//! What an attack recovered from each vector, and how close it came to the text.

use std::rc::Rc;

use ndarray::{Array1, Array2, ArrayView1};
use rayon::prelude::*;

use super::corpus::Corpus;
use super::metrics::{Columns, Metric, STRENGTH, TextPair, cosine, measure_texts, measure_unrelated};
use super::report::Example;
use super::text::ContentWords;
use crate::embedder::Normalizer;

/// An attacked text, as the embedder sees it.
#[derive(Clone)]
pub(super) struct Truth {
    text: String,
    entities: Vec<String>,
    vector: Array1<f32>,
}

impl Truth {
    pub(super) fn new(
        corpus: &Corpus,
        document: usize,
        clean: &Array2<f32>,
        normalizer: &Normalizer,
    ) -> Self {
        Self {
            text: normalizer.apply(&corpus.texts()[document]),
            entities: corpus.entities()[document].iter().map(|entity| normalizer.apply(entity)).collect(),
            vector: clean.row(document).to_owned(),
        }
    }
}

/// What texts are scored by.
pub(super) struct Scoring<'a> {
    pub(super) metrics: &'a [Metric],
    pub(super) content_words: ContentWords,
}

impl<'a> Scoring<'a> {
    pub(super) fn new(metrics: &'a [Metric], corpus: &Corpus, normalizer: &Normalizer) -> Self {
        let texts: Vec<String> = corpus.texts().par_iter().map(|text| normalizer.apply(text)).collect();
        Self { metrics, content_words: ContentWords::of_corpus(&texts) }
    }
}

/// What an attack made of one vector.
#[derive(Clone)]
pub(super) struct Output {
    pub(super) text: String,
    /// Its clean embedding.
    pub(super) vector: Array1<f32>,
    pub(super) queries: usize,
}

/// One attack's outputs, and their scores text by text.
pub(super) struct Recovery {
    /// `None` if no text was to be recovered.
    outputs: Option<Rc<[Output]>>,
    /// Whether the fact of each text was guessed.
    guessed: Vec<Option<bool>>,
    pub(super) texts: Columns,
}

impl Recovery {
    /// Scores the outputs and the guesses. `restored` are the vectors that were attacked, `[texts, dim]`.
    pub(super) fn new(
        (outputs, guessed): (Option<Rc<[Output]>>, Vec<Option<bool>>),
        truths: &[Truth],
        restored: &Array2<f32>,
        scoring: &Scoring<'_>,
    ) -> Self {
        let entities = labels(truths);
        let restored = |at: usize| Some(restored.row(at));
        let pairs =
            pairs((outputs.as_deref(), truths, &entities), restored, (&guessed, &scoring.content_words));
        let texts = measure_texts(scoring.metrics, &pairs, outputs.is_some());
        Self { outputs, guessed, texts }
    }

    /// The scores of the same outputs, each compared with the next text: the score of chance.
    pub(super) fn unrelated(&self, truths: &[Truth], scoring: &Scoring<'_>) -> Columns {
        let mut others = truths.to_vec();
        others.rotate_left(1);
        let labels = labels(&others);
        let outputs = self.outputs.as_deref();
        let pairs = pairs((outputs, &others, &labels), |_| None, (&self.guessed, &scoring.content_words));
        measure_unrelated(scoring.metrics, &pairs, outputs.is_some())
    }

    /// The sum of the texts' scores, to compare attacks on the same texts.
    pub(super) fn strength(&self) -> f64 {
        self.texts.values(STRENGTH).iter().sum()
    }

    /// The first `n` texts and what was recovered of them.
    pub(super) fn examples(&self, truths: &[Truth], n: usize) -> Vec<Example> {
        let pairs = truths.iter().zip(self.outputs.iter().flat_map(|outputs| outputs.iter())).take(n);
        pairs
            .map(|(truth, output)| Example { text: truth.text.clone(), recovered: output.text.clone() })
            .collect()
    }

    /// The number of oracle queries for a text, on average. `None` if no text was to be recovered.
    pub(super) fn queries(&self) -> Option<f64> {
        let outputs = self.outputs.as_ref()?;
        let queries = outputs.iter().map(|output| output.queries as f64).sum::<f64>();
        Some(queries / outputs.len().max(1) as f64)
    }
}

/// How far restored vectors, `[texts, dim]`, come from chance (0) to the clean ones (1): by their mean cosine to the
/// clean vector of the text, and of the next text for chance. It is 0 for vectors that are all alike.
pub(super) fn restoration(truths: &[Truth], restored: &Array2<f32>) -> f64 {
    let mean = |offset: usize| {
        let other = |at: usize| truths[(at + offset) % truths.len()].vector.view();
        let cosines = restored.rows().into_iter().enumerate().map(|(at, row)| cosine(other(at), row));
        cosines.sum::<f64>() / truths.len().max(1) as f64
    };
    let (own, chance) = (mean(0), mean(1));
    (own - chance) / (1.0 - chance).max(1e-9)
}

fn labels(truths: &[Truth]) -> Vec<Vec<&str>> {
    truths.iter().map(|truth| truth.entities.iter().map(String::as_str).collect()).collect()
}

fn pairs<'a>(
    (outputs, truths, entities): (Option<&'a [Output]>, &'a [Truth], &'a [Vec<&'a str>]),
    restored: impl Fn(usize) -> Option<ArrayView1<'a, f32>>,
    (guessed, content_words): (&'a [Option<bool>], &'a ContentWords),
) -> Vec<TextPair<'a>> {
    let output = |at: usize| outputs.map(|outputs| &outputs[at]);
    let pair = |at: usize| TextPair {
        content_words,
        entities: &entities[at],
        truth_vector: Some(truths[at].vector.view()),
        output_vector: output(at).map(|output| output.vector.view()),
        restored_vector: restored(at),
        guessed: guessed[at],
        ..TextPair::new(&truths[at].text, output(at).map_or("", |output| &output.text))
    };
    (0..truths.len()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn vectors_that_are_all_alike_restore_nothing() {
        let clean: Array2<f32> = array![[1.0, 0.2], [1.0, -0.2]];
        let truth = |vector: ArrayView1<'_, f32>| Truth {
            text: String::new(),
            entities: Vec::new(),
            vector: vector.to_owned(),
        };
        let truths: Vec<Truth> = clean.rows().into_iter().map(truth).collect();
        let found = |restored: Array2<f32>| restoration(&truths, &restored);
        assert!((found(&clean * 3.0) - 1.0).abs() < 1e-4);
        // their mean has a cosine of 0.98 to each
        assert!(found(array![[1.0, 0.0], [1.0, 0.0]]).abs() < 1e-4);
        assert!(found(array![[1.0, 0.1], [1.0, -0.1]]) < 0.9);
    }
}
