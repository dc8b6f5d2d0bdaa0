//! Looks up rows of a table, with a gradient that a GPU computes for all of them at once.

#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::access::{indices, last, values, with_cuda};
#[cfg(feature = "cuda")]
use super::cuda;

/// Looks up rows of a table `[rows, width]` by their numbers `[ids]`: `[ids, width]`.
///
/// # Errors
/// For a number without a row in the table.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let looked_up = table.index_select(ids, 0)?;
    if table.track_op() && with_cuda(table) {
        // the value is candle's, the gradient ours
        return table.contiguous()?.apply_op3(ids, &looked_up.detach(), Embedding);
    }
    Ok(looked_up)
}

/// A table, ids, and the rows that they name.
pub(super) struct Embedding;

impl CustomOp3 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        rows: &CpuStorage,
        layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(values(rows, layout)?.to_vec()), layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        rows: &CudaStorage,
        layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        Ok((rows.try_clone(layout)?, layout.shape().clone()))
    }

    fn bwd(
        &self,
        table: &Tensor,
        ids: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let of_table = grad.contiguous()?.apply_op3_no_bwd(ids, table, &EmbeddingBackward)?;
        Ok((Some(of_table), None, None))
    }
}

/// The gradient of looked-up rows, their numbers, and the table.
struct EmbeddingBackward;

impl CustomOp3 for EmbeddingBackward {
    fn name(&self) -> &'static str {
        "embedding-backward"
    }

    fn cpu_fwd(
        &self,
        grad: &CpuStorage,
        layout: &Layout,
        ids: &CpuStorage,
        ids_layout: &Layout,
        _: &CpuStorage,
        table_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (width, ids) = (last(layout)?, indices(ids, ids_layout)?);
        let mut out = vec![0f32; table_layout.shape().elem_count()];
        for (row, &id) in values(grad, layout)?.chunks_exact(width).zip(ids) {
            for (out, grad) in out[id as usize * width..][..width].iter_mut().zip(row) {
                *out += grad;
            }
        }
        Ok((CpuStorage::F32(out), table_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        grad: &CudaStorage,
        grad_layout: &Layout,
        ids: &CudaStorage,
        ids_layout: &Layout,
        _: &CudaStorage,
        table_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::Launch::new("embedding_backward", &[(grad, grad_layout)], table_layout.shape())?
            .indices(ids, ids_layout)
            .adds(cuda::Adds::Scattered)
            .run()
    }
}
