//! The corrector: writes a better text, given a vector, a hypothesis, and the hypothesis's own vector.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::VarBuilder;
use embosk_models::kernels::{add, in_pieces};
use embosk_models::linear::Precision;
use embosk_models::t5::{EOS, Memory, PAD, T5};

use super::inverter::Transform;

/// Reads `[eos] T1(e) [eos] T3(ê) [eos] T2(e − ê) [eos] tokens(hypothesis)` through one layer norm.
#[derive(Debug, Clone)]
pub(crate) struct Corrector {
    pub(crate) t5: T5,
    transforms: [Transform; 3],
    norm: (Tensor, Tensor),
}

impl Corrector {
    pub(crate) fn load(vb: &VarBuilder<'_>) -> Result<Self> {
        let t5 = T5::load(&vb.pp("encoder_decoder"))?;
        let width = t5.width()?;
        let transform = |name: &str| Transform::load(&vb.pp(name), width);
        let transforms = [
            transform("embedding_transform_1")?,
            transform("embedding_transform_2")?,
            transform("embedding_transform_3")?,
        ];
        let norm = (vb.get_unchecked("layernorm.weight")?, vb.get_unchecked("layernorm.bias")?);
        Ok(Self { t5, transforms, norm })
    }

    pub(crate) fn packed(self) -> Result<Self> {
        Ok(Self { t5: self.t5.packed()?, ..self })
    }

    pub(crate) fn narrowed(self, precision: Precision) -> Result<Self> {
        Ok(Self { t5: self.t5.narrowed(precision)?, ..self })
    }

    /// The dimension of the vectors it takes.
    pub(crate) fn dimension(&self) -> Result<usize> {
        self.transforms[0].dimension()
    }

    /// Encoder positions before the hypothesis.
    pub(crate) fn given(&self) -> usize {
        4 + self.transforms.iter().map(Transform::pseudo_tokens).sum::<usize>()
    }

    /// Returns what the decoder reads. `targets` and `vectors`, those of the hypotheses, are `[batch, dim]`;
    /// `hypotheses` are token ids `[batch, length]`, padded at the end.
    pub(crate) fn encode(&self, targets: &Tensor, vectors: &Tensor, hypotheses: &Tensor) -> Result<Memory> {
        let (batch, length) = hypotheses.dims2()?;
        let [of_target, of_difference, of_hypothesis] = &self.transforms;
        let eos = self.t5.embed(&Tensor::full(EOS, (batch, 1), targets.device())?)?;
        let inputs = Tensor::cat(
            &[
                &eos,
                &of_target.forward(targets)?,
                &eos,
                &of_hypothesis.forward(vectors)?,
                &eos,
                &of_difference.forward(&(targets - vectors)?)?,
                &eos,
                &self.t5.embed(hypotheses)?,
            ],
            1,
        )?;
        let given = inputs.dim(1)? - length;
        let ones = Tensor::ones((batch, given), DType::F32, targets.device())?;
        let mask = Tensor::cat(&[&ones, &hypotheses.ne(PAD)?.to_dtype(DType::F32)?], 1)?;
        self.t5.encode(&self.layer_norm(&inputs)?, Some(&mask))
    }

    fn layer_norm(&self, x: &Tensor) -> Result<Tensor> {
        let scaled = in_pieces([x], |[x]| {
            let x = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
            let deviation = (x.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?;
            x.broadcast_div(&deviation)?.broadcast_mul(&self.norm.0)
        })?;
        add(&scaled, &self.norm.1)
    }
}
