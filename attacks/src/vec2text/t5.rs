//! T5 (Raffel et al., arXiv 1910.10683), for training and for decoding with beams.
//!
//! Ours because vec2text needs what candle-transformers' T5 lacks: encoder inputs given as vectors,
//! padding masks, logits at every position, and a cache that beams can reorder. Tensor names are
//! Hugging Face's; the shape of the model is read from the tensors.

mod encoder;

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::VarBuilder;

pub use self::encoder::T5Encoder;
use super::kernels::{rms_norm, softmax};

/// The token that pads, and that decoding starts from.
pub(crate) const PAD: u32 = 0;
/// The token that ends a text.
pub(crate) const EOS: u32 = 1;

const EPSILON: f32 = 1e-6;
/// Distances from here on share the last bucket of the position bias.
const MAX_DISTANCE: usize = 128;
const MASKED: f64 = -1e9;

/// An encoder-decoder.
#[derive(Debug, Clone)]
pub(crate) struct T5 {
    shared: Tensor,
    encoder: Vec<EncoderBlock>,
    encoder_norm: Tensor,
    encoder_bias: PositionBias,
    decoder: Vec<DecoderBlock>,
    decoder_norm: Tensor,
    decoder_bias: PositionBias,
    head: Head,
}

impl T5 {
    /// Reads the model under `encoder_decoder.`-like prefix `vb`; `heads` come from the bias table.
    pub(crate) fn load(vb: &VarBuilder<'_>) -> Result<Self> {
        let shared = tensor(vb, "shared.weight")?;
        let bias = "block.0.layer.0.SelfAttention.relative_attention_bias.weight";
        let (encoder, decoder) = (vb.pp("encoder"), vb.pp("decoder"));
        let encoder_bias = PositionBias { table: tensor(&encoder, bias)?, bidirectional: true };
        let decoder_bias = PositionBias { table: tensor(&decoder, bias)?, bidirectional: false };
        let (heads, width) = (encoder_bias.table.dim(1)?, shared.dim(1)?);
        if heads == 0 || width == 0 || decoder_bias.table.dim(1)? != heads {
            candle_core::bail!("the position biases are of no heads, or of different numbers of heads");
        }
        let head = if vb.contains_tensor("lm_head.weight") {
            Head::Own(tensor(vb, "lm_head.weight")?)
        } else {
            Head::Tied { scale: (width as f64).powf(-0.5) }
        };
        Ok(Self {
            encoder: blocks(&encoder)
                .iter()
                .map(|vb| EncoderBlock::load(vb, heads, width))
                .collect::<Result<_>>()?,
            encoder_norm: norm(&encoder, "final_layer_norm", width)?,
            decoder: blocks(&decoder)
                .iter()
                .map(|vb| DecoderBlock::load(vb, heads, width))
                .collect::<Result<_>>()?,
            decoder_norm: norm(&decoder, "final_layer_norm", width)?,
            shared,
            encoder_bias,
            decoder_bias,
            head,
        })
    }

    /// The width of the model's states.
    pub(crate) fn width(&self) -> Result<usize> {
        self.shared.dim(1)
    }

    /// Token ids `[batch, length]` to their vectors `[batch, length, width]`.
    pub(crate) fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        let (batch, length) = ids.dims2()?;
        self.shared.index_select(&ids.flatten_all()?, 0)?.reshape((batch, length, ()))
    }

    /// Encoder states `[batch, length, width]` of input vectors of the same shape. `mask` is
    /// `[batch, length]`, 1 where there is input and 0 where there is padding.
    pub(crate) fn encode(&self, inputs: &Tensor, mask: Option<&Tensor>) -> Result<Memory> {
        let length = inputs.dim(1)?;
        let mask = mask.map(additive_mask).transpose()?;
        let mut bias = self.encoder_bias.forward(0..length, length)?;
        if let Some(mask) = &mask {
            bias = bias.broadcast_add(mask)?;
        }
        let mut states = inputs.clone();
        for block in &self.encoder {
            states = block.forward(&states, &bias)?;
        }
        let states = rms_norm(&states, &self.encoder_norm, EPSILON)?;
        let layers = self
            .decoder
            .iter()
            .map(|block| block.cross_attention.keys_and_values(&states))
            .collect::<Result<_>>()?;
        Ok(Memory { layers, mask })
    }

    /// Logits `[batch, length, vocabulary]` at every position of `ids` (`[batch, length]`), which
    /// begin with the start token: teacher forcing.
    pub(crate) fn decode(&self, ids: &Tensor, memory: &Memory) -> Result<Tensor> {
        let length = ids.dim(1)?;
        let bias =
            self.decoder_bias.forward(0..length, length)?.broadcast_add(&causal(length, ids.device())?)?;
        let mut states = self.embed(ids)?;
        for (block, memory_layer) in self.decoder.iter().zip(&memory.layers) {
            states = block.forward(&states, &bias, None, memory_layer, memory.mask.as_ref())?.0;
        }
        self.logits(&states)
    }

    /// Logits `[rows, vocabulary]` of the next token after `ids` (`[rows]`), and the cache with
    /// that position added. The cache is a value: the one passed in stays as it was.
    pub(crate) fn step(&self, ids: &Tensor, memory: &Memory, cache: &Cache) -> Result<(Tensor, Cache)> {
        let at = cache.length;
        let bias = self.decoder_bias.forward(at..at + 1, at + 1)?;
        let mut states = self.embed(&ids.unsqueeze(1)?)?;
        let mut layers = Vec::with_capacity(self.decoder.len());
        for (index, (block, memory_layer)) in self.decoder.iter().zip(&memory.layers).enumerate() {
            let past = cache.layers.get(index);
            let (next, layer) = block.forward(&states, &bias, past, memory_layer, memory.mask.as_ref())?;
            states = next;
            layers.push(layer);
        }
        Ok((self.logits(&states)?.squeeze(1)?, Cache { layers, length: at + 1 }))
    }

    fn logits(&self, states: &Tensor) -> Result<Tensor> {
        let states = rms_norm(states, &self.decoder_norm, EPSILON)?;
        match &self.head {
            Head::Own(weight) => linear(&states, weight),
            Head::Tied { scale } => linear(&(states * *scale)?, &self.shared),
        }
    }
}

