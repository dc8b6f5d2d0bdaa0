//! What an attack recovered from each vector, and how near it came to the text.

use ndarray::{Array1, Array2, ArrayView1};

use super::corpus::Corpus;
use super::metrics::{Columns, Metric, STRENGTH, TextPair, measure_texts, measure_unrelated};
use super::report::Example;
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
    outputs: Vec<Output>,
    pub(super) texts: Columns,
}

impl Recovery {
    /// Scores the outputs. `restored` are the vectors that were attacked, `[texts, dim]`.
    pub(super) fn new(
        outputs: Vec<Output>,
        truths: &[Truth],
        restored: &Array2<f32>,
        metrics: &[Metric],
    ) -> Self {
        let entities = labels(truths);
        let restored = |at: usize| Some(restored.row(at));
        let texts = measure_texts(metrics, &pairs(&outputs, truths, &entities, restored));
        Self { outputs, texts }
    }

    /// The scores of the same outputs, each held against the next text: what chance gives.
    pub(super) fn unrelated(&self, truths: &[Truth], metrics: &[Metric]) -> Columns {
        let mut others = truths.to_vec();
        others.rotate_left(1);
        measure_unrelated(metrics, &pairs(&self.outputs, &others, &labels(&others), |_| None))
    }

    /// The sum of the texts' scores, to compare attacks on the same texts.
    pub(super) fn strength(&self) -> f64 {
        self.texts.values(STRENGTH).iter().sum()
    }

    /// The first `n` texts and what came back of them.
    pub(super) fn examples(&self, truths: &[Truth], n: usize) -> Vec<Example> {
        let pairs = truths.iter().zip(&self.outputs).take(n);
        pairs
            .map(|(truth, output)| Example { text: truth.text.clone(), recovered: output.text.clone() })
            .collect()
    }

    /// The number of oracle queries for a text, on average.
    pub(super) fn queries(&self) -> f64 {
        let queries = self.outputs.iter().map(|output| output.queries as f64).sum::<f64>();
        queries / self.outputs.len().max(1) as f64
    }
}

fn labels(truths: &[Truth]) -> Vec<Vec<&str>> {
    truths.iter().map(|truth| truth.entities.iter().map(String::as_str).collect()).collect()
}

fn pairs<'a>(
    outputs: &'a [Output],
    truths: &'a [Truth],
    entities: &'a [Vec<&'a str>],
    restored: impl Fn(usize) -> Option<ArrayView1<'a, f32>>,
) -> Vec<TextPair<'a>> {
    let pair = |at: usize| TextPair {
        entities: &entities[at],
        truth_vector: Some(truths[at].vector.view()),
        output_vector: Some(outputs[at].vector.view()),
        restored_vector: restored(at),
        ..TextPair::new(&truths[at].text, &outputs[at].text)
    };
    (0..outputs.len()).map(pair).collect()
}
