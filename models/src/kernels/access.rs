//! What our own operations read: contiguous values of a tensor, and whether they can run on its device.

use candle_core::{CpuStorage, DType, Layout, Result, Tensor, bail};

pub(crate) fn on_cpu(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

pub(super) fn with_cuda(x: &Tensor) -> bool {
    cfg!(feature = "cuda") && x.device().is_cuda() && x.dtype() == DType::F32
}

pub(super) fn is_ours(x: &Tensor) -> bool {
    on_cpu(x) || with_cuda(x)
}

pub(super) fn last(layout: &Layout) -> Result<usize> {
    layout.dims().last().copied().ok_or_else(|| candle_core::Error::Msg("a row is needed".into()))
}

pub(crate) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("contiguous f32 values are needed"),
    }
}

pub(super) fn indices<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [u32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::U32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("contiguous u32 indices are needed"),
    }
}
