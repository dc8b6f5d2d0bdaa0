//! From the states of a text's tokens to its vector: in embedders that are used and in those that are trained.

use candle_core::{D, Result, Tensor};

/// The mean of states `[batch, length, width]` over the positions where `mask`, `[batch, length]` in `f32`, is
/// 1: `[batch, width]`.
///
/// # Errors
/// For shapes that do not fit.
pub fn mean(states: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let count = mask.sum_keepdim(1)?.maximum(1e-9)?;
    mask.unsqueeze(1)?.contiguous()?.matmul(&states.contiguous()?)?.squeeze(1)?.broadcast_div(&count)
}

/// Vectors `[batch, dim]` brought to norm 1; a vector of zeros stays one.
///
/// # Errors
/// For a tensor without dimensions.
pub fn unit(vectors: &Tensor) -> Result<Tensor> {
    let norms = vectors.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?;
    vectors.broadcast_div(&norms)
}
