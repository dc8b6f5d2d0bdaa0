//! The transformers, forward and backward on concatenated texts.

use candle_core::{Result, Tensor, bail};

use super::super::encoder::Encoder;
use crate::kernels::embedding;
use crate::{bert, t5};

/// What a backward pass needs of the forward pass.
pub(super) enum Trace {
    Bert(bert::Trace),
    T5(t5::Trace),
    /// The states themselves: those of a static embedding, or of no tokens at all.
    Static(Tensor),
}

impl Trace {
    /// `[tokens, width]`.
    pub(super) fn states(&self) -> &Tensor {
        match self {
            Self::Bert(trace) => &trace.states,
            Self::T5(trace) => &trace.states,
            Self::Static(states) => states,
        }
    }
}

impl Encoder {
    /// The embeddings of all pieces, `[vocabulary, width]`.
    pub(in super::super) fn table(&self) -> &Tensor {
        match self {
            Self::Bert(model) => model.table(),
            Self::T5(model) => model.table(),
            Self::Rotary(model) => model.table(),
            Self::Static(table) => table,
        }
    }

    pub(super) fn trace(&self, ids: &[u32], lengths: &[usize]) -> Result<Trace> {
        match self {
            Self::Bert(model) if !ids.is_empty() => model.trace(ids, lengths).map(Trace::Bert),
            Self::T5(model) if !ids.is_empty() => model.trace(ids, lengths).map(Trace::T5),
            Self::Rotary(_) => bail!("this architecture has no gradients"),
            _ => {
                let ids = Tensor::from_slice(ids, ids.len(), self.table().device())?;
                embedding(self.table(), &ids).map(Trace::Static)
            }
        }
    }

    /// Turns the gradient with respect to the states into that with respect to the embeddings, `[tokens, width]`
    /// both.
    pub(super) fn gradient(&self, trace: &Trace, by_states: &Tensor) -> Result<Tensor> {
        match (self, trace) {
            (Self::Bert(model), Trace::Bert(trace)) => model.gradient(trace, by_states),
            (Self::T5(model), Trace::T5(trace)) => model.gradient(trace, by_states),
            _ => Ok(by_states.clone()),
        }
    }
}
