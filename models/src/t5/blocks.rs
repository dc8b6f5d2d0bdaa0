//! The layers of a T5: blocks of attention and feed-forward layers, and their norms.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::kernels::{add, in_pieces, matmul, permuted, relu, rms_norm, softmax, transposed};
use crate::linear::Weight;

/// What is added to the mean square of a row before the row is divided by its root.
pub const EPSILON: f32 = 1e-6;

/// Finds all blocks of an encoder or decoder.
#[allow(clippy::maybe_infinite_iter, reason = "there are finitely many tensors")]
pub(super) fn blocks<'a>(vb: &VarBuilder<'a>) -> Vec<VarBuilder<'a>> {
    (0usize..)
        .map(|index| vb.pp(format!("block.{index}")))
        .take_while(|vb| vb.contains_tensor("layer.0.SelfAttention.q.weight"))
        .collect()
}

/// Loads the weight of a norm over states of this width.
pub(super) fn norm(vb: &VarBuilder<'_>, name: &str, width: usize) -> Result<Tensor> {
    vb.get(width, &format!("{name}.weight"))
}

#[derive(Debug, Clone)]
pub(super) struct EncoderBlock {
    pub(super) attention_norm: Tensor,
    pub(super) attention: Attention,
    pub(super) feed_forward: FeedForward,
}

impl EncoderBlock {
    pub(super) fn load(vb: &VarBuilder<'_>, heads: usize, width: usize) -> Result<Self> {
        Ok(Self {
            attention_norm: norm(vb, "layer.0.layer_norm", width)?,
            attention: Attention::load(&vb.pp("layer.0.SelfAttention"), heads, width)?,
            feed_forward: FeedForward::load(&vb.pp("layer.1"), width)?,
        })
    }

    pub(super) fn weights(&mut self) -> impl Iterator<Item = &mut Weight> {
        self.attention.weights().chain(self.feed_forward.weights())
    }

    pub(super) fn forward(&self, states: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let normed = rms_norm(states, &self.attention_norm, EPSILON)?;
        let own = self.attention.keys_and_values(&normed)?;
        let states = add(states, &self.attention.forward(&normed, &own, Some(bias))?)?;
        self.feed_forward.forward(&states)
    }
}

#[derive(Debug, Clone)]
pub(super) struct DecoderBlock {
    pub(super) attention_norm: Tensor,
    pub(super) attention: Attention,
    pub(super) cross_attention_norm: Tensor,
    pub(super) cross_attention: Attention,
    pub(super) feed_forward: FeedForward,
}

impl DecoderBlock {
    pub(super) fn load(vb: &VarBuilder<'_>, heads: usize, width: usize) -> Result<Self> {
        Ok(Self {
            attention_norm: norm(vb, "layer.0.layer_norm", width)?,
            attention: Attention::load(&vb.pp("layer.0.SelfAttention"), heads, width)?,
            cross_attention_norm: norm(vb, "layer.1.layer_norm", width)?,
            cross_attention: Attention::load(&vb.pp("layer.1.EncDecAttention"), heads, width)?,
            feed_forward: FeedForward::load(&vb.pp("layer.2"), width)?,
        })
    }

    pub(super) fn weights(&mut self) -> impl Iterator<Item = &mut Weight> {
        self.attention.weights().chain(self.cross_attention.weights()).chain(self.feed_forward.weights())
    }

    pub(super) fn forward(
        &self,
        states: &Tensor,
        bias: &Tensor,
        memory: &Tensor,
        memory_mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let normed = rms_norm(states, &self.attention_norm, EPSILON)?;
        let own = self.attention.keys_and_values(&normed)?;
        let states = add(states, &self.attention.forward(&normed, &own, Some(bias))?)?;
        let normed = rms_norm(&states, &self.cross_attention_norm, EPSILON)?;
        let read = self.cross_attention.keys_and_values(memory)?;
        let states = add(&states, &self.cross_attention.forward(&normed, &read, memory_mask)?)?;
        self.feed_forward.forward(&states)
    }
}

/// Keys and values, each `[rows, heads, length, width of a head]`.
pub(super) struct KeysValues {
    keys: Tensor,
    values: Tensor,
}

