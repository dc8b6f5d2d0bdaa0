//! T5's layer norm: by the root mean square, without mean and bias.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor};

use super::access::{is_ours, values};
#[cfg(feature = "cuda")]
use super::cuda;
use super::rows;

/// Divides each row by its root mean square and multiplies it by `weight`.
///
/// # Errors
/// For shapes that do not fit.
pub fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f32) -> Result<Tensor> {
    if is_ours(x) {
        return x.contiguous()?.apply_op2(weight, RmsNorm { epsilon });
    }
    let variance = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(variance + f64::from(epsilon))?.sqrt()?)?.broadcast_mul(weight)
}

/// Turns the gradient with respect to the output of [`rms_norm`] into that with respect to `x`.
pub(crate) fn rms_norm_backward(x: &Tensor, weight: &Tensor, grad: &Tensor, epsilon: f32) -> Result<Tensor> {
    x.contiguous()?.apply_op3_no_bwd(weight, &grad.contiguous()?, &RmsNormOfInput { epsilon })
}

/// Does to plain rows what [`rms_norm`] does to those of a tensor.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
pub(crate) fn rms_norm_into(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    for (out, x) in out.chunks_exact_mut(weight.len()).zip(x.chunks_exact(weight.len())) {
        let scale = inverse_rms(x, epsilon);
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * scale * weight;
        }
    }
}

struct RmsNorm {
    epsilon: f32,
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (values(x, x_layout)?, values(w, w_layout)?);
        let mut out = vec![0f32; x.len()];
        rows::widest(|| rms_norm_into(x, weight, self.epsilon, &mut out));
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::Launch::new("rms_norm", &[(x, x_layout), (weight, weight_layout)], x_layout.shape())?
            .parameter(self.epsilon)
            .run()
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (x, grad, epsilon) = (x.contiguous()?, grad.contiguous()?, self.epsilon);
        let of_x = rms_norm_backward(&x, weight, &grad, epsilon)?;
        let of_weight = x.apply_op3_no_bwd(weight, &grad, &RmsNormOfWeight { epsilon })?;
        Ok((Some(of_x), Some(of_weight)))
    }
}

struct RmsNormOfInput {
    epsilon: f32,
}

impl CustomOp3 for RmsNormOfInput {
    fn name(&self) -> &'static str {
        "rms-norm-of-input"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, grad) = (values(x, x_layout)?, values(w, w_layout)?, values(g, g_layout)?);
        let width = weight.len();
        let mut out = vec![0f32; x.len()];
        for ((out, x), grad) in
            out.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(grad.chunks_exact(width))
        {
            let scale = inverse_rms(x, self.epsilon);
            let along: f32 = x.iter().zip(weight).zip(grad).map(|((x, w), g)| x * w * g).sum();
            let along = along * scale * scale * scale / width as f32;
            for (((out, x), weight), grad) in out.iter_mut().zip(x).zip(weight).zip(grad) {
                *out = scale * weight * grad - x * along;
            }
        }
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
        grad: &CudaStorage,
        grad_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::Launch::new(
            "rms_norm_of_input",
            &[(x, x_layout), (weight, weight_layout), (grad, grad_layout)],
            x_layout.shape(),
        )?
        .parameter(self.epsilon)
        .run()
    }
}

struct RmsNormOfWeight {
    epsilon: f32,
}

impl CustomOp3 for RmsNormOfWeight {
    fn name(&self) -> &'static str {
        "rms-norm-of-weight"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, grad) = (values(x, x_layout)?, values(w, w_layout)?, values(g, g_layout)?);
        let width = weight.len();
        let mut out = vec![0f32; width];
        for (x, grad) in x.chunks_exact(width).zip(grad.chunks_exact(width)) {
            let scale = inverse_rms(x, self.epsilon);
            for ((out, x), grad) in out.iter_mut().zip(x).zip(grad) {
                *out += x * scale * grad;
            }
        }
        Ok((CpuStorage::F32(out), w_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
        _: &CudaStorage,
        weight_layout: &Layout,
        grad: &CudaStorage,
        grad_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::Launch::new("rms_norm_of_weight", &[(x, x_layout), (grad, grad_layout)], weight_layout.shape())?
            .parameter(self.epsilon)
            .adds(cuda::Adds::Columns)
            .run()
    }
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
fn inverse_rms(row: &[f32], epsilon: f32) -> f32 {
    let squares = rows::sum_of(row, |x| x * x);
    (squares / row.len() as f32 + epsilon).sqrt().recip()
}
