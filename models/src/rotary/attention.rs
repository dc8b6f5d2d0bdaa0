//! Attention of concatenated texts, a block of queries at a time, so that a long text needs memory for only a few
//! rows of its scores.

use std::ops::Range;

use candle_core::{Result, Tensor};

use crate::kernels::{add, matmul, softmax};

/// Queries of a block.
const BLOCK: usize = 256;

/// Which tokens a token sees besides itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sight {
    /// Tokens before it.
    pub(super) before: usize,
    /// Tokens after it.
    pub(super) after: usize,
}

impl Sight {
    pub(super) const ALL: Self = Self { before: usize::MAX, after: usize::MAX };

    /// The keys that a query of a text of `length` tokens sees.
    fn of(self, query: usize, length: usize) -> Range<usize> {
        let end = query.saturating_add(self.after).saturating_add(1).min(length);
        query.saturating_sub(self.before)..end
    }
}

/// The heads of queries, and of the keys and values that they share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub(super) queries: usize,
    pub(super) keys: usize,
}

/// Lets the tokens of each text attend to those that they see: queries `[tokens, heads · width]`, already scaled, and
/// keys and values, perhaps of fewer heads, give `[tokens, heads · width]`.
pub(super) fn attend(
    [queries, keys, values]: [&Tensor; 3],
    heads: Heads,
    lengths: &[usize],
    sight: Sight,
) -> Result<Tensor> {
    let mut mixed = Vec::new();
    let mut first = 0;
    for &length in lengths {
        let part = |all: &Tensor| all.narrow(0, first, length);
        let text = [part(queries)?, part(keys)?, part(values)?];
        for start in (0..length).step_by(BLOCK) {
            let block = start..(start + BLOCK).min(length);
            mixed.push(of_block(&text, heads, block, sight)?);
        }
        first += length;
    }
    Tensor::cat(&mixed, 0)
}

/// The result for a block of a text's queries.
fn of_block(
    [queries, keys, values]: &[Tensor; 3],
    heads: Heads,
    block: Range<usize>,
    sight: Sight,
) -> Result<Tensor> {
    let (length, count) = (queries.dim(0)?, block.len());
    let seen = sight.of(block.start, length).start..sight.of(block.end - 1, length).end;
    let sharing = heads.queries / heads.keys;
    // the heads that share keys lie below each other: [keys' heads, sharing · count, width]
    let queries = queries.narrow(0, block.start, count)?.reshape((count, heads.keys, sharing, ()))?;
    let queries = queries.permute((1, 2, 0, 3))?.contiguous()?.flatten(1, 2)?;
    let part = |all: &Tensor| all.narrow(0, seen.start, seen.len())?.reshape((seen.len(), heads.keys, ()));
    let (keys, values) = (part(keys)?.transpose(0, 1)?, part(values)?.transpose(0, 1)?);
    let mut scores = matmul(&queries, &keys.t()?)?;
    if let Some(mask) = mask(&block, &seen, length, sight) {
        let mask = Tensor::from_vec(mask, (count, seen.len()), scores.device())?;
        scores = scores.reshape((heads.queries, count, seen.len()))?;
        scores = add(&scores, &mask)?.reshape((heads.keys, sharing * count, seen.len()))?;
    }
    let mixed = matmul(&softmax(&scores)?, &values)?;
    mixed.reshape((heads.queries, count, ()))?.transpose(0, 1)?.contiguous()?.flatten_from(1)
}

/// Hides the keys of `seen` that each query of the block does not see, row by row; nothing if all see all.
fn mask(block: &Range<usize>, seen: &Range<usize>, length: usize, sight: Sight) -> Option<Vec<f32>> {
    if block.clone().all(|query| sight.of(query, length) == *seen) {
        return None;
    }
    let row = |query: usize| {
        let own = sight.of(query, length);
        seen.clone().map(move |key| if own.contains(&key) { 0.0 } else { f32::MIN })
    };
    Some(block.clone().flat_map(row).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Compares with explicit sums, for a text longer than a block and another after it.
    #[test]
    fn tokens_mix_what_they_see() {
        let (heads, width) = (Heads { queries: 4, keys: 2 }, 3);
        let lengths = [300, 5];
        let tokens: usize = lengths.iter().sum();
        let wave = |columns: usize, step: f32| -> Vec<f32> {
            (0..tokens * columns).map(|at| (at as f32 * step).sin()).collect()
        };
        let plain = [wave(4 * width, 0.37), wave(2 * width, 0.91), wave(2 * width, 1.7)];
        let tensor = |values: &Vec<f32>| {
            Tensor::from_vec(values.clone(), (tokens, values.len() / tokens), &Device::Cpu).unwrap()
        };
        let [queries, keys, values] = [0, 1, 2].map(|at| tensor(&plain[at]));
        for sight in [
            Sight::ALL,
            Sight { before: usize::MAX, after: 0 },
            Sight { before: 7, after: 7 },
            Sight { before: 2, after: 0 },
        ] {
            let found = attend([&queries, &keys, &values], heads, &lengths, sight).unwrap();
            let found = found.to_vec2::<f32>().unwrap();
            let mut first = 0;
            for length in lengths {
                for query in 0..length {
                    let seen = (0..length).filter(|&key| {
                        query <= key.saturating_add(sight.before) && key <= query.saturating_add(sight.after)
                    });
                    let seen: Vec<usize> = seen.map(|key| first + key).collect();
                    for head in 0..heads.queries {
                        let at = |values: &[f32], token: usize, head: usize, heads: usize| {
                            values[(token * heads + head) * width..][..width].to_vec()
                        };
                        let own = at(&plain[0], first + query, head, 4);
                        let weight = |key: &usize| {
                            let key = at(&plain[1], *key, head / 2, 2);
                            own.iter().zip(key).map(|(a, b)| a * b).sum::<f32>().exp()
                        };
                        let weights: Vec<f32> = seen.iter().map(weight).collect();
                        let sum: f32 = weights.iter().sum();
                        for place in 0..width {
                            let value = |key: usize| at(&plain[2], key, head / 2, 2)[place];
                            let expected: f32 = seen
                                .iter()
                                .zip(&weights)
                                .map(|(&key, weight)| weight / sum * value(key))
                                .sum();
                            let found = found[first + query][head * width + place];
                            assert!((found - expected).abs() < 1e-4, "{sight:?} {query}: {found} {expected}");
                        }
                    }
                }
                first += length;
            }
        }
    }
}
