//! T5 (Raffel et al., arXiv 1910.10683), for training and for decoding with beams.
//!
//! Ours because vec2text needs what candle-transformers' T5 lacks: encoder inputs given as vectors,
//! padding masks, logits at every position, and a cache that beams can reorder. Tensor names are
//! Hugging Face's; the shape of the model is read from the tensors.

mod decoding;
mod encoder;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;

pub(crate) use self::decoding::Decoding;
pub use self::encoder::T5Encoder;
use super::kernels::{embedding, permuted, relu, rms_norm, softmax, transposed};
use super::weight::{Precision, Weight};

/// The token that pads, and that decoding starts from.
pub(crate) const PAD: u32 = 0;
/// The token that ends a text.
pub(crate) const EOS: u32 = 1;

pub(crate) const EPSILON: f32 = 1e-6;
/// Distances from here on share the last bucket of the position bias.
pub(crate) const MAX_DISTANCE: usize = 128;
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
        if encoder_bias.table.dim(0)? == 0 || decoder_bias.table.dim(0)? == 0 {
            candle_core::bail!("the position biases have no buckets");
        }
        let head = if vb.contains_tensor("lm_head.weight") {
            let weight = Weight::load(vb, "lm_head.weight")?;
            if weight.dims()? != shared.dims2()? {
                candle_core::bail!("the head has another shape than the token embedding");
            }
            Head::Own(weight)
        } else {
            Head::Tied { scale: (width as f64).powf(-0.5), weight: Weight::Full(shared.clone()) }
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

    /// The same model, to be used and not trained, with the weights of its matrix products in fewer bits.
    pub(crate) fn narrowed(mut self, precision: Precision) -> Result<Self> {
        let blocks = self.encoder.iter_mut().flat_map(EncoderBlock::weights);
        let blocks = blocks.chain(self.decoder.iter_mut().flat_map(DecoderBlock::weights));
        for weight in blocks.chain([self.head.weight_mut()]) {
            *weight = weight.clone().narrowed(precision)?;
        }
        Ok(self)
    }

    /// Where its weights are.
    pub(crate) fn device(&self) -> &Device {
        self.shared.device()
    }

    /// The width of the model's states.
    pub(crate) fn width(&self) -> Result<usize> {
        self.shared.dim(1)
    }

    /// Values that are held at most for an input of so many encoder positions, while it is encoded and then
    /// decoded with so many beams of so many tokens.
    pub(crate) fn values_per_input(&self, positions: usize, beams: usize, tokens: usize) -> usize {
        let of = |weight: &Tensor| weight.dims().first().copied().unwrap_or(0);
        let (vocabulary, width) = (of(&self.shared), of(&self.encoder_norm));
        let inner = self.decoder.iter().map(|block| block.attention.inner()).max().unwrap_or(0);
        let wide =
            self.encoder.iter().map(|block| 2 * of(&block.feed_forward.norm).max(block.feed_forward.inner()));
        let heads = self.encoder_bias.table.dims().last().copied().unwrap_or(0);
        let encoding =
            positions * (4 * width + 8 * inner + wide.max().unwrap_or(0)) + 4 * heads * positions * positions;
        let kept = 2 * self.decoder.len() * inner * (positions + beams * tokens) + positions * width;
        let deciding = beams * (2 * vocabulary + 8 * width + 4 * inner);
        encoding.max(kept + deciding)
    }

    /// Values that are held at most while the logits of so many positions of an input are ranked.
    pub(crate) fn values_of_logits(&self, positions: usize) -> usize {
        4 * positions * self.shared.dims().first().copied().unwrap_or(0)
    }

    /// Whether the decoder's weights are more than a processor's caches hold, so that batches on several
    /// threads would each read them from memory.
    pub(crate) fn is_large(&self) -> bool {
        let of_block =
            |block: &DecoderBlock| 8 * block.attention.q.bytes() + 2 * block.feed_forward.wo.bytes();
        self.head.weight().bytes() + self.decoder.iter().map(of_block).sum::<usize>() > 32 << 20
    }

    /// Token ids `[batch, length]` to their vectors `[batch, length, width]`.
    pub(crate) fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        let (batch, length) = ids.dims2()?;
        embedding(&self.shared, &ids.flatten_all()?)?.reshape((batch, length, ()))
    }

    /// Encoder states `[batch, length, width]` of input vectors of the same shape. `mask` is
    /// `[batch, length]`, 1 where there is input and 0 where there is padding.
    pub(crate) fn encode(&self, inputs: &Tensor, mask: Option<&Tensor>) -> Result<Memory> {
        let length = inputs.dim(1)?;
        let mut bias = self.encoder_bias.forward(0..length, length)?;
        if let Some(mask) = mask {
            bias = bias.broadcast_add(&additive_mask(mask)?)?;
        }
        let mut states = inputs.clone();
        for block in &self.encoder {
            states = block.forward(&states, &bias)?;
        }
        let states = rms_norm(&states, &self.encoder_norm, EPSILON)?;
        Ok(Memory { states, mask: mask.cloned() })
    }

    /// Logits `[batch, length, vocabulary]` at every position of `ids` (`[batch, length]`), which
    /// begin with the start token: teacher forcing.
    pub(crate) fn decode(&self, ids: &Tensor, memory: &Memory) -> Result<Tensor> {
        self.logits(&self.decoder_states(ids, memory)?)
    }

    /// Logits `[batch, vocabulary]` of the token after `ids`.
    pub(crate) fn decode_next(&self, ids: &Tensor, memory: &Memory) -> Result<Tensor> {
        let states = self.decoder_states(ids, memory)?;
        self.logits(&states.narrow(1, ids.dim(1)? - 1, 1)?.contiguous()?)?.squeeze(1)
    }

    fn decoder_states(&self, ids: &Tensor, memory: &Memory) -> Result<Tensor> {
        let length = ids.dim(1)?;
        let bias =
            self.decoder_bias.forward(0..length, length)?.broadcast_add(&causal(length, ids.device())?)?;
        let mask = memory.mask.as_ref().map(additive_mask).transpose()?;
        let mut states = self.embed(ids)?;
        // once for all layers, where a GPU would go through the rows again for each of them
        let spread = |mask: Tensor| -> Result<Tensor> {
            if mask.device().is_cpu() {
                return Ok(mask);
            }
            let shape = (ids.dim(0)?, self.decoder_bias.table.dim(1)?, length, mask.dim(3)?);
            mask.broadcast_as(shape)?.contiguous()
        };
        let (bias, mask) = (spread(bias)?, mask.map(spread).transpose()?);
        for block in &self.decoder {
            states = block.forward(&states, &bias, &memory.states, mask.as_ref())?;
        }
        Ok(states)
    }

    fn logits(&self, states: &Tensor) -> Result<Tensor> {
        let states = rms_norm(states, &self.decoder_norm, EPSILON)?;
        match &self.head {
            Head::Own(weight) => weight.forward(&states),
            Head::Tied { scale, weight } => weight.forward(&(states * *scale)?),
        }
    }
}