/// What the decoder reads of the encoder: keys and values for each layer, and the padding.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    layers: Vec<KeysValues>,
    mask: Option<Tensor>,
}

impl Memory {
    /// The memory with its rows picked by index: repeated for beams, or without finished rows.
    pub(crate) fn select(&self, rows: &Tensor) -> Result<Self> {
        let layers = self.layers.iter().map(|layer| layer.select(rows)).collect::<Result<_>>()?;
        let mask = self.mask.as_ref().map(|mask| mask.index_select(rows, 0)).transpose()?;
        Ok(Self { layers, mask })
    }
}

/// The decoder's own keys and values so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cache {
    layers: Vec<KeysValues>,
    length: usize,
}

impl Cache {
    /// The cache with its rows picked by index.
    pub(crate) fn select(&self, rows: &Tensor) -> Result<Self> {
        let layers = self.layers.iter().map(|layer| layer.select(rows)).collect::<Result<_>>()?;
        Ok(Self { layers, length: self.length })
    }
}

/// Keys and values, each `[rows, heads, length, width of a head]`.
#[derive(Debug, Clone)]
struct KeysValues {
    keys: Tensor,
    values: Tensor,
}

impl KeysValues {
    fn select(&self, rows: &Tensor) -> Result<Self> {
        Ok(Self { keys: self.keys.index_select(rows, 0)?, values: self.values.index_select(rows, 0)? })
    }

    fn extend(self, past: Option<&Self>) -> Result<Self> {
        let Some(past) = past else { return Ok(self) };
        Ok(Self {
            keys: Tensor::cat(&[&past.keys, &self.keys], 2)?,
            values: Tensor::cat(&[&past.values, &self.values], 2)?,
        })
    }
}

#[derive(Debug, Clone)]
enum Head {
    /// The token embedding, with states scaled down.
    Tied {
        scale: f64,
    },
    Own(Tensor),
}

#[derive(Debug, Clone)]
struct EncoderBlock {
    attention_norm: Tensor,
    attention: Attention,
    feed_forward: FeedForward,
}

impl EncoderBlock {
    fn load(vb: &VarBuilder<'_>, heads: usize, width: usize) -> Result<Self> {
        Ok(Self {
            attention_norm: norm(vb, "layer.0.layer_norm", width)?,
            attention: Attention::load(&vb.pp("layer.0.SelfAttention"), heads)?,
            feed_forward: FeedForward::load(&vb.pp("layer.1"), width)?,
        })
    }

    fn forward(&self, states: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let normed = rms_norm(states, &self.attention_norm, EPSILON)?;
        let own = self.attention.keys_and_values(&normed)?;
        let states = (states + self.attention.forward(&normed, &own, Some(bias))?)?;
        self.feed_forward.forward(&states)
    }
}

#[derive(Debug, Clone)]
struct DecoderBlock {
    attention_norm: Tensor,
    attention: Attention,
    cross_attention_norm: Tensor,
    cross_attention: Attention,
    feed_forward: FeedForward,
}

