//! What the search knows about one vector.

use std::collections::HashSet;
use std::ops::Range;

use ndarray::{Array1, ArrayView1};

use crate::Inversion;

/// From this cosine on, the text is the right one, up to rounding.
const SOLVED: f32 = 0.99999;
/// A row stops after this many steps without a better best hypothesis.
const PATIENCE: usize = 2;

/// How many beams' worth of hypotheses are kept.
const SPARE: usize = 8;

/// A candidate text, and how close it comes.
#[derive(Debug, Clone)]
pub(super) struct Hypothesis {
    pub(super) tokens: Vec<u32>,
    pub(super) text: String,
    pub(super) vector: Array1<f32>,
    pub(super) cosine: f32,
    pub(super) corrected: bool,
}

/// One vector's search.
#[derive(Debug)]
pub(super) struct Row {
    /// What the models read.
    pub(super) estimate: Array1<f32>,
    /// What hypotheses are ranked by.
    pub(super) target: Array1<f32>,
    /// The best hypotheses, best first, all with different texts: the beam, and then those that fell out of it.
    pub(super) pool: Vec<Hypothesis>,
    width: usize,
    pub(super) seen: HashSet<String>,
    pub(super) queries: usize,
    steps: Vec<String>,
    best: f32,
    idle: usize,
    /// The best cosine before the local search.
    corrected: Option<f32>,
}

impl Row {
    pub(super) fn new(estimate: ArrayView1<'_, f32>, target: ArrayView1<'_, f32>) -> Self {
        Self {
            estimate: estimate.to_owned(),
            target: target.to_owned(),
            pool: Vec::new(),
            width: 1,
            seen: HashSet::new(),
            queries: 0,
            steps: Vec::new(),
            best: f32::NEG_INFINITY,
            idle: 0,
            corrected: None,
        }
    }

    /// The beam: the hypotheses that were kept last.
    pub(super) fn beam(&self) -> &[Hypothesis] {
        &self.pool[..self.width.min(self.pool.len())]
    }

    pub(super) fn solved(&self) -> bool {
        self.pool.first().is_some_and(|best| best.cosine >= SOLVED)
    }

    /// Whether more correction would not help.
    pub(super) fn stopped(&self) -> bool {
        self.solved() || self.idle >= PATIENCE
    }

    /// The places in the pool to correct next: those of the beam that were not corrected yet, or, if all were, the
    /// best that fell out of it.
    pub(super) fn to_correct(&self) -> Vec<usize> {
        let open = |places: Range<usize>| -> Vec<usize> {
            places.filter(|&place| !self.pool[place].corrected).take(self.width).collect()
        };
        let of_beam = open(0..self.beam().len());
        if of_beam.is_empty() { open(self.beam().len()..self.pool.len()) } else { of_beam }
    }

    /// Adds hypotheses. The best `width` become the beam, which always includes the best so far.
    pub(super) fn keep_best(&mut self, found: Vec<Hypothesis>, width: usize) {
        self.width = width;
        self.pool.extend(found);
        self.pool.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
        let mut texts = HashSet::new();
        self.pool.retain(|it| texts.insert(it.text.clone()));
        self.pool.truncate(SPARE * width);
    }

    pub(super) fn end_step(&mut self) {
        let Some(best) = self.pool.first() else { return };
        if best.cosine > self.best {
            self.best = best.cosine;
            self.idle = 0;
        } else {
            self.idle += 1;
        }
        self.steps.push(best.text.clone());
    }

    pub(super) fn begin_local(&mut self) {
        self.corrected = self.pool.first().map(|best| best.cosine);
    }

    pub(super) fn into_inversion(self) -> Inversion {
        let (output, cosine) =
            self.pool.into_iter().next().map_or_else(Default::default, |best| (best.text, best.cosine));
        let local_gain = self.corrected.map_or(0.0, |corrected| cosine - corrected);
        Inversion { steps: self.steps, output, cosine, queries: self.queries, local_gain }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hypothesis(text: &str, cosine: f32) -> Hypothesis {
        Hypothesis { tokens: vec![], text: text.into(), vector: Array1::zeros(1), cosine, corrected: false }
    }

    fn row(found: &[(&str, f32)], width: usize) -> Row {
        let vector = Array1::zeros(1);
        let mut row = Row::new(vector.view(), vector.view());
        row.keep_best(found.iter().map(|&(text, cosine)| hypothesis(text, cosine)).collect(), width);
        row
    }

    #[test]
    fn the_best_distinct_hypotheses_are_kept() {
        let row = row(&[("a", 0.1), ("b", 0.9), ("b", 0.9), ("c", 0.5), ("d", -0.2)], 3);
        let texts: Vec<&str> = row.beam().iter().map(|it| it.text.as_str()).collect();
        assert_eq!(texts, ["b", "c", "a"]);
    }

    #[test]
    fn when_the_whole_beam_was_corrected_the_best_that_fell_out_is_next() {
        let mut row = row(&[("a", 0.9), ("b", 0.8), ("c", 0.7), ("d", 0.6), ("e", 0.5)], 2);
        for expected in [vec![0, 1], vec![2, 3], vec![4], vec![]] {
            assert_eq!(row.to_correct(), expected);
            for place in expected {
                row.pool[place].corrected = true;
            }
        }
        row.keep_best(vec![hypothesis("f", 0.85)], 2);
        assert_eq!(row.to_correct(), [1]);
    }

    #[test]
    fn a_row_stops_when_it_is_solved_or_idle() {
        assert!(row(&[("a", 0.999_995)], 1).stopped());
        let mut row = row(&[("a", 0.5)], 2);
        row.end_step();
        assert!(!row.stopped());
        row.end_step();
        assert!(!row.stopped(), "one step without improvement is not enough");
        row.keep_best(vec![hypothesis("b", 0.6)], 2);
        row.end_step();
        row.end_step();
        row.end_step();
        assert!(row.stopped());
        assert_eq!(row.into_inversion().output, "b");
    }
}
