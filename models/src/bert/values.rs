//! The encoder on plain values, which embeds texts on the CPU: in place where possible, without padding, and one head
//! of a text after the other.

use candle_core::{Result, Tensor};

use super::config::Activation;
use super::{Attention, BertEncoder, Layer, Linear, Norm};
use crate::kernels::{Matrix, layer_norm_in_place, multiplied_into, rows, with};

impl BertEncoder {
    /// Computes the states `[tokens, width]` of texts without padding, on the CPU. `ids` are the tokens of the
    /// concatenated texts, and `lengths` says how many each has.
    pub(crate) fn states_on_cpu(&self, ids: &[u32], lengths: &[usize]) -> Result<Tensor> {
        let embedded = self.embeddings.packed(ids, lengths)?;
        let mut states = with(&embedded, <[f32]>::to_vec)?;
        self.norm.in_place(&mut states)?;
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let bias = self.bias(longest)?.map(|bias| with(&bias, <[f32]>::to_vec)).transpose()?;
        let texts = Texts { lengths, longest, bias: bias.as_deref() };
        for layer in &self.layers {
            states = layer.on_values(states, &texts)?;
        }
        Tensor::from_vec(states, embedded.shape(), embedded.device())
    }
}

/// How states belong to texts.
struct Texts<'a> {
    /// How many tokens each has.
    lengths: &'a [usize],
    longest: usize,
    /// What is added to the scores, `[heads, longest, longest]`.
    bias: Option<&'a [f32]>,
}

impl Layer {
    fn on_values(&self, states: Vec<f32>, texts: &Texts<'_>) -> Result<Vec<f32>> {
        let mixed = self.attention.on_values(&states, texts)?;
        let states = self.attention.out.added(&mixed, states)?;
        let states = self.attention_norm.applied(states)?;
        let mut inner = self.inner.weight.forward_values(&states)?;
        self.inner.activate(self.activation, &mut inner)?;
        self.norm.applied(self.outer.added(&inner, states)?)
    }
}

impl Attention {
    fn on_values(&self, states: &[f32], texts: &Texts<'_>) -> Result<Vec<f32>> {
        let read = |linear: &Linear| -> Result<Vec<f32>> {
            let mut out = linear.weight.forward_values(states)?;
            linear.with_bias(|bias| rows::widest(|| add_to_rows(&mut out, bias)))?;
            Ok(out)
        };
        let (queries, keys, values) = (read(&self.query)?, read(&self.key)?, read(&self.value)?);
        let width = self.query.weight.dims()?.0;
        let (scale, mut mixed) = (self.scale()?, vec![0.0; queries.len()]);
        let mut scores = vec![0.0; texts.longest * texts.longest];
        let mut first = 0;
        for &length in texts.lengths {
            let (scores, span) = (&mut scores[..length * length], first * width..(first + length) * width);
            first += length;
            if length == 0 {
                continue;
            }
            let text = [&queries[span.clone()], &keys[span.clone()], &values[span.clone()]];
            for head in 0..self.heads {
                let bias = texts.bias.map(|all| &all[head * texts.longest * texts.longest..]);
                let out = &mut mixed[span.clone()];
                self.mix(text, head, length, scale, scores, bias.map(|bias| (bias, texts.longest)), out);
            }
        }
        Ok(mixed)
    }

    /// Mixes the values of one head of a text into its places of `out`.
    #[allow(clippy::too_many_arguments, reason = "all are places in flat memory")]
    fn mix(
        &self,
        [queries, keys, values]: [&[f32]; 3],
        head: usize,
        length: usize,
        scale: f32,
        scores: &mut [f32],
        bias: Option<(&[f32], usize)>,
        out: &mut [f32],
    ) {
        let width = out.len() / length;
        let own = width / self.heads;
        let [queries, keys, values] = [queries, keys, values].map(|all| Matrix {
            values: &all[head * own..],
            rows: length,
            columns: own,
            steps: (width, 1),
        });
        multiplied_into(&queries, &keys.transposed(), scale, scores, length);
        rows::widest(
            #[inline(always)]
            || {
                for (at, row) in scores.chunks_exact_mut(length).enumerate() {
                    if let Some((bias, longest)) = bias {
                        row.iter_mut().zip(&bias[at * longest..]).for_each(|(score, bias)| *score += bias);
                    }
                    rows::softmax(row);
                }
            },
        );
        let shares = Matrix { values: scores, rows: length, columns: length, steps: (length, 1) };
        multiplied_into(&shares, &values, 1.0, &mut out[head * own..], width);
    }
}

impl Linear {
    /// Adds the output for `rows` to `states`.
    fn added(&self, rows: &[f32], mut states: Vec<f32>) -> Result<Vec<f32>> {
        let out = self.weight.forward_values(rows)?;
        self.with_bias(|bias| {
            rows::widest(
                #[inline(always)]
                || {
                    let all = states.chunks_exact_mut(bias.len()).zip(out.chunks_exact(bias.len()));
                    for (states, out) in all {
                        for ((state, out), bias) in states.iter_mut().zip(out).zip(bias) {
                            *state += out + bias;
                        }
                    }
                },
            );
        })?;
        Ok(states)
    }

    /// Adds the bias to the output, and applies the activation.
    fn activate(&self, activation: Activation, out: &mut [f32]) -> Result<()> {
        let curve = activation.curve()?;
        self.with_bias(|bias| curve.in_place(bias, out))
    }

    fn with_bias<T>(&self, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
        with(&self.bias, read)
    }
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
fn add_to_rows(out: &mut [f32], bias: &[f32]) {
    for row in out.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(out, bias)| *out += bias);
    }
}

impl Norm {
    fn applied(&self, mut states: Vec<f32>) -> Result<Vec<f32>> {
        self.in_place(&mut states)?;
        Ok(states)
    }

    fn in_place(&self, states: &mut [f32]) -> Result<()> {
        with(&self.weight, |weight| {
            with(&self.bias, |bias| layer_norm_in_place(states, weight, bias, self.epsilon))
        })??
    }
}