/// What the decoder reads: the encoder's states `[batch, length, width]`, and where there is padding.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    pub(crate) states: Tensor,
    mask: Option<Tensor>,
}

impl Memory {
    /// What is read for these rows alone.
    pub(crate) fn select(&self, rows: &Tensor) -> Result<Self> {
        let mask = self.mask.as_ref().map(|mask| mask.index_select(rows, 0)).transpose()?;
        Ok(Self { states: self.states.index_select(rows, 0)?, mask })
    }
}

/// Keys and values, each `[rows, heads, length, width of a head]`.
struct KeysValues {
    keys: Tensor,
    values: Tensor,
}

#[derive(Debug, Clone)]
enum Head {
    /// The token embedding, with states scaled down.
    Tied {
        scale: f64,
        weight: Weight,
    },
    Own(Weight),
}

impl Head {
    fn weight(&self) -> &Weight {
        let (Self::Tied { weight, .. } | Self::Own(weight)) = self;
        weight
    }

    fn weight_mut(&mut self) -> &mut Weight {
        let (Self::Tied { weight, .. } | Self::Own(weight)) = self;
        weight
    }
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
            attention: Attention::load(&vb.pp("layer.0.SelfAttention"), heads, width)?,
            feed_forward: FeedForward::load(&vb.pp("layer.1"), width)?,
        })
    }

    fn weights(&mut self) -> impl Iterator<Item = &mut Weight> {
        self.attention.weights().chain(self.feed_forward.weights())
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
            attention: Attention::load(&vb.pp("layer.0.SelfAttention"), heads, width)?,
            cross_attention_norm: norm(vb, "layer.1.layer_norm", width)?,
            cross_attention: Attention::load(&vb.pp("layer.1.EncDecAttention"), heads, width)?,
            feed_forward: FeedForward::load(&vb.pp("layer.2"), width)?,
        })
    }

    fn weights(&mut self) -> impl Iterator<Item = &mut Weight> {
        self.attention.weights().chain(self.cross_attention.weights()).chain(self.feed_forward.weights())
    }

    fn forward(
        &self,
        states: &Tensor,
        bias: &Tensor,
        memory: &Tensor,
        memory_mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let normed = rms_norm(states, &self.attention_norm, EPSILON)?;
        let own = self.attention.keys_and_values(&normed)?;
        let states = (states + self.attention.forward(&normed, &own, Some(bias))?)?;
        let normed = rms_norm(&states, &self.cross_attention_norm, EPSILON)?;
        let read = self.cross_attention.keys_and_values(memory)?;
        let states = (&states + self.cross_attention.forward(&normed, &read, memory_mask)?)?;
        self.feed_forward.forward(&states)
    }
}

/// Attention as T5 has it: no bias in the projections, no scaling of the scores.
#[derive(Debug, Clone)]
struct Attention {
    q: Weight,
    k: Weight,
    v: Weight,
    o: Weight,
    heads: usize,
}

