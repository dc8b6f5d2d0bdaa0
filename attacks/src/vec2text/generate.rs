//! Decoding, greedy or with beams over tokens, as in Hugging Face's `generate` (transformers 4.57.1).

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::cmp::Ordering;

use candle_core::{D, Result, Tensor, bail};
use embosk_models::kernels::rows;
use embosk_models::t5::{Decoding, EOS, Memory, PAD, T5};

const NOT_FINITE: &str =
    "the model's scores are not finite; its weights are damaged or do not belong together";

/// A decoded text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Continuation {
    /// The tokens, without start and end tokens.
    pub(crate) tokens: Vec<u32>,
    /// Whether the text ended with the end token, and was not cut at the longest length.
    pub(crate) ended: bool,
    /// Its log-probability divided by the number of its tokens, including the end token (length penalty 1). It is 0
    /// for a greedy text, whose probability is not needed.
    pub(crate) score: f32,
}

/// How long texts may be, counted as in Hugging Face: with the start token and the end token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Length {
    /// `min_length`: shorter texts do not end.
    pub(crate) min: usize,
    /// `max_length`: longer texts are cut.
    pub(crate) max: usize,
}

impl Length {
    /// Allows texts of up to `count` tokens, including the end token.
    pub(crate) fn tokens(count: usize) -> Self {
        Self { min: 0, max: count + 1 }
    }

    /// How many tokens may be decoded.
    fn most(self) -> usize {
        self.max.saturating_sub(1)
    }

    /// Whether a text may end with its token number `count`.
    fn may_end(self, count: usize) -> bool {
        count >= self.min
    }
}

/// Decodes the likeliest next token, again and again, for each row of `memory`, up to `max_length` tokens.
pub(crate) fn greedy(t5: &T5, memory: &Memory, rows: usize, max_length: usize) -> Result<Vec<Vec<u32>>> {
    let found = likeliest(t5, memory, Length::tokens(max_length))?;
    if found.len() != rows {
        bail!("{} rows are encoded, and {rows} were asked for", found.len());
    }
    Ok(found.into_iter().map(|candidate| candidate.tokens).collect())
}

/// Decodes as [`greedy`] does, on any device and for many rows. It reads the decoded text again for every token, and
/// only the likeliest tokens leave the device. Once half of the rows have ended, they are left out.
pub(crate) fn greedy_together(
    t5: &T5,
    memory: &Memory,
    rows: usize,
    max_length: usize,
) -> Result<Vec<Vec<u32>>> {
    let (mut memory, mut ids) = (memory.clone(), Tensor::full(PAD, (rows, 1), t5.device())?);
    let mut found = vec![Vec::new(); rows];
    // of each row that is still read, its number while its text goes on
    let mut open: Vec<Option<usize>> = (0..rows).map(Some).collect();
    for _ in 0..max_length {
        let next = t5.decode_next(&ids, &memory)?.argmax(D::Minus1)?;
        for (row, token) in open.iter_mut().zip(next.to_vec1::<u32>()?) {
            *row = row.filter(|_| token != EOS);
            if let Some(row) = *row {
                found[row].push(token);
            }
        }
        ids = Tensor::cat(&[&ids, &next.unsqueeze(1)?], 1)?;
        let going_on: Vec<u32> =
            (0..).zip(&open).filter(|(_, row)| row.is_some()).map(|(place, _)| place).collect();
        if going_on.is_empty() {
            break;
        }
        if going_on.len() * 2 <= open.len() {
            let places = Tensor::new(going_on, t5.device())?;
            (ids, memory) = (ids.index_select(&places, 0)?, memory.select(&places)?);
            open.retain(Option::is_some);
        }
    }
    Ok(found)
}

/// Decodes the likeliest next token, again and again, for each row of `memory`: `num_beams` 1.
pub(crate) fn likeliest(t5: &T5, memory: &Memory, length: Length) -> Result<Vec<Continuation>> {
    let count = memory.states.dim(0)?;
    let mut found = vec![Continuation { tokens: Vec::new(), ended: false, score: 0.0 }; count];
    let mut open: Vec<usize> = (0..count).collect();
    let mut decoding = Decoding::new(t5, memory, 1, length.most())?;
    for number in 1..=length.most() {
        if open.is_empty() {
            break;
        }
        let last: Vec<u32> = open.iter().map(|&row| last(&found[row].tokens)).collect();
        let mut logits = decoding.step(&last)?;
        let vocabulary = logits.len() / open.len();
        let mut kept = Vec::new();
        for (place, logits) in logits.chunks_exact_mut(vocabulary).enumerate() {
            forbid_end(logits, length.may_end(number));
            let candidate = &mut found[open[place]];
            match top(logits, 1).first() {
                Some((_, logit)) if !logit.is_finite() => bail!("{NOT_FINITE}"),
                Some(&(EOS, _)) | None => candidate.ended = true,
                Some(&(token, _)) => {
                    candidate.tokens.push(token);
                    kept.push(place);
                }
            }
        }
        if kept.len() < open.len() {
            decoding.select(&kept);
            open = kept.iter().map(|&place| open[place]).collect();
        }
    }
    Ok(found)
}

