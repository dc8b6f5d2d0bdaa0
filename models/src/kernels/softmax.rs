//! Softmax over the last dimension.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor};

use super::access::{is_ours, last, values};
#[cfg(feature = "cuda")]
use super::cuda;
use super::rows;

/// Computes the softmax over the last dimension.
///
/// # Errors
/// For a tensor without dimensions.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    if is_ours(x) { x.contiguous()?.apply_op1(Softmax) } else { candle_nn::ops::softmax(x, D::Minus1) }
}

/// Turns the gradient with respect to `result`, the output of [`softmax`], into that with respect to its input.
pub(crate) fn softmax_backward(result: &Tensor, grad: &Tensor) -> Result<Tensor> {
    result.apply_op2_no_bwd(&grad.contiguous()?, &SoftmaxBackward)
}

struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = last(layout)?;
        let mut out = values(x, layout)?.to_vec();
        rows::widest(|| out.chunks_exact_mut(width).for_each(rows::softmax));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, x_layout: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::Launch::new("softmax", &[(x, x_layout)], x_layout.shape())?.run()
    }

    fn bwd(&self, _: &Tensor, result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        softmax_backward(result, grad).map(Some)
    }
}

struct SoftmaxBackward;

impl CustomOp2 for SoftmaxBackward {
    fn name(&self) -> &'static str {
        "softmax-backward"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = last(layout)?;
        let (y, grad) = (values(y, layout)?, values(g, g_layout)?);
        let mut out = vec![0f32; y.len()];
        rows::widest(|| {
            for ((out, y), grad) in
                out.chunks_exact_mut(width).zip(y.chunks_exact(width)).zip(grad.chunks_exact(width))
            {
                let along = rows::sum_of_pairs(y, grad, |y, grad| y * grad);
                for ((out, y), grad) in out.iter_mut().zip(y).zip(grad) {
                    *out = y * (grad - along);
                }
            }
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        y: &CudaStorage,
        y_layout: &Layout,
        grad: &CudaStorage,
        grad_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::Launch::new("softmax_backward", &[(y, y_layout), (grad, grad_layout)], y_layout.shape())?.run()
    }
}