impl DecoderBlock {
    fn load(vb: &VarBuilder<'_>, heads: usize, width: usize) -> Result<Self> {
        Ok(Self {
            attention_norm: norm(vb, "layer.0.layer_norm", width)?,
            attention: Attention::load(&vb.pp("layer.0.SelfAttention"), heads)?,
            cross_attention_norm: norm(vb, "layer.1.layer_norm", width)?,
            cross_attention: Attention::load(&vb.pp("layer.1.EncDecAttention"), heads)?,
            feed_forward: FeedForward::load(&vb.pp("layer.2"), width)?,
        })
    }

    fn forward(
        &self,
        states: &Tensor,
        bias: &Tensor,
        past: Option<&KeysValues>,
        memory: &KeysValues,
        memory_mask: Option<&Tensor>,
    ) -> Result<(Tensor, KeysValues)> {
        let normed = rms_norm(states, &self.attention_norm, EPSILON)?;
        let own = self.attention.keys_and_values(&normed)?.extend(past)?;
        let states = (states + self.attention.forward(&normed, &own, Some(bias))?)?;
        let normed = rms_norm(&states, &self.cross_attention_norm, EPSILON)?;
        let states = (&states + self.cross_attention.forward(&normed, memory, memory_mask)?)?;
        Ok((self.feed_forward.forward(&states)?, own))
    }
}

/// Attention as T5 has it: no bias in the projections, no scaling of the scores.
#[derive(Debug, Clone)]
struct Attention {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    heads: usize,
}

impl Attention {
    fn load(vb: &VarBuilder<'_>, heads: usize) -> Result<Self> {
        let weight = |name: &str| match tensor(vb, &format!("{name}.weight"))? {
            weight if weight.dim(0)? % heads == 0 => Ok(weight),
            _ => candle_core::bail!("the attention's width is no multiple of its heads"),
        };
        Ok(Self { q: weight("q")?, k: weight("k")?, v: weight("v")?, o: weight("o")?, heads })
    }

    fn keys_and_values(&self, states: &Tensor) -> Result<KeysValues> {
        Ok(KeysValues {
            keys: self.split(&linear(states, &self.k)?)?,
            values: self.split(&linear(states, &self.v)?)?,
        })
    }

    fn forward(&self, states: &Tensor, memory: &KeysValues, bias: Option<&Tensor>) -> Result<Tensor> {
        let (batch, length, _) = states.dims3()?;
        let queries = self.split(&linear(states, &self.q)?)?;
        let mut scores = queries.matmul(&memory.keys.t()?)?;
        if let Some(bias) = bias {
            scores = scores.broadcast_add(bias)?;
        }
        let mixed = softmax(&scores)?.matmul(&memory.values)?;
        linear(&mixed.transpose(1, 2)?.reshape((batch, length, ()))?, &self.o)
    }

    /// `[batch, length, width]` to `[batch, heads, length, width / heads]`.
    fn split(&self, states: &Tensor) -> Result<Tensor> {
        let (batch, length, width) = states.dims3()?;
        states.reshape((batch, length, self.heads, width / self.heads))?.transpose(1, 2)?.contiguous()
    }
}

#[derive(Debug, Clone)]
struct FeedForward {
    norm: Tensor,
    inner: Inner,
    wo: Tensor,
}

#[derive(Debug, Clone)]
enum Inner {
    Relu(Tensor),
    /// T5 1.1: `gelu(wi_0 x) · wi_1 x`.
    GatedGelu(Tensor, Tensor),
}

impl FeedForward {
    fn load(vb: &VarBuilder<'_>, width: usize) -> Result<Self> {
        let norm = norm(vb, "layer_norm", width)?;
        let vb = vb.pp("DenseReluDense");
        let inner = if vb.contains_tensor("wi_0.weight") {
            Inner::GatedGelu(tensor(&vb, "wi_0.weight")?, tensor(&vb, "wi_1.weight")?)
        } else {
            Inner::Relu(tensor(&vb, "wi.weight")?)
        };
        Ok(Self { norm, inner, wo: tensor(&vb, "wo.weight")? })
    }

    fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let normed = rms_norm(states, &self.norm, EPSILON)?;
        let inner = match &self.inner {
            Inner::Relu(wi) => linear(&normed, wi)?.relu()?,
            Inner::GatedGelu(gate, wi) => (linear(&normed, gate)?.gelu()? * linear(&normed, wi)?)?,
        };
        states + linear(&inner, &self.wo)?
    }
}

/// A learned score for each head and each bucket of distances.
#[derive(Debug, Clone)]
struct PositionBias {
    table: Tensor,
    bidirectional: bool,
}

