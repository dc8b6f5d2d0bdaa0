//! Decoding: greedy, and beams over tokens.

use std::cmp::Ordering;

use candle_core::{D, Device, Result, Tensor};

use super::t5::{Cache, EOS, Memory, PAD, T5};

/// A decoded token sequence, without start and end tokens, and its total log-probability.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) tokens: Vec<u32>,
    pub(crate) score: f32,
}

/// The likeliest next token, again and again, for each row of `memory`.
pub(crate) fn greedy(t5: &T5, memory: &Memory, rows: usize, max_length: usize) -> Result<Vec<Vec<u32>>> {
    let candidates = beams(t5, memory, rows, 1, max_length)?;
    Ok(candidates.into_iter().map(|mut row| row.pop().map(|c| c.tokens).unwrap_or_default()).collect())
}

/// Beam search: for each row of `memory` the `width` best candidates, best first.
///
/// Candidates are ranked by total log-probability divided by length (length penalty 1).
pub(crate) fn beams(
    t5: &T5,
    memory: &Memory,
    rows: usize,
    width: usize,
    max_length: usize,
) -> Result<Vec<Vec<Candidate>>> {
    let mut rows: Vec<Row> = (0..rows).map(|index| Row::new(index, width)).collect();
    let mut done: Vec<Row> = Vec::new();
    let mut memory = memory.clone();
    let mut cache = Cache::default();
    for _ in 0..max_length {
        let last: Vec<u32> = rows.iter().flat_map(Row::last_tokens).collect();
        let count = last.len();
        let (logits, next) = t5.step(&Tensor::from_vec(last, count, &Device::Cpu)?, &memory, &cache)?;
        let log_probabilities = candle_nn::ops::log_softmax(&logits, D::Minus1)?.to_vec2::<f32>()?;
        let mut start = 0;
        let mut sources: Vec<u32> = Vec::new();
        let mut open = Vec::new();
        for mut row in rows {
            let size = row.live.len();
            let kept = row.advance(&log_probabilities[start..start + size]);
            if row.finished() {
                done.push(row);
            } else {
                sources.extend(kept.iter().map(|&beam| (start + beam) as u32));
                open.push(row);
            }
            start += size;
        }
        rows = open;
        if rows.is_empty() {
            break;
        }
        let count = sources.len();
        let sources = Tensor::from_vec(sources, count, &Device::Cpu)?;
        memory = memory.select(&sources)?;
        cache = next.select(&sources)?;
    }
    done.extend(rows);
    done.sort_by_key(|row| row.index);
    Ok(done.into_iter().map(Row::candidates).collect())
}

/// The beams of one input.
struct Row {
    index: usize,
    width: usize,
    live: Vec<Candidate>,
    ended: Vec<Candidate>,
}

impl Row {
    fn new(index: usize, width: usize) -> Self {
        Self { index, width, live: vec![Candidate { tokens: Vec::new(), score: 0.0 }], ended: Vec::new() }
    }

    fn last_tokens(&self) -> impl Iterator<Item = u32> {
        self.live.iter().map(|beam| beam.tokens.last().copied().unwrap_or(PAD))
    }

    /// Extends the live beams by a token each; returns which beam each new one continues.
    fn advance(&mut self, log_probabilities: &[Vec<f32>]) -> Vec<usize> {
        let mut options: Vec<(usize, u32, f32)> = Vec::new();
        for (beam, (candidate, row)) in self.live.iter().zip(log_probabilities).enumerate() {
            let best = top(row, 2 * self.width);
            options.extend(best.into_iter().map(|(token, value)| (beam, token, candidate.score + value)));
        }
        options.sort_by(|a, b| descending(a.2, b.2));
        let (mut live, mut sources) = (Vec::new(), Vec::new());
        for (rank, (beam, token, score)) in options.into_iter().enumerate() {
            if live.len() == self.width {
                break;
            }
            let mut tokens = self.live[beam].tokens.clone();
            if token == EOS {
                // an end beyond the best `width` options is not worth a place
                if rank < self.width {
                    self.ended.push(Candidate { tokens, score });
                }
                continue;
            }
            tokens.push(token);
            live.push(Candidate { tokens, score });
            sources.push(beam);
        }
        // greedy: the first end is the end, however likely a longer text is
        if self.width == 1 && !self.ended.is_empty() {
            live.clear();
        }
        self.live = live;
        self.ended.sort_by(|a, b| descending(by_length(a), by_length(b)));
        self.ended.truncate(self.width);
        sources
    }

    /// Whether no live beam is ahead of the worst of enough ended ones.
    fn finished(&self) -> bool {
        let Some(best) = self.live.first() else { return true };
        self.ended.len() == self.width
            && self.ended.last().is_some_and(|worst| by_length(worst) >= by_length(best))
    }

    fn candidates(self) -> Vec<Candidate> {
        let mut all = self.ended;
        all.extend(self.live);
        all.sort_by(|a, b| descending(by_length(a), by_length(b)));
        all.truncate(self.width);
        all
    }
}

/// The score by which candidates of different lengths are compared, the end token counted.
fn by_length(candidate: &Candidate) -> f32 {
    candidate.score / (candidate.tokens.len() + 1) as f32
}

/// The `count` largest values and where they stand, largest first, without sorting the rest.
pub(crate) fn top(values: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut indexed: Vec<(u32, f32)> = (0u32..).zip(values.iter().copied()).collect();
    let count = count.min(indexed.len());
    if count < indexed.len() {
        indexed.select_nth_unstable_by(count, |a, b| descending(a.1, b.1).then(a.0.cmp(&b.0)));
        indexed.truncate(count);
    }
    indexed.sort_by(|a, b| descending(a.1, b.1).then(a.0.cmp(&b.0)));
    indexed
}

fn descending(a: f32, b: f32) -> Ordering {
    b.total_cmp(&a)
}
