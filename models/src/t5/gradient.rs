//! The encoder on concatenated texts, and the gradient of its states.

use candle_core::{Result, Tensor};

use super::blocks::{Attention, EPSILON, EncoderBlock, FeedForward, Inner};
use super::encoder::T5Encoder;
use crate::attention::{Attended, attend};
use crate::kernels::{Curve, activated, add, embedding, rms_norm, rms_norm_backward, times};

/// What a backward pass needs of the forward pass, and the result.
pub(crate) struct Trace {
    /// `[tokens, width]`.
    pub(crate) states: Tensor,
    /// The input of the last norm.
    out: Tensor,
    blocks: Vec<TracedBlock>,
}

struct TracedBlock {
    /// The input of the block.
    states: Tensor,
    attention: Attended,
    /// The input of the feed-forward layer.
    attended: Tensor,
    inner: TracedInner,
}

/// What the gradient inside a feed-forward layer is multiplied by.
enum TracedInner {
    Relu(Tensor),
    /// The factors on the way to the gate, and to what is gated.
    GatedGelu(Tensor, Tensor),
}

impl T5Encoder {
    /// Returns the embeddings of all word pieces, `[vocabulary, width]`.
    pub(crate) fn table(&self) -> &Tensor {
        &self.shared
    }

    /// Computes the states of texts without padding. `ids` are the tokens of the concatenated texts, and `lengths`
    /// says how many each has.
    pub(crate) fn trace(&self, ids: &[u32], lengths: &[usize]) -> Result<Trace> {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let bias = self.bias.forward(0..longest, longest)?.squeeze(0)?;
        let mut states = embedding(&self.shared, &Tensor::new(ids, self.shared.device())?)?;
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let (next, traced) = block.trace(states, lengths, &bias)?;
            blocks.push(traced);
            states = next;
        }
        Ok(Trace { states: rms_norm(&states, &self.norm, EPSILON)?, out: states, blocks })
    }

    /// Turns the gradient with respect to the states into that with respect to the embeddings of the tokens,
    /// `[tokens, width]` both.
    pub(crate) fn gradient(&self, trace: &Trace, by_states: &Tensor) -> Result<Tensor> {
        let grad = rms_norm_backward(&trace.out, &self.norm, by_states, EPSILON)?;
        let mut blocks = self.blocks.iter().zip(&trace.blocks).rev();
        blocks.try_fold(grad, |grad, (block, traced)| block.gradient(traced, &grad))
    }
}

impl EncoderBlock {
    fn trace(&self, states: Tensor, lengths: &[usize], bias: &Tensor) -> Result<(Tensor, TracedBlock)> {
        let normed = rms_norm(&states, &self.attention_norm, EPSILON)?;
        let (mixed, attention) = self.attention.trace(&normed, lengths, bias)?;
        let attended = add(&states, &mixed)?;
        let (out, inner) = self.feed_forward.trace(&attended)?;
        Ok((out, TracedBlock { states, attention, attended, inner }))
    }

    fn gradient(&self, traced: &TracedBlock, grad: &Tensor) -> Result<Tensor> {
        let grad = self.feed_forward.gradient(traced, grad)?;
        let normed = self.attention.gradient(&traced.attention, &grad)?;
        add(&grad, &rms_norm_backward(&traced.states, &self.attention_norm, &normed, EPSILON)?)
    }
}

impl Attention {
    fn trace(&self, states: &Tensor, lengths: &[usize], bias: &Tensor) -> Result<(Tensor, Attended)> {
        let read = [self.q.forward(states)?, self.k.forward(states)?, self.v.forward(states)?];
        let (mixed, attended) = attend(read, self.heads, lengths, Some(bias))?;
        Ok((self.o.forward(&mixed)?, attended))
    }

    fn gradient(&self, attended: &Attended, grad: &Tensor) -> Result<Tensor> {
        let [queries, keys, values] = attended.gradient(&self.o.gradient(grad)?)?;
        add(&add(&self.q.gradient(&queries)?, &self.k.gradient(&keys)?)?, &self.v.gradient(&values)?)
    }
}

impl FeedForward {
    fn trace(&self, states: &Tensor) -> Result<(Tensor, TracedInner)> {
        let normed = rms_norm(states, &self.norm, EPSILON)?;
        let (inner, traced) = match &self.inner {
            Inner::Relu(wi) => {
                let (inner, slope) = activated(Curve::Relu, &wi.forward(&normed)?)?;
                (inner, TracedInner::Relu(slope))
            }
            Inner::GatedGelu(gate, wi) => {
                let (open, slope) = activated(Curve::GeluByTanh, &gate.forward(&normed)?)?;
                let gated = wi.forward(&normed)?;
                (times(&open, &gated)?, TracedInner::GatedGelu(times(&slope, &gated)?, open))
            }
        };
        Ok((add(states, &self.wo.forward(&inner)?)?, traced))
    }

    fn gradient(&self, traced: &TracedBlock, grad: &Tensor) -> Result<Tensor> {
        let inner = self.wo.gradient(grad)?;
        let normed = match (&self.inner, &traced.inner) {
            (Inner::Relu(wi), TracedInner::Relu(slope)) => wi.gradient(&times(&inner, slope)?)?,
            (Inner::GatedGelu(gate, wi), TracedInner::GatedGelu(slope, open)) => {
                add(&gate.gradient(&times(&inner, slope)?)?, &wi.gradient(&times(&inner, open)?)?)?
            }
            _ => candle_core::bail!("the trace is that of another feed-forward layer"),
        };
        add(grad, &rms_norm_backward(&traced.attended, &self.norm, &normed, EPSILON)?)
    }
}
