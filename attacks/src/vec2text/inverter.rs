//! The inverter: guesses a text from its vector alone, the zero step of vec2text.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use embosk_models::kernels::{add, in_pieces};
use embosk_models::linear::{Precision, linear};
use embosk_models::t5::{Memory, T5};

/// Turns a vector into pseudo-tokens, which an encoder-decoder turns into the text.
#[derive(Debug, Clone)]
pub(crate) struct Inverter {
    pub(crate) t5: T5,
    transform: Transform,
}

impl Inverter {
    pub(crate) fn load(vb: &VarBuilder<'_>) -> Result<Self> {
        let t5 = T5::load(&vb.pp("encoder_decoder"))?;
        let transform = Transform::load(&vb.pp("embedding_transform"), t5.width()?)?;
        Ok(Self { t5, transform })
    }

    pub(crate) fn packed(self) -> Result<Self> {
        Ok(Self { t5: self.t5.packed()?, ..self })
    }

    pub(crate) fn narrowed(self, precision: Precision) -> Result<Self> {
        Ok(Self { t5: self.t5.narrowed(precision)?, ..self })
    }

    /// The dimension of the vectors it takes.
    pub(crate) fn dimension(&self) -> Result<usize> {
        self.transform.dimension()
    }

    /// The number of encoder positions of an input.
    pub(crate) fn pseudo_tokens(&self) -> usize {
        self.transform.pseudo_tokens()
    }

    /// What the decoder reads for `vectors` (`[batch, dim]`).
    pub(crate) fn encode(&self, vectors: &Tensor) -> Result<Memory> {
        self.t5.encode(&self.transform.forward(vectors)?, None)
    }
}

/// Turns a vector into pseudo-tokens: linear, GELU, linear, cut into pieces of the model's width.
#[derive(Debug, Clone)]
pub(crate) struct Transform {
    first: (Tensor, Tensor),
    second: (Tensor, Tensor),
    width: usize,
}

impl Transform {
    pub(crate) fn load(vb: &VarBuilder<'_>, width: usize) -> Result<Self> {
        Ok(Self {
            first: (vb.get_unchecked("0.weight")?, vb.get_unchecked("0.bias")?),
            second: (vb.get_unchecked("3.weight")?, vb.get_unchecked("3.bias")?),
            width,
        })
    }

    pub(crate) fn dimension(&self) -> Result<usize> {
        self.first.0.dim(1)
    }

    pub(crate) fn pseudo_tokens(&self) -> usize {
        self.second.1.elem_count() / self.width.max(1)
    }

    /// `[batch, dim]` to `[batch, pseudo-tokens, width]`.
    pub(crate) fn forward(&self, vectors: &Tensor) -> Result<Tensor> {
        let hidden = add(&linear(vectors, &self.first.0)?, &self.first.1)?;
        let hidden = in_pieces([&hidden], |[hidden]| hidden.gelu_erf())?;
        let tokens = add(&linear(&hidden, &self.second.0)?, &self.second.1)?;
        tokens.reshape((vectors.dim(0)?, (), self.width))
    }
}
