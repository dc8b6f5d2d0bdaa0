//! Pools the states of a text's tokens into its vector, both in use and in training.

use candle_core::{D, Result, Tensor};

use crate::kernels::{in_pieces, matmul};

/// Averages states `[batch, length, width]` over the positions where `mask`, `[batch, length]` in `f32`, is 1:
/// `[batch, width]`. Other numbers in `mask` are weights of an average.
///
/// # Errors
/// For shapes that do not fit.
pub fn mean(states: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (sum, count) = (sum(states, mask)?, count(mask)?);
    in_pieces([&sum, &count], |[sum, count]| sum.broadcast_div(count))
}

/// Divides the sum of [`sum`] by the square root of the number of positions where `mask` is 1.
///
/// # Errors
/// For shapes that do not fit.
pub fn mean_by_root(states: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (sum, root) = (sum(states, mask)?, count(mask)?.sqrt()?);
    in_pieces([&sum, &root], |[sum, root]| sum.broadcast_div(root))
}

/// Sums states `[batch, length, width]`, each times its weight in `weights`, `[batch, length]` in `f32`:
/// `[batch, width]`.
///
/// # Errors
/// For shapes that do not fit.
pub fn sum(states: &Tensor, weights: &Tensor) -> Result<Tensor> {
    matmul(&weights.unsqueeze(1)?.contiguous()?, &states.contiguous()?)?.squeeze(1)
}

fn count(mask: &Tensor) -> Result<Tensor> {
    mask.sum_keepdim(1)?.maximum(1e-9)
}

/// Takes the largest state at each place of the width, over the positions where `mask` is 1, as for [`mean`].
///
/// # Errors
/// For shapes that do not fit.
pub fn max(states: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let hidden = ((mask.unsqueeze(D::Minus1)? - 1.0)? * 1e9)?;
    in_pieces([states, &hidden], |[states, hidden]| states.broadcast_add(hidden))?.max(1)
}

/// Scales vectors `[batch, dim]` to norm 1; a vector of zeros stays one.
///
/// # Errors
/// For a tensor without dimensions.
pub fn unit(vectors: &Tensor) -> Result<Tensor> {
    in_pieces([vectors], |[vectors]| {
        let norms = vectors.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?;
        vectors.broadcast_div(&norms)
    })
}
