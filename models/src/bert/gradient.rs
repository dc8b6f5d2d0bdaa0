//! The encoder on concatenated texts, and the gradient of its states.

use candle_core::{Result, Tensor, bail};

use super::{Activation, Attention, BertEncoder, Layer, Linear, Norm};
use crate::attention::{Attended, attend};
use crate::kernels::{Curve, activated, add, layer_norm_backward, scaled, times};

/// What a backward pass needs of the forward pass, and the result.
pub(crate) struct Trace {
    /// `[tokens, width]`.
    pub(crate) states: Tensor,
    /// The input of the first norm.
    embedded: Tensor,
    layers: Vec<TracedLayer>,
}

struct TracedLayer {
    attention: Attended,
    /// The input of the norm after the attention.
    attended: Tensor,
    /// The slope of the activation at each value.
    slope: Tensor,
    /// The input of the last norm.
    out: Tensor,
}

impl BertEncoder {
    /// Returns the embeddings of all word pieces, `[vocabulary, width]`.
    pub(crate) fn table(&self) -> &Tensor {
        self.embeddings.words.embeddings()
    }

    /// Computes the states of texts without padding. `ids` are the tokens of the concatenated texts, and `lengths`
    /// says how many each has.
    pub(crate) fn trace(&self, ids: &[u32], lengths: &[usize]) -> Result<Trace> {
        let embedded = self.embeddings.packed(ids, lengths)?;
        let bias = self.bias(lengths.iter().copied().max().unwrap_or(0))?;
        let mut states = self.norm.forward(&embedded)?;
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let (next, traced) = layer.trace(&states, lengths, bias.as_ref())?;
            layers.push(traced);
            states = next;
        }
        Ok(Trace { states, embedded, layers })
    }

    /// Turns the gradient with respect to the states into that with respect to the word embeddings of the tokens,
    /// `[tokens, width]` both.
    pub(crate) fn gradient(&self, trace: &Trace, by_states: &Tensor) -> Result<Tensor> {
        let layers = self.layers.iter().zip(&trace.layers).rev();
        let grad = layers.into_iter().try_fold(by_states.clone(), |grad, (layer, traced)| {
            layer.gradient(traced, &grad) //
        })?;
        self.norm.gradient(&trace.embedded, &grad)
    }
}

impl Layer {
    fn trace(
        &self,
        states: &Tensor,
        lengths: &[usize],
        bias: Option<&Tensor>,
    ) -> Result<(Tensor, TracedLayer)> {
        let (mixed, attention) = self.attention.trace(states, lengths, bias)?;
        let attended = add(&mixed, states)?;
        let middle = self.attention_norm.forward(&attended)?;
        let (inner, slope) = activated(self.activation.curve()?, &self.inner.on_rows(&middle)?)?;
        let out = add(&self.outer.on_rows(&inner)?, &middle)?;
        Ok((self.norm.forward(&out)?, TracedLayer { attention, attended, slope, out }))
    }

    fn gradient(&self, traced: &TracedLayer, grad: &Tensor) -> Result<Tensor> {
        let grad = self.norm.gradient(&traced.out, grad)?;
        let inner = times(&self.outer.gradient(&grad)?, &traced.slope)?;
        let grad = add(&grad, &self.inner.gradient(&inner)?)?;
        let grad = self.attention_norm.gradient(&traced.attended, &grad)?;
        add(&grad, &self.attention.gradient(&traced.attention, &grad)?)
    }
}

impl Attention {
    fn trace(&self, states: &Tensor, lengths: &[usize], bias: Option<&Tensor>) -> Result<(Tensor, Attended)> {
        let queries = scaled(&self.query.on_rows(states)?, self.scale()?)?;
        let (keys, values) = (self.key.on_rows(states)?, self.value.on_rows(states)?);
        let (mixed, attended) = attend([queries, keys, values], self.heads, lengths, bias)?;
        Ok((self.out.on_rows(&mixed)?, attended))
    }

    fn gradient(&self, attended: &Attended, grad: &Tensor) -> Result<Tensor> {
        let [queries, keys, values] = attended.gradient(&self.out.gradient(grad)?)?;
        let queries = self.query.gradient(&scaled(&queries, self.scale()?)?)?;
        add(&add(&queries, &self.key.gradient(&keys)?)?, &self.value.gradient(&values)?)
    }

    pub(super) fn scale(&self) -> Result<f32> {
        Ok(((self.query.weight.dims()?.0 / self.heads) as f32).sqrt().recip())
    }
}

impl Linear {
    fn gradient(&self, grad: &Tensor) -> Result<Tensor> {
        self.weight.gradient(grad)
    }
}

impl Norm {
    fn gradient(&self, given: &Tensor, grad: &Tensor) -> Result<Tensor> {
        layer_norm_backward(given, &self.weight, grad, self.epsilon)
    }
}

impl Activation {
    pub(super) fn curve(self) -> Result<Curve> {
        match self {
            Self::Gelu => Ok(Curve::Gelu),
            Self::ByTanh => Ok(Curve::GeluByTanh),
            Self::Relu => Ok(Curve::Relu),
            Self::Other => bail!("the activation is not known"),
        }
    }
}
