//! The best of many scores, on the fly.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::Hits;

/// How many scores are looked at together: seldom does one of them count.
const STRETCH: usize = 64;

/// The `k` best hits of one query so far.
pub(super) struct Best {
    k: usize,
    /// The top is the worst hit kept.
    hits: BinaryHeap<Hit>,
    /// The score of that worst hit once there are `k`, and −∞ until then. Lower scores are not kept.
    threshold: f32,
}

impl Best {
    pub(super) fn new(k: usize) -> Self {
        Self { k, hits: BinaryHeap::new(), threshold: f32::NEG_INFINITY }
    }

    /// Takes the scores of consecutive documents from `first` on. `places` says where each document of the whole
    /// collection ranks among those with the same score.
    pub(super) fn offer(&mut self, first: usize, scores: &[f32], places: &[usize]) {
        for (stretch, scores) in scores.chunks(STRETCH).enumerate() {
            // without a branch for each; what is not a number is not below
            let below: u32 = scores.iter().map(|&score| u32::from(score < self.threshold)).sum();
            if (below as usize) < scores.len() {
                self.sift(first + stretch * STRETCH, scores, places);
            }
        }
    }

    fn sift(&mut self, first: usize, scores: &[f32], places: &[usize]) {
        for (document, &score) in (first..).zip(scores) {
            if score < self.threshold {
                continue;
            }
            let hit = Hit::new(document, score, places[document]);
            if self.hits.len() < self.k {
                self.hits.push(hit);
            } else if let Some(mut worst) = self.hits.peek_mut().filter(|worst| hit < **worst) {
                *worst = hit;
            }
            if self.hits.len() == self.k {
                self.threshold = self.hits.peek().map_or(f32::INFINITY, |worst| worst.score);
            }
        }
    }

    pub(super) fn into_hits(self) -> Hits {
        self.hits.into_sorted_vec().into_iter().map(|hit| (hit.document, hit.score)).collect()
    }
}

/// Where each document ranks among documents with the same score: by descending id, then by row.
pub(in crate::evaluate) fn tie_places(ids: &[String]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by(|&a, &b| ids[b].cmp(&ids[a]));
    let mut places = vec![0; ids.len()];
    for (place, document) in order.into_iter().enumerate() {
        places[document] = place;
    }
    places
}

/// A document found; the lesser of two hits is the better one.
#[derive(Debug, Clone, Copy)]
struct Hit {
    score: f32,
    place: usize,
    document: usize,
}

impl Hit {
    /// Creates a hit. Adding 0 turns −0, which some matrix products give, into the 0 that it must tie with.
    fn new(document: usize, score: f32, place: usize) -> Self {
        let score = if score.is_nan() { f32::NEG_INFINITY } else { score + 0.0 };
        Self { score, place, document }
    }
}

impl Ord for Hit {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Hit {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Hit {}