/// T5's attention: no bias in the projections, no scaling of the scores.
#[derive(Debug, Clone)]
pub(super) struct Attention {
    pub(super) q: Weight,
    pub(super) k: Weight,
    pub(super) v: Weight,
    pub(super) o: Weight,
    pub(super) heads: usize,
}

impl Attention {
    pub(super) fn load(vb: &VarBuilder<'_>, heads: usize, width: usize) -> Result<Self> {
        let weight = |name: &str| Weight::load(vb, &format!("{name}.weight"));
        let (q, k, v, o) = (weight("q")?, weight("k")?, weight("v")?, weight("o")?);
        let (inner, _) = q.dims()?;
        let reads = [q.dims()?, k.dims()?, v.dims()?].iter().all(|dims| *dims == (inner, width));
        if inner == 0 || inner % heads != 0 || !reads || o.dims()? != (width, inner) {
            candle_core::bail!("the attention's width is no multiple of its heads, or not one");
        }
        Ok(Self { q, k, v, o, heads })
    }

    pub(super) fn weights(&mut self) -> impl Iterator<Item = &mut Weight> {
        [&mut self.q, &mut self.k, &mut self.v, &mut self.o].into_iter()
    }

    /// The width of all heads.
    pub(super) fn inner(&self) -> usize {
        self.q.dims().map_or(0, |(inner, _)| inner)
    }

    pub(super) fn keys_and_values(&self, states: &Tensor) -> Result<KeysValues> {
        Ok(KeysValues {
            keys: self.split(&self.k.forward(states)?)?,
            values: self.split(&self.v.forward(states)?)?,
        })
    }

    pub(super) fn forward(
        &self,
        states: &Tensor,
        memory: &KeysValues,
        bias: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (batch, length, _) = states.dims3()?;
        let queries = self.split(&self.q.forward(states)?)?;
        let mut scores = matmul(&queries, &transposed(&memory.keys)?)?;
        if let Some(bias) = bias {
            scores = add(&scores, bias)?;
        }
        let mixed = matmul(&softmax(&scores)?, &memory.values)?;
        self.o.forward(&permuted(&mixed, [0, 2, 1, 3])?.reshape((batch, length, ()))?)
    }

    /// `[batch, length, width]` to `[batch, heads, length, width / heads]`.
    pub(super) fn split(&self, states: &Tensor) -> Result<Tensor> {
        let (batch, length, width) = states.dims3()?;
        permuted(&states.reshape((batch, length, self.heads, width / self.heads))?, [0, 2, 1, 3])
    }
}

#[derive(Debug, Clone)]
pub(super) struct FeedForward {
    pub(super) norm: Tensor,
    pub(super) inner: Inner,
    pub(super) wo: Weight,
}

#[derive(Debug, Clone)]
pub(super) enum Inner {
    Relu(Weight),
    /// T5 1.1: `gelu(wi_0 x) · wi_1 x`.
    GatedGelu(Weight, Weight),
}

impl FeedForward {
    pub(super) fn load(vb: &VarBuilder<'_>, width: usize) -> Result<Self> {
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

    pub(super) fn weights(&mut self) -> impl Iterator<Item = &mut Weight> {
        let (first, second) = match &mut self.inner {
            Inner::Relu(wi) => (wi, None),
            Inner::GatedGelu(gate, wi) => (wi, Some(gate)),
        };
        [first, &mut self.wo].into_iter().chain(second)
    }

    /// The width inside.
    pub(super) fn inner(&self) -> usize {
        self.wo.dims().map_or(0, |(_, depth)| depth)
    }

    pub(super) fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let normed = rms_norm(states, &self.norm, EPSILON)?;
        let inner = match &self.inner {
            Inner::Relu(wi) => relu(&wi.forward(&normed)?)?,
            Inner::GatedGelu(gate, wi) => {
                let (gate, inner) = (gate.forward(&normed)?, wi.forward(&normed)?);
                in_pieces([&gate, &inner], |[gate, inner]| gate.gelu()? * inner)?
            }
        };
        add(states, &self.wo.forward(&inner)?)
    }
}