impl PositionBias {
    /// `[1, heads, queries, keys]`.
    fn forward(&self, queries: std::ops::Range<usize>, keys: usize) -> Result<Tensor> {
        let (buckets, heads) = self.table.dims2()?;
        let rows = queries.len();
        let ids: Vec<u32> = queries
            .flat_map(|query| (0..keys).map(move |key| (query, key)))
            .map(|(query, key)| bucket(query, key, buckets, self.bidirectional) as u32)
            .collect();
        let ids = Tensor::from_vec(ids, rows * keys, self.table.device())?;
        self.table
            .index_select(&ids, 0)?
            .reshape((rows, keys, heads))?
            .permute((2, 0, 1))?
            .contiguous()?
            .unsqueeze(0)
    }
}

/// The bucket of the distance from `query` to `key`: one each for short distances, then ever wider
/// ones. In the encoder half of the buckets are for keys that come later.
fn bucket(query: usize, key: usize, buckets: usize, bidirectional: bool) -> usize {
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
    let wide = exact + (wide * (buckets - exact) as f32) as usize;
    offset + wide.min(buckets - 1)
}

/// The blocks of an encoder or decoder, as many as there are.
#[allow(clippy::maybe_infinite_iter, reason = "there are finitely many tensors")]
fn blocks<'a>(vb: &VarBuilder<'a>) -> Vec<VarBuilder<'a>> {
    (0usize..)
        .map(|index| vb.pp(format!("block.{index}")))
        .take_while(|vb| vb.contains_tensor("layer.0.SelfAttention.q.weight"))
        .collect()
}

fn causal(length: usize, device: &Device) -> Result<Tensor> {
    let mask: Vec<f32> = (0..length)
        .flat_map(|query| (0..length).map(move |key| if key > query { MASKED as f32 } else { 0.0 }))
        .collect();
    Tensor::from_vec(mask, (1, 1, length, length), device)
}

/// `[batch, length]` of ones and zeros to `[batch, 1, 1, length]` of zeros and very small numbers.
fn additive_mask(mask: &Tensor) -> Result<Tensor> {
    ((mask.to_dtype(DType::F32)? - 1.0)? * -MASKED)?.unsqueeze(1)?.unsqueeze(1)
}

/// `x · weightᵀ` over the last dimension, as one matrix product.
pub(crate) fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let rows = x.elem_count() / x.dim(D::Minus1)?;
    if let Some(last) = shape.last_mut() {
        *last = weight.dim(0)?;
    }
    x.reshape((rows, ()))?.matmul(&weight.t()?)?.reshape(shape)
}

/// The weight of a norm over states of this width.
fn norm(vb: &VarBuilder<'_>, name: &str, width: usize) -> Result<Tensor> {
    vb.get(width, &format!("{name}.weight"))
}

/// The tensor of that name, whatever its shape.
pub(crate) fn tensor(vb: &VarBuilder<'_>, name: &str) -> Result<Tensor> {
    vb.get_unchecked(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Logits of Hugging Face's T5 (transformers 4.57), for the two kinds that are published: tied with
    /// ReLU, and T5 1.1's own head with gated GELU. The second row of the inputs is padded.
    #[test]
    fn logits_are_those_of_hugging_face() {
        let tied: &[u8] = include_bytes!("../../tests/data/t5-tied.safetensors");
        let gated: &[u8] = include_bytes!("../../tests/data/t5-gated.safetensors");
        for golden in [tied, gated] {
            let tensors = candle_core::safetensors::load_buffer(golden, &Device::Cpu).unwrap();
            let t5 = T5::load(&VarBuilder::from_tensors(tensors.clone(), DType::F32, &Device::Cpu)).unwrap();
            let memory = t5.encode(&tensors["inputs"], Some(&tensors["mask"])).unwrap();
            let ids = tensors["ids"].to_dtype(DType::U32).unwrap();
            let logits = t5.decode(&ids, &memory).unwrap();
            let furthest = (logits - &tensors["logits"]).unwrap().abs().unwrap().flatten_all().unwrap();
            let furthest: f32 = furthest.max(0).unwrap().to_scalar().unwrap();
            assert!(furthest < 2e-4, "{furthest}");
        }
    }

    /// Hugging Face's buckets (transformers 4.57, T5Attention), 32 buckets, distances to 300.
    #[test]
    fn buckets_are_those_of_hugging_face() {
        let table = include_str!("../../tests/data/t5-buckets.csv");
        assert_eq!(table.lines().count(), 601);
        for line in table.lines() {
            let row: Vec<i64> = line.split(',').map(|value| value.parse().unwrap()).collect();
            let (query, key) =
                if row[0] > 0 { (0, row[0] as usize) } else { (row[0].unsigned_abs() as usize, 0) };
            let buckets = [true, false].map(|both| bucket(query, key, 32, both).to_string());
            assert_eq!(buckets, [row[1].to_string(), row[2].to_string()], "distance {}", row[0]);
        }
    }
}
