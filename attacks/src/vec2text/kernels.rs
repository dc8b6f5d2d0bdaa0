//! The row-wise operations that training spends its time in, each one pass with a gradient, on a CPU and
//! with CUDA.
//!
//! candle's fused softmax and RMS norm have no backward pass, and composed from single operations
//! they dominate a small model's training. Its gradient of an embedding takes one token after the other
//! on a GPU. On other devices they are candle's.

#[cfg(feature = "cuda")]
mod cuda;
mod embedding;
mod permute;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, D, DType, Layout, Result, Shape, Tensor, bail,
};

pub(crate) use self::embedding::embedding;
pub(crate) use self::permute::{permuted, transposed};
use super::wide;

/// `x / rms(x) · weight` over the last dimension: T5's layer norm, without mean and bias.
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, epsilon: f32) -> Result<Tensor> {
    if is_ours(x) {
        return x.contiguous()?.apply_op2(weight, RmsNorm { epsilon });
    }
    let variance = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(variance + f64::from(epsilon))?.sqrt()?)?.broadcast_mul(weight)
}

/// Softmax over the last dimension.
pub(crate) fn softmax(x: &Tensor) -> Result<Tensor> {
    if is_ours(x) { x.contiguous()?.apply_op1(Softmax) } else { candle_nn::ops::softmax(x, D::Minus1) }
}

/// `max(x, 0)`. On a CPU candle's is one pass, and so is its gradient's.
pub(crate) fn relu(x: &Tensor) -> Result<Tensor> {
    if with_cuda(x) { x.contiguous()?.apply_op1(Relu) } else { x.relu() }
}

/// The negative log-likelihood of each target, `[rows]`, from logits `[rows, classes]`.
pub(crate) fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    if is_ours(logits) {
        return logits.contiguous()?.apply_op2(targets, CrossEntropy);
    }
    candle_nn::ops::log_softmax(logits, D::Minus1)?.gather(&targets.unsqueeze(1)?, 1)?.squeeze(1)?.neg()
}

/// [`rms_norm`] of plain rows.
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

pub(crate) fn on_cpu(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

fn with_cuda(x: &Tensor) -> bool {
    cfg!(feature = "cuda") && x.device().is_cuda() && x.dtype() == DType::F32
}

fn is_ours(x: &Tensor) -> bool {
    on_cpu(x) || with_cuda(x)
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
        wide::widest(|| rms_norm_into(x, weight, self.epsilon, &mut out));
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
        let of_x = x.apply_op3_no_bwd(weight, &grad, &RmsNormOfInput { epsilon })?;
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

struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = last(layout)?;
        let mut out = values(x, layout)?.to_vec();
        wide::widest(|| out.chunks_exact_mut(width).for_each(wide::softmax));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, x_layout: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::Launch::new("softmax", &[(x, x_layout)], x_layout.shape())?.run()
    }
    fn bwd(&self, _: &Tensor, result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        result.apply_op2_no_bwd(&grad.contiguous()?, &SoftmaxBackward).map(Some)
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
        wide::widest(|| {
            for ((out, y), grad) in
                out.chunks_exact_mut(width).zip(y.chunks_exact(width)).zip(grad.chunks_exact(width))
            {
                let along = wide::sum_of_pairs(y, grad, |y, grad| y * grad);
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

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let out = values(x, layout)?.iter().map(|x| x.max(0.0)).collect();
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, x_layout: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::Launch::new("relu", &[(x, x_layout)], x_layout.shape())?.run()
    }

    fn bwd(&self, _: &Tensor, result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        result.apply_op2_no_bwd(&grad.contiguous()?, &ReluBackward).map(Some)
    }
}

struct ReluBackward;

impl CustomOp2 for ReluBackward {
    fn name(&self) -> &'static str {
        "relu-backward"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (y, grad) = (values(y, layout)?, values(g, g_layout)?);
        let out = y.iter().zip(grad).map(|(y, grad)| if *y > 0.0 { *grad } else { 0.0 }).collect();
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
        cuda::Launch::new("relu_backward", &[(y, y_layout), (grad, grad_layout)], y_layout.shape())?.run()
    }
}

struct CrossEntropy;

impl CustomOp2 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        t: &CpuStorage,
        t_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = last(layout)?;
        let (logits, targets) = (values(x, layout)?, indices(t, t_layout)?);
        let losses: Vec<f32> = logits
            .chunks_exact(width)
            .zip(targets)
            .map(|(row, &target)| {
                let (largest, rest) = wide::widest(|| wide::log_sum_exp(row));
                rest + largest - row[target as usize]
            })
            .collect();
        let rows = losses.len();
        Ok((CpuStorage::F32(losses), Shape::from(rows)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        logits: &CudaStorage,
        logits_layout: &Layout,
        targets: &CudaStorage,
        targets_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::Launch::new("cross_entropy", &[(logits, logits_layout)], targets_layout.shape())?
            .indices(targets, targets_layout)
            .run()
    }
    fn bwd(
        &self,
        logits: &Tensor,
        targets: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad =
            logits.contiguous()?.apply_op3_no_bwd(targets, &grad.contiguous()?, &CrossEntropyBackward)?;
        Ok((Some(grad), None))
    }
}

struct CrossEntropyBackward;

impl CustomOp3 for CrossEntropyBackward {
    fn name(&self) -> &'static str {
        "cross-entropy-backward"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        t: &CpuStorage,
        t_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = last(layout)?;
        let (targets, grad) = (indices(t, t_layout)?, values(g, g_layout)?);
        let mut out = values(x, layout)?.to_vec();
        for ((row, &target), &grad) in out.chunks_exact_mut(width).zip(targets).zip(grad) {
            if grad == 0.0 {
                row.fill(0.0);
                continue;
            }
            wide::widest(|| {
                wide::softmax(row);
                for value in row.iter_mut() {
                    *value *= grad;
                }
            });
            row[target as usize] -= grad;
        }
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        logits: &CudaStorage,
        logits_layout: &Layout,
        targets: &CudaStorage,
        targets_layout: &Layout,
        grad: &CudaStorage,
        grad_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::Launch::new(
            "cross_entropy_backward",
            &[(logits, logits_layout), (grad, grad_layout)],
            logits_layout.shape(),
        )?
        .indices(targets, targets_layout)
        .run()
    }
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
fn inverse_rms(row: &[f32], epsilon: f32) -> f32 {
    let squares = wide::sum_of(row, |x| x * x);
    (squares / row.len() as f32 + epsilon).sqrt().recip()
}

fn last(layout: &Layout) -> Result<usize> {
    layout.dims().last().copied().ok_or_else(|| candle_core::Error::Msg("a row is needed".into()))
}

pub(crate) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("contiguous f32 values are needed"),
    }
}

fn indices<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [u32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::U32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("contiguous u32 indices are needed"),
    }
}
