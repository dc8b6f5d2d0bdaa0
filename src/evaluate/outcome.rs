//! What an attack brought back of each text, measured.

use ndarray::{Array1, Array2, ArrayView1};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::corpus::Corpus;
use super::report::{Example, TextScores};
use super::statistics::{RESAMPLES, Score, paired_difference};
use super::text;
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

    /// The cosine of its clean vector to another.
    pub(super) fn cosine(&self, other: ArrayView1<'_, f32>) -> f64 {
        cosine(self.vector.view(), other)
    }
}

/// What an attack made of one vector.
#[derive(Clone)]
pub(super) struct Recovered {
    pub(super) text: String,
    /// Its clean embedding.
    pub(super) vector: Array1<f32>,
    pub(super) queries: usize,
}

/// One attack's measures, text by text.
pub(super) struct Outcome {
    pub(super) recovered: Vec<Recovered>,
    pub(super) texts: Vec<TextScores>,
}

impl Outcome {
    pub(super) fn new(recovered: Vec<Recovered>, truths: &[Truth]) -> Self {
        let scores = |(found, truth): (&Recovered, &Truth)| TextScores {
            exact_match: text::exact_match(&found.text, &truth.text),
            bleu: text::bleu(&found.text, &truth.text),
            token_f1: text::token_f1(&found.text, &truth.text),
            rouge_l: text::rouge_l(&found.text, &truth.text),
            entity_recall: entity_recall(&found.text, &truth.entities),
            cosine: truth.cosine(found.vector.view()),
        };
        Self { texts: recovered.iter().zip(truths).map(scores).collect(), recovered }
    }

    pub(super) fn bleu(&self) -> Vec<f64> {
        bleu(&self.texts)
    }

    /// The first `n` texts and what came back of them.
    pub(super) fn examples(&self, truths: &[Truth], n: usize) -> Vec<Example> {
        let pairs = truths.iter().zip(&self.recovered).take(n);
        pairs
            .map(|(truth, found)| Example { text: truth.text.clone(), recovered: found.text.clone() })
            .collect()
    }

    /// The oracle queries that a text took on average.
    pub(super) fn queries(&self) -> f64 {
        average(self.recovered.iter().map(|recovered| recovered.queries as f64))
    }
}

fn bleu(texts: &[TextScores]) -> Vec<f64> {
    texts.iter().map(|text| text.bleu).collect()
}

/// What the attack gets without a defense, and what its outputs get on unrelated texts: BLEU, text by text.
pub(super) struct Baseline {
    ceiling: Vec<f64>,
    floor: Vec<f64>,
}

impl Baseline {
    pub(super) fn new(ceiling: &[TextScores], floor: &[TextScores]) -> Self {
        Self { ceiling: bleu(ceiling), floor: bleu(floor) }
    }

    /// How far the ceiling lies above the floor, at least: the lower end of the 95 % interval.
    pub(super) fn gap(&self, seed: u64) -> f64 {
        paired_difference(&self.ceiling, &self.floor, seed).map_or(0.0, |gap| gap.low)
    }

    /// `(bleu − floor) / (ceiling − floor)`, where `floor` is what the outputs scored by `bleu` get on
    /// unrelated texts, with the percentile bootstrap over texts: a resample takes the same texts for all
    /// three. Neither the value nor the interval is held within 0 and 1.
    pub(super) fn leak(&self, bleu: &[f64], floor: &[f64], seed: u64) -> Option<Score> {
        let all: Vec<usize> = (0..bleu.len()).collect();
        let value = self.ratio(bleu, floor, &all)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut resample = || resampled(bleu.len(), &mut rng);
        let mut ratios: Vec<f64> =
            (0..RESAMPLES).filter_map(|_| self.ratio(bleu, floor, &resample())).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let tail = ratios.len() / 40;
        Some(Score { value, low: *ratios.get(tail)?, high: *ratios.get(ratios.len() - 1 - tail)? })
    }

    /// `None` where the ceiling of these texts is not above their floor.
    fn ratio(&self, bleu: &[f64], floor: &[f64], texts: &[usize]) -> Option<f64> {
        let over_floor = |scores: &[f64]| texts.iter().map(|&text| scores[text] - floor[text]).sum::<f64>();
        let range = over_floor(&self.ceiling);
        (range > 0.0).then(|| over_floor(bleu) / range)
    }
}

fn resampled(n: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    (0..n).map(|_| ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize).collect()
}

fn entity_recall(recovered: &str, entities: &[String]) -> Option<f64> {
    let entities: Vec<&str> = entities.iter().map(String::as_str).collect();
    text::entity_recall(recovered, &entities)
}

fn cosine(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    let norms = (a.dot(&a) * b.dot(&b)).sqrt();
    if norms > 0.0 { f64::from(a.dot(&b) / norms) } else { 0.0 }
}

fn average(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len().max(1) as f64;
    values.sum::<f64>() / n
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_leak_is_one_at_the_ceiling_and_zero_at_the_floor() {
        let (ceiling, floor) = ([90.0, 100.0, 80.0, 95.0], [4.0, 6.0, 5.0, 3.0]);
        let baseline = Baseline { ceiling: ceiling.to_vec(), floor: floor.to_vec() };
        assert!(baseline.gap(0) < 86.75 && baseline.gap(0) > 10.0);
        assert_eq!(baseline.leak(&ceiling, &floor, 0), Some(Score { value: 1.0, low: 1.0, high: 1.0 }));
        assert_eq!(baseline.leak(&floor, &floor, 0), Some(Score { value: 0.0, low: 0.0, high: 0.0 }));
        let beyond = baseline.leak(&[100.0; 4], &floor, 0).unwrap();
        assert!(beyond.value > 1.0 && beyond.low <= beyond.value && beyond.value <= beyond.high);
        let below = baseline.leak(&[0.0; 4], &floor, 0).unwrap();
        assert!(below.value < 0.0);
        // words that any text has are no leak
        assert_eq!(baseline.leak(&[3.0; 4], &[3.0; 4], 0), Some(Score { value: 0.0, low: 0.0, high: 0.0 }));
    }

    #[test]
    fn no_range_has_no_leak() {
        let flat = Baseline { ceiling: vec![5.0, 5.0], floor: vec![5.0, 5.0] };
        assert_eq!(flat.leak(&[5.0, 5.0], &[5.0, 5.0], 0), None);
        assert_eq!(Baseline { ceiling: vec![], floor: vec![] }.leak(&[], &[], 0), None);
    }
}
