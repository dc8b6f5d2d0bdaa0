//! The loss of predicted classes.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor};

use super::access::{indices, is_ours, last, values};
#[cfg(feature = "cuda")]
use super::cuda;
use super::rows;

/// Returns the negative log-likelihood of each target, `[rows]`, from logits `[rows, classes]`.
///
/// # Errors
/// For shapes that do not fit.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    if is_ours(logits) {
        return logits.contiguous()?.apply_op2(targets, CrossEntropy);
    }
    candle_nn::ops::log_softmax(logits, D::Minus1)?.gather(&targets.unsqueeze(1)?, 1)?.squeeze(1)?.neg()
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
                let (largest, rest) = rows::widest(|| rows::log_sum_exp(row));
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
            rows::widest(|| {
                rows::softmax(row);
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
