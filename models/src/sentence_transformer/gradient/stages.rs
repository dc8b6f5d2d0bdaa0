//! The modules after the pooling, forward and backward.

use candle_core::{Result, Tensor};

use super::super::modules::{Modules, Stage};
use crate::kernels::with;
use crate::pooling;

/// Vectors on their way through the modules.
pub(super) struct Passed {
    /// The result, `[texts, dim]`.
    pub(super) vectors: Tensor,
    /// The input of each module.
    given: Vec<Tensor>,
}

impl Modules {
    pub(super) fn pass(&self, pooled: Tensor) -> Result<Passed> {
        let (mut vectors, mut given) = (pooled, Vec::with_capacity(self.stages.len()));
        for stage in &self.stages {
            let out = stage.apply(&vectors)?;
            given.push(std::mem::replace(&mut vectors, out));
        }
        Ok(Passed { vectors, given })
    }

    /// Turns the gradient with respect to the result into that with respect to the pooled vectors.
    pub(super) fn gradient(&self, passed: &Passed, by_vectors: Tensor) -> Result<Tensor> {
        let mut stages = self.stages.iter().zip(&passed.given).rev();
        stages.try_fold(by_vectors, |grad, (stage, given)| match stage {
            Stage::Dense(dense) => dense.gradient(given, &grad),
            Stage::LayerNorm(norm) => norm.gradient(given, &grad),
            Stage::Normalize => unit_backward(given, &grad),
        })
    }
}

/// The gradient of [`pooling::unit`]: the part that is not along the vector, divided by its length.
fn unit_backward(given: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let width = given.dim(1)?;
    let unit = pooling::unit(given)?;
    let mut out = Vec::with_capacity(given.elem_count());
    with(given, |given| {
        with(&unit, |unit| {
            with(grad, |grad| {
                let rows = given.chunks_exact(width).zip(unit.chunks_exact(width));
                for ((given, unit), grad) in rows.zip(grad.chunks_exact(width)) {
                    let along: f32 = unit.iter().zip(grad).map(|(unit, grad)| unit * grad).sum();
                    let length = given.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
                    out.extend(unit.iter().zip(grad).map(|(unit, grad)| (grad - unit * along) / length));
                }
            })
        })
    })???;
    Tensor::from_vec(out, given.shape(), given.device())
}
