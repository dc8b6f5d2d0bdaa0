//! Turns padded batches into concatenated texts, and back.

use candle_core::{DType, Result, Tensor};

/// Runs `states` on ids `[batch, length]`, whose tokens `mask` marks with ones. `states` takes the tokens of
/// concatenated texts and their lengths, and returns `[tokens, width]`. The result is `[batch, length, width]`, with
/// zeros after the end of a text.
pub(super) fn without_padding(
    ids: &Tensor,
    mask: &Tensor,
    width: usize,
    states: impl FnOnce(&[u32], &[usize]) -> Result<Tensor>,
) -> Result<Tensor> {
    let (batch, length) = ids.dims2()?;
    let (rows, masks) = (ids.to_vec2::<u32>()?, mask.to_vec2::<u32>()?);
    let of_text = |mask: &Vec<u32>| mask.iter().filter(|&&one| one > 0).count();
    let lengths: Vec<usize> = masks.iter().map(of_text).collect();
    let tokens: Vec<u32> =
        rows.iter().zip(&lengths).flat_map(|(ids, &own)| ids[..own].iter().copied()).collect();
    if tokens.is_empty() {
        return Tensor::zeros((batch, length, width), DType::F32, ids.device());
    }
    let states = states(&tokens, &lengths)?;
    if lengths.iter().all(|&own| own == length) {
        return states.reshape((batch, length, width));
    }
    let mut first = 0;
    let mut padded = Vec::with_capacity(batch);
    for own in lengths {
        let text = states.narrow(0, first, own)?;
        first += own;
        padded.push(if own < length { text.pad_with_zeros(0, 0, length - own)? } else { text });
    }
    Tensor::stack(&padded, 0)
}
