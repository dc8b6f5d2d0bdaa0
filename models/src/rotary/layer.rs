//! A layer: attention, and a gated feed-forward layer.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::attention::{Heads, Sight, attend};
use super::turns::Turns;
use crate::kernels::{Curve, add, gated, layer_norm, multiplied, rms_norm};
use crate::linear::Weight;

#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) attention_norm: Option<Norm>,
    pub(super) attention: Attention,
    pub(super) feed_norm: Norm,
    pub(super) feed: Feed,
    /// Whether each norm comes before the part that it belongs to, rather than after it.
    pub(super) before: bool,
}

impl Layer {
    /// Computes states `[tokens, width]` of concatenated texts.
    pub(super) fn forward(&self, states: &Tensor, lengths: &[usize]) -> Result<Tensor> {
        let normed = |states: &Tensor, norm: Option<&Norm>| match norm {
            Some(norm) => norm.forward(states),
            None => Ok(states.clone()),
        };
        let (attention_norm, feed_norm) = (self.attention_norm.as_ref(), Some(&self.feed_norm));
        if self.before {
            let states = add(&self.attention.forward(&normed(states, attention_norm)?, lengths)?, states)?;
            return add(&self.feed.forward(&normed(&states, feed_norm)?)?, &states);
        }
        let states = normed(&add(&self.attention.forward(states, lengths)?, states)?, attention_norm)?;
        normed(&add(&self.feed.forward(&states)?, &states)?, feed_norm)
    }
}

#[derive(Debug, Clone)]
pub(super) struct Attention {
    /// The projections to queries, keys and values.
    pub(super) read: [Linear; 3],
    pub(super) out: Linear,
    pub(super) heads: Heads,
    /// Norms of each head's queries and keys.
    pub(super) head_norms: Option<[Norm; 2]>,
    pub(super) turns: Turns,
    pub(super) sight: Sight,
    /// What the scores are multiplied by.
    pub(super) scale: f32,
}

impl Attention {
    fn forward(&self, states: &Tensor, lengths: &[usize]) -> Result<Tensor> {
        let [queries, keys, values] = &self.read;
        let (mut queries, mut keys) = (queries.forward(states)?, keys.forward(states)?);
        if let Some([of_queries, of_keys]) = &self.head_norms {
            queries = of_queries.by_head(&queries, self.heads.queries)?;
            keys = of_keys.by_head(&keys, self.heads.keys)?;
        }
        let queries = multiplied(&self.turns.turned(&queries, lengths)?, self.scale)?;
        let keys = self.turns.turned(&keys, lengths)?;
        let values = values.forward(states)?;
        self.out.forward(&attend([&queries, &keys, &values], self.heads, lengths, self.sight)?)
    }
}

/// `down(activation(gate(x)) · up(x))`.
#[derive(Debug, Clone)]
pub(super) struct Feed {
    pub(super) gate: Linear,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) activation: Activation,
}

impl Feed {
    fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let (gate, up) = (self.gate.forward(states)?, self.up.forward(states)?);
        self.down.forward(&gated(self.activation.0, &gate, &up)?)
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Activation(Curve);

impl Activation {
    /// Hugging Face's name for it.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "silu" | "swish" => Some(Self(Curve::Silu)),
            "gelu" => Some(Self(Curve::Gelu)),
            "gelu_new" | "gelu_pytorch_tanh" => Some(Self(Curve::GeluByTanh)),
            "relu" => Some(Self(Curve::Relu)),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

impl Linear {
    /// Reads `weight`, `[to, from]`, and `bias` if there should be one.
    pub(super) fn load(vb: &VarBuilder<'_>, from: usize, to: usize, biased: bool) -> Result<Self> {
        let bias = biased.then(|| vb.get(to, "bias")).transpose()?;
        Self::new(vb.get((to, from), "weight")?, bias)
    }

    /// Splits a matrix of several stacked ones, `[parts · to, from]`, into its parts.
    pub(super) fn load_parts<const N: usize>(
        vb: &VarBuilder<'_>,
        from: usize,
        to: usize,
        biased: bool,
    ) -> Result<[Self; N]> {
        let weight = vb.get((N * to, from), "weight")?;
        let bias = biased.then(|| vb.get(N * to, "bias")).transpose()?;
        let part = |at: usize| {
            let bias = bias.as_ref().map(|bias| bias.narrow(0, at * to, to)?.contiguous()).transpose()?;
            Self::new(weight.narrow(0, at * to, to)?.contiguous()?, bias)
        };
        let parts = (0..N).map(part).collect::<Result<Vec<_>>>()?;
        parts.try_into().map_err(|_| candle_core::Error::Msg("a matrix has no parts".into()))
    }

    fn new(weight: Tensor, bias: Option<Tensor>) -> Result<Self> {
        Ok(Self { weight: Weight::Full(weight).packed()?, bias })
    }

    fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let out = self.weight.forward(rows)?;
        match &self.bias {
            Some(bias) => add(&out, bias),
            None => Ok(out),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Norm {
    /// By mean and variance.
    Layer { weight: Tensor, bias: Tensor, epsilon: f32 },
    /// By the root mean square.
    Rms { weight: Tensor, epsilon: f32 },
}

impl Norm {
    /// Reads a norm by mean and variance; without a bias, it adds nothing.
    pub(super) fn layer(vb: &VarBuilder<'_>, width: usize, epsilon: f64, biased: bool) -> Result<Self> {
        let weight = vb.get(width, "weight")?;
        let bias = if biased { vb.get(width, "bias")? } else { weight.zeros_like()? };
        Ok(Self::Layer { weight, bias, epsilon: epsilon as f32 })
    }

    pub(super) fn rms(vb: &VarBuilder<'_>, width: usize, epsilon: f64) -> Result<Self> {
        Ok(Self::Rms { weight: vb.get(width, "weight")?, epsilon: epsilon as f32 })
    }

    pub(super) fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        match self {
            Self::Layer { weight, bias, epsilon } => layer_norm(rows, weight, bias, *epsilon),
            Self::Rms { weight, epsilon } => rms_norm(rows, weight, *epsilon),
        }
    }

    /// Norms each head of `[tokens, heads · width]`.
    fn by_head(&self, rows: &Tensor, heads: usize) -> Result<Tensor> {
        let tokens = rows.dim(0)?;
        self.forward(&rows.reshape((tokens * heads, ()))?)?.reshape(rows.shape())
    }
}
