//! What an attack recovered of each text, measured.

use ndarray::{Array1, Array2};

use super::corpus::Corpus;
use super::metrics::{Columns, Metric, STRENGTH, TextPair, measure_texts};
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
    /// `restored` are the vectors that were attacked, `[texts, dim]`.
    pub(super) fn new(
        outputs: Vec<Output>,
        truths: &[Truth],
        restored: &Array2<f32>,
        metrics: &[Metric],
    ) -> Self {
        let texts = measured(&outputs, truths, Some(restored), metrics);
        Self { outputs, texts }
    }

    /// The same outputs, each held against the next text.
    pub(super) fn unrelated(&self, truths: &[Truth], metrics: &[Metric]) -> Columns {
        let mut others = truths.to_vec();
        others.rotate_left(1);
        measured(&self.outputs, &others, None, metrics)
    }

    /// How much came back in all, to compare attacks on the same texts.
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

    /// The oracle queries that a text took on average.
    pub(super) fn queries(&self) -> f64 {
        let queries = self.outputs.iter().map(|output| output.queries as f64).sum::<f64>();
        queries / self.outputs.len().max(1) as f64
    }
}

fn measured(
    outputs: &[Output],
    truths: &[Truth],
    restored: Option<&Array2<f32>>,
    metrics: &[Metric],
) -> Columns {
    let entities: Vec<Vec<&str>> =
        truths.iter().map(|truth| truth.entities.iter().map(String::as_str).collect()).collect();
    let pair = |at: usize| TextPair {
        entities: &entities[at],
        truth_vector: Some(truths[at].vector.view()),
        output_vector: Some(outputs[at].vector.view()),
        restored_vector: restored.map(|vectors| vectors.row(at)),
        ..TextPair::new(&truths[at].text, &outputs[at].text)
    };
    measure_texts(metrics, &(0..outputs.len()).map(pair).collect::<Vec<_>>())
}
