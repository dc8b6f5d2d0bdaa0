//! Attention within concatenated texts, without padding, and its gradient.

use candle_core::{Result, Tensor};

use crate::kernels::{add, matmul, softmax, softmax_backward};

/// What the backward pass needs of attention.
pub(crate) struct Attended {
    /// Queries, keys and values, `[tokens, heads · width of a head]` each.
    read: [Tensor; 3],
    heads: usize,
    /// Where each text begins, how long it is, and its attention `[heads, length, length]`.
    texts: Vec<(usize, usize, Tensor)>,
}

/// Lets the tokens of each text attend to each other: queries, keys and values, `[tokens, inner]` each, give
/// `[tokens, inner]`. The texts are concatenated, and `lengths` says how many tokens each has. `bias`,
/// `[heads, longest, longest]`, is added to the scores.
pub(crate) fn attend(
    read: [Tensor; 3],
    heads: usize,
    lengths: &[usize],
    bias: Option<&Tensor>,
) -> Result<(Tensor, Attended)> {
    let (mut texts, mut mixed) = (Vec::with_capacity(lengths.len()), Vec::with_capacity(lengths.len()));
    let [queries, keys, values] = &read;
    for (first, length) in spans(lengths) {
        let part = |all: &Tensor| by_head(all, heads, first, length);
        let mut scores = matmul(&part(queries)?, &part(keys)?.t()?)?;
        if let Some(bias) = bias {
            scores = add(&scores, &bias.narrow(1, 0, length)?.narrow(2, 0, length)?)?;
        }
        let shares = softmax(&scores)?;
        mixed.push(by_token(&matmul(&shares, &part(values)?)?)?);
        texts.push((first, length, shares));
    }
    Ok((Tensor::cat(&mixed, 0)?, Attended { read, heads, texts }))
}

impl Attended {
    /// Turns the gradient with respect to the output into those with respect to queries, keys and values.
    pub(crate) fn gradient(&self, grad: &Tensor) -> Result<[Tensor; 3]> {
        let mut of = [Vec::new(), Vec::new(), Vec::new()];
        for (first, length, shares) in &self.texts {
            let part = |all: &Tensor| by_head(all, self.heads, *first, *length);
            let [queries, keys, values] = &self.read;
            let grad = part(grad)?;
            let scores = softmax_backward(shares, &matmul(&grad, &part(values)?.t()?)?)?;
            of[0].push(by_token(&matmul(&scores, &part(keys)?)?)?);
            of[1].push(by_token(&matmul(&scores.t()?, &part(queries)?)?)?);
            of[2].push(by_token(&matmul(&shares.t()?, &grad)?)?);
        }
        let [queries, keys, values] = &of;
        Ok([Tensor::cat(queries, 0)?, Tensor::cat(keys, 0)?, Tensor::cat(values, 0)?])
    }
}

/// Where each text that has tokens begins, and how long it is.
fn spans(lengths: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    let begins = lengths.iter().scan(0, |end, &length| {
        let first = *end;
        *end += length;
        Some((first, length))
    });
    begins.filter(|(_, length)| *length > 0)
}

/// A text's rows of `[tokens, inner]`, as `[heads, length, width of a head]`, without copying.
fn by_head(all: &Tensor, heads: usize, first: usize, length: usize) -> Result<Tensor> {
    all.narrow(0, first, length)?.reshape((length, heads, ()))?.transpose(0, 1)
}

/// `[heads, length, width of a head]` to `[length, inner]`.
fn by_token(heads: &Tensor) -> Result<Tensor> {
    heads.transpose(0, 1)?.contiguous()?.flatten_from(1)
}