impl Attention {
    fn load(vb: &VarBuilder<'_>, heads: usize, width: usize) -> Result<Self> {
        let weight = |name: &str| Weight::load(vb, &format!("{name}.weight"));
        let (q, k, v, o) = (weight("q")?, weight("k")?, weight("v")?, weight("o")?);
        let (inner, _) = q.dims()?;
        let reads = [q.dims()?, k.dims()?, v.dims()?].iter().all(|dims| *dims == (inner, width));
        if inner == 0 || inner % heads != 0 || !reads || o.dims()? != (width, inner) {
            candle_core::bail!("the attention's width is no multiple of its heads, or not one");
        }
        Ok(Self { q, k, v, o, heads })
    }

    fn weights(&mut self) -> impl Iterator<Item = &mut Weight> {
        [&mut self.q, &mut self.k, &mut self.v, &mut self.o].into_iter()
    }

    /// The width of all heads.
    fn inner(&self) -> usize {
        self.q.dims().map_or(0, |(inner, _)| inner)
    }

    fn keys_and_values(&self, states: &Tensor) -> Result<KeysValues> {
        Ok(KeysValues {
            keys: self.split(&self.k.forward(states)?)?,
            values: self.split(&self.v.forward(states)?)?,
        })
    }

    fn forward(&self, states: &Tensor, memory: &KeysValues, bias: Option<&Tensor>) -> Result<Tensor> {
        let (batch, length, _) = states.dims3()?;
        let queries = self.split(&self.q.forward(states)?)?;
        let mut scores = queries.matmul(&transposed(&memory.keys)?)?;
        if let Some(bias) = bias {
            scores = scores.broadcast_add(bias)?;
        }
        let mixed = softmax(&scores)?.matmul(&memory.values)?;
        self.o.forward(&permuted(&mixed, [0, 2, 1, 3])?.reshape((batch, length, ()))?)
    }

    /// `[batch, length, width]` to `[batch, heads, length, width / heads]`.
    fn split(&self, states: &Tensor) -> Result<Tensor> {
        let (batch, length, width) = states.dims3()?;
        permuted(&states.reshape((batch, length, self.heads, width / self.heads))?, [0, 2, 1, 3])
    }
}

#[derive(Debug, Clone)]
struct FeedForward {
    norm: Tensor,
    inner: Inner,
    wo: Weight,
}

#[derive(Debug, Clone)]
enum Inner {
    Relu(Weight),
    /// T5 1.1: `gelu(wi_0 x) · wi_1 x`.
    GatedGelu(Weight, Weight),
}

impl FeedForward {
    fn load(vb: &VarBuilder<'_>, width: usize) -> Result<Self> {
        let norm = norm(vb, "layer_norm", width)?;
        let vb = vb.pp("DenseReluDense");
        let inner = if vb.contains_tensor("wi_0.weight") {
            Inner::GatedGelu(Weight::load(&vb, "wi_0.weight")?, Weight::load(&vb, "wi_1.weight")?)
        } else {
            Inner::Relu(Weight::load(&vb, "wi.weight")?)
        };
        let wo = Weight::load(&vb, "wo.weight")?;
        let (out, within) = wo.dims()?;
        let reads = |wi: &Weight| Ok::<_, candle_core::Error>(wi.dims()? == (within, width));
        let fit = match &inner {
            Inner::Relu(wi) => reads(wi)?,
            Inner::GatedGelu(gate, wi) => reads(gate)? && reads(wi)?,
        };
        if !fit || out != width || within == 0 {
            candle_core::bail!("the feed-forward layer's weights do not fit each other or the states");
        }
        Ok(Self { norm, inner, wo })
    }

    fn weights(&mut self) -> impl Iterator<Item = &mut Weight> {
        let (first, second) = match &mut self.inner {
            Inner::Relu(wi) => (wi, None),
            Inner::GatedGelu(gate, wi) => (wi, Some(gate)),
        };
        [first, &mut self.wo].into_iter().chain(second)
    }

    /// The width inside.
    fn inner(&self) -> usize {
        self.wo.dims().map_or(0, |(_, depth)| depth)
    }

    fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let normed = rms_norm(states, &self.norm, EPSILON)?;
        let inner = match &self.inner {
            Inner::Relu(wi) => relu(&wi.forward(&normed)?)?,
            Inner::GatedGelu(gate, wi) => (gate.forward(&normed)?.gelu()? * wi.forward(&normed)?)?,
        };
        states + self.wo.forward(&inner)?
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
        embedding(&self.table, &ids)?
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

/// The weight of a norm over states of this width.
fn norm(vb: &VarBuilder<'_>, name: &str, width: usize) -> Result<Tensor> {
    vb.get(width, &format!("{name}.weight"))
}

/// The tensor of that name, whatever its shape.
pub(crate) fn tensor(vb: &VarBuilder<'_>, name: &str) -> Result<Tensor> {
    vb.get_unchecked(name)
}
