//! What is added to attention scores: position biases, and masks.

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::VarBuilder;

use crate::kernels::{add, embedding};

/// Distances from here on share the last bucket of the position bias.
pub const MAX_DISTANCE: usize = 128;
const MASKED: f64 = -1e9;

/// A learned score for each head and each bucket of distances.
#[derive(Debug, Clone)]
pub(crate) struct PositionBias {
    pub(super) table: Tensor,
    bidirectional: bool,
}

impl PositionBias {
    /// Takes a table `[buckets, heads]`. An encoder needs a bucket for each direction.
    pub(super) fn new(table: Tensor, bidirectional: bool) -> Result<Self> {
        let (buckets, fewest) = (table.dim(0)?, if bidirectional { 2 } else { 1 });
        if buckets < fewest {
            bail!("the table of position biases has {buckets} buckets, and needs at least {fewest}");
        }
        Ok(Self { table, bidirectional })
    }

    /// Reads the bias of an encoder that has T5's 32 buckets, as MPNet does.
    pub(crate) fn load(vb: &VarBuilder<'_>, heads: usize) -> Result<Self> {
        Self::new(vb.get((32, heads), "weight")?, true)
    }

    /// `[1, heads, queries, keys]`.
    pub(crate) fn forward(&self, queries: std::ops::Range<usize>, keys: usize) -> Result<Tensor> {
        let (buckets, heads) = self.table.dims2()?;
        let rows = queries.len();
        let ids: Vec<u32> = queries
            .flat_map(|query| (0..keys).map(move |key| (query, key)))
            .map(|(query, key)| bucket(query, key, buckets, self.bidirectional) as u32)
            .collect();
        let ids = Tensor::from_vec(ids, rows * keys, self.table.device())?;
        embedding(&self.table, &ids)?
            .reshape((rows, keys, heads))?
            .permute((2, 0, 1))?
            .contiguous()?
            .unsqueeze(0)
    }
}

/// The bucket of the distance from `query` to `key`: one for each short distance, then ever wider ones. In the
/// encoder, half of the buckets are for keys that come later.
pub(super) fn bucket(query: usize, key: usize, buckets: usize, bidirectional: bool) -> usize {
    let (offset, buckets, distance) = if bidirectional {
        let half = buckets / 2;
        (if key > query { half } else { 0 }, half, query.abs_diff(key))
    } else {
        (0, buckets, query.saturating_sub(key))
    };
    let exact = buckets / 2;
    if distance < exact {
        return offset + distance;
    }
    let wide = (distance as f32 / exact as f32).ln() / (MAX_DISTANCE as f32 / exact as f32).ln();
    // with as many exact buckets as distances, `wide` may be infinite
    let wide = exact.saturating_add((wide * (buckets - exact) as f32) as usize);
    offset + wide.min(buckets - 1)
}

/// Hides from each position those after it: `[1, 1, length, length]` of zeros and very small numbers.
pub(super) fn causal(length: usize, device: &Device) -> Result<Tensor> {
    let mask: Vec<f32> = (0..length)
        .flat_map(|query| (0..length).map(move |key| if key > query { MASKED as f32 } else { 0.0 }))
        .collect();
    Tensor::from_vec(mask, (1, 1, length, length), device)
}

/// Turns `[batch, length]` of ones and zeros into `[batch, 1, 1, length]` of zeros and very small numbers.
pub(super) fn additive_mask(mask: &Tensor) -> Result<Tensor> {
    ((mask.to_dtype(DType::F32)? - 1.0)? * -MASKED)?.unsqueeze(1)?.unsqueeze(1)
}

/// Adds a mask `[batch, 1, 1, length]` to a bias `[1, heads, length, length]`.
pub(super) fn masked(bias: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (_, heads, queries, keys) = bias.dims4()?;
    add(&bias.broadcast_as((mask.dim(0)?, heads, queries, keys))?, mask)
}