/// Beam search with `num_beams` and `num_return_sequences` = `width`, `early_stopping` False and length
/// penalty 1: for each row of `memory` the `width` best candidates, best first. A width of 1 is greedy.
pub(crate) fn beams(
    t5: &T5,
    memory: &Memory,
    width: usize,
    length: Length,
) -> Result<Vec<Vec<Continuation>>> {
    if width <= 1 {
        return Ok(likeliest(t5, memory, length)?.into_iter().map(|candidate| vec![candidate]).collect());
    }
    let mut rows: Vec<Row> = (0..memory.states.dim(0)?).map(|_| Row::new(width)).collect();
    let mut decoding = Decoding::new(t5, memory, width, length.most())?;
    for number in 1..=length.most() {
        let open = rows.iter().filter(|row| !row.live.is_empty());
        let last: Vec<u32> = open.flat_map(|row| row.live.iter().map(|beam| last(&beam.tokens))).collect();
        if last.is_empty() {
            break;
        }
        let mut logits = decoding.step(&last)?;
        let vocabulary = logits.len() / last.len();
        let mut places = logits.chunks_exact_mut(vocabulary);
        let (mut kept, mut begin) = (Vec::new(), 0);
        for row in rows.iter_mut().filter(|row| !row.live.is_empty()) {
            let size = row.live.len();
            let sources = row.advance(places.by_ref().take(size), number, length)?;
            kept.extend(sources.into_iter().map(|beam| begin + beam));
            begin += size;
        }
        decoding.select(&kept);
    }
    Ok(rows.into_iter().map(|row| row.found).collect())
}

fn last(tokens: &[u32]) -> u32 {
    tokens.last().copied().unwrap_or(PAD)
}

fn forbid_end(scores: &mut [f32], may_end: bool) {
    if let (false, Some(end)) = (may_end, scores.get_mut(EOS as usize)) {
        *end = f32::NEG_INFINITY;
    }
}

/// The beams of one input.
struct Row {
    width: usize,
    live: Vec<Beam>,
    /// The best texts that are complete, best first.
    found: Vec<Continuation>,
}

struct Beam {
    tokens: Vec<u32>,
    /// The log-probability of all of them.
    score: f32,
}

impl Row {
    fn new(width: usize) -> Self {
        Self { width, live: vec![Beam { tokens: Vec::new(), score: 0.0 }], found: Vec::new() }
    }

    /// Extends the live beams by their token number `number`; returns which beam each new one continues.
    fn advance<'l>(
        &mut self,
        logits: impl Iterator<Item = &'l mut [f32]>,
        number: usize,
        length: Length,
    ) -> Result<Vec<usize>> {
        let (mut live, mut sources) = (Vec::new(), Vec::new());
        let at_end = number >= length.most();
        for (rank, (beam, token, score)) in
            self.options(logits, length.may_end(number))?.into_iter().enumerate()
        {
            let mut tokens = self.live[beam].tokens.clone();
            let ended = token == EOS;
            if !ended {
                tokens.push(token);
            }
            if !ended && !at_end {
                if live.len() < self.width {
                    live.push(Beam { tokens, score });
                    sources.push(beam);
                }
            } else if rank < self.width {
                // what is complete beyond the best `width` options is not worth a place
                self.found.push(Continuation { tokens, ended, score: score / number as f32 });
            }
        }
        self.found.sort_by(|a, b| descending(a.score, b.score));
        self.found.truncate(self.width);
        self.live = live;
        if self.finished(number) {
            self.live.clear();
            sources.clear();
        }
        Ok(sources)
    }

    /// The best `2 · width` continuations: the beam, its next token, and the resulting log-probability.
    fn options<'l>(
        &self,
        logits: impl Iterator<Item = &'l mut [f32]>,
        may_end: bool,
    ) -> Result<Vec<(usize, u32, f32)>> {
        let mut options = Vec::new();
        for (number, (beam, logits)) in self.live.iter().zip(logits).enumerate() {
            let (largest, rest) = rows::widest(|| rows::log_sum_exp(logits));
            if !rest.is_finite() {
                bail!("{NOT_FINITE}");
            }
            forbid_end(logits, may_end);
            let best = top(logits, 2 * self.width).into_iter().filter(|(_, logit)| logit.is_finite());
            options.extend(best.map(|(token, logit)| (number, token, logit - largest - rest + beam.score)));
        }
        options.sort_by(|a, b| descending(a.2, b.2));
        options.truncate(2 * self.width);
        Ok(options)
    }

    /// Whether there are enough complete texts, and the best live beam does not beat the worst of them.
    fn finished(&self, number: usize) -> bool {
        let Some(best) = self.live.first() else { return true };
        let worst = self.found.last().filter(|_| self.found.len() == self.width);
        worst.is_some_and(|worst| best.score / number as f32 <= worst.score)
    }
}

/// The `count` largest values and their places, largest first, and of equals the first one first.
pub(crate) fn top(values: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    let mut least = f32::NEG_INFINITY;
    for (block, values) in values.chunks(BLOCK).enumerate() {
        if best.len() == count && rows::widest(|| rows::largest(values)) <= least {
            continue;
        }
        for (place, &value) in values.iter().enumerate() {
            if best.len() < count || descending(value, least).is_lt() {
                let at = best.partition_point(|(_, better)| descending(*better, value).is_le());
                best.insert(at, ((block * BLOCK + place) as u32, value));
                best.truncate(count);
                least = best.last().map_or(f32::NEG_INFINITY, |(_, least)| *least);
            }
        }
    }
    best
}

/// Values that [`top`] looks at together.
const BLOCK: usize = 256;

fn descending(a: f32, b: f32) -> Ordering {
    b.total_cmp(&a)
}
