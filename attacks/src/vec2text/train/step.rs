//! A step's loss and gradients, and what a model makes of held-out examples.

use std::collections::BTreeMap;

use candle_core::{D, DType, Tensor, Var};
use candle_nn::VarBuilder;
use embosk_models::kernels::cross_entropy;
use embosk_models::t5::{Memory, PAD, T5};
use embosk_models::threads::{in_parallel, threads};
use tokenizers::Tokenizer;

use super::super::corrector::Corrector;
use super::super::generate::{greedy, greedy_together};
use super::super::inverter::Inverter;
use super::super::{model_error, pad, to_tensor, vocabulary};
use super::examples::Lesson;
use super::settings::{Outputs, Settings};
use super::trainable::Trainable;
use crate::Error;

/// Held-out examples that run through a model together.
pub(super) const CHUNK: usize = 64;
/// The same on a GPU.
const CHUNK_ON_GPU: usize = 2048;

/// A model that writes texts: what differs between the training of inverters and of correctors.
pub(super) trait LanguageModel: Sized + Sync {
    fn load(vb: &VarBuilder<'_>) -> candle_core::Result<Self>;
    fn t5(&self) -> &T5;
    fn encode_rows(&self, lesson: Lesson<'_>, rows: &[usize]) -> candle_core::Result<Memory>;
}

impl LanguageModel for Inverter {
    fn load(vb: &VarBuilder<'_>) -> candle_core::Result<Self> {
        Inverter::load(vb)
    }

    fn t5(&self) -> &T5 {
        &self.t5
    }

    fn encode_rows(&self, lesson: Lesson<'_>, rows: &[usize]) -> candle_core::Result<Memory> {
        self.encode(&lesson.targets(rows)?.to_device(self.t5.device())?)
    }
}

impl LanguageModel for Corrector {
    fn load(vb: &VarBuilder<'_>) -> candle_core::Result<Self> {
        Corrector::load(vb)
    }

    fn t5(&self) -> &T5 {
        &self.t5
    }

    fn encode_rows(&self, lesson: Lesson<'_>, rows: &[usize]) -> candle_core::Result<Memory> {
        let hypotheses: Option<Vec<_>> = rows.iter().map(|&row| lesson.hypothesis(row)).collect();
        let Some(hypotheses) = hypotheses else { candle_core::bail!("no hypotheses") };
        let (tokens, vectors): (Vec<&[u32]>, Vec<_>) = hypotheses.into_iter().unzip();
        let vectors = ndarray::stack(ndarray::Axis(0), &vectors)
            .map_err(|_| candle_core::Error::Msg("a hypothesis' vector has another dimension".into()))?;
        let here = |tensor: Tensor| tensor.to_device(self.t5.device());
        self.encode(&here(lesson.targets(rows)?)?, &here(to_tensor(vectors.view())?)?, &here(pad(&tokens)?)?)
    }
}

/// The mean loss over `rows`, and its gradients by name.
///
/// A batch is cut into parts, and parts are added up in their order, so that neither memory nor a sum
/// depends on how many threads there are or how large the batch is.
pub(super) fn gradients<M: Trainable>(
    model: &M,
    vars: &BTreeMap<String, Var>,
    settings: &Settings,
    lesson: Lesson<'_>,
    rows: &[usize],
) -> Result<(f32, BTreeMap<String, Tensor>), Error> {
    let total = M::terms(lesson, rows);
    let parts: Vec<&[usize]> = rows.chunks(settings.micro_batch).rev().collect();
    let mut sum: BTreeMap<String, Tensor> = BTreeMap::new();
    let mut mean = 0.0;
    // a GPU takes one part after the other
    let side_by_side = if model.device().is_cpu() { threads() } else { 1 };
    for parts in parts.chunks(side_by_side) {
        let results = in_parallel(parts, |rows| {
            let loss = (model.loss(lesson, rows, settings.label_smoothing)? / total as f64)?;
            let gradients = loss.backward()?;
            let own = vars.iter().filter_map(|(name, var)| Some((name, gradients.get(var)?.clone())));
            Ok::<_, candle_core::Error>((loss.to_scalar::<f32>()?, own.collect::<Vec<_>>()))
        })
        .map_err(model_error)?;
        for (loss, gradients) in results {
            mean += loss;
            for (name, gradient) in gradients {
                let gradient = match sum.get(name) {
                    Some(sum) => (sum + gradient).map_err(model_error)?,
                    None => gradient,
                };
                sum.insert(name.clone(), gradient);
            }
        }
    }
    Ok((mean, sum))
}

impl<M: LanguageModel> Trainable for M {
    fn load(vb: &VarBuilder<'_>) -> candle_core::Result<Self> {
        <M as LanguageModel>::load(vb)
    }

    fn device(&self) -> &candle_core::Device {
        self.t5().device()
    }

    fn terms(lesson: Lesson<'_>, rows: &[usize]) -> usize {
        rows.iter().map(|&row| lesson.data.tokens[row].len()).sum()
    }

    fn loss(&self, lesson: Lesson<'_>, rows: &[usize], smoothing: f64) -> candle_core::Result<Tensor> {
        loss(self, lesson, rows, smoothing)
    }

    fn outputs(
        &self,
        lesson: Lesson<'_>,
        rows: &[usize],
        tokenizer: &Tokenizer,
        max_length: usize,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Outputs, Error> {
        decode(self, lesson, rows, tokenizer, max_length, go_on).map(Outputs::Texts)
    }
}

/// The summed negative log-likelihood of the rows' tokens.
pub(super) fn loss<M: LanguageModel>(
    model: &M,
    lesson: Lesson<'_>,
    rows: &[usize],
    smoothing: f64,
) -> candle_core::Result<Tensor> {
    let memory = model.encode_rows(lesson, rows)?;
    let targets: Vec<&[u32]> = rows.iter().map(|&row| lesson.data.tokens[row].as_slice()).collect();
    let targets = pad(&targets)?.to_device(model.t5().device())?;
    let (batch, length) = targets.dims2()?;
    let start = Tensor::full(PAD, (batch, 1), targets.device())?;
    let inputs = Tensor::cat(&[&start, &targets.narrow(1, 0, length - 1)?], 1)?;
    let logits = model.t5().decode(&inputs, &memory)?.flatten(0, 1)?;
    let targets = targets.flatten_all()?;
    let mask = targets.ne(PAD)?.to_dtype(DType::F32)?;
    (smoothed(&logits, &targets, smoothing)? * mask)?.sum_all()
}

/// Cross-entropy with a share of each target's probability spread over all tokens, `[rows]`.
///
/// The loss of that share is the mean of `−log p` over all tokens: the target's `−log p`, plus its logit, minus the
/// mean logit.
fn smoothed(logits: &Tensor, targets: &Tensor, share: f64) -> candle_core::Result<Tensor> {
    let losses = cross_entropy(logits, targets)?;
    if share == 0.0 {
        return Ok(losses);
    }
    let of_target = logits.gather(&targets.unsqueeze(1)?, 1)?.squeeze(1)?;
    losses + ((of_target - logits.mean(D::Minus1)?)? * share)?
}

/// The mean loss over all examples, without smoothing.
pub(super) fn held_out_loss<M: Trainable>(model: &M, lesson: Lesson<'_>) -> Result<f32, Error> {
    let rows: Vec<usize> = (0..lesson.data.len()).collect();
    let parts: Vec<&[usize]> = rows.chunks(CHUNK).collect();
    let losses =
        in_parallel(&parts, |rows| model.loss(lesson, rows, 0.0)?.to_scalar::<f32>()).map_err(model_error)?;
    let terms = M::terms(lesson, &rows);
    Ok((losses.iter().copied().map(f64::from).sum::<f64>() / terms.max(1) as f64) as f32)
}

/// Greedy decodings of rows; none if `go_on` says no.
pub(super) fn decode<M: LanguageModel>(
    model: &M,
    lesson: Lesson<'_>,
    rows: &[usize],
    tokenizer: &Tokenizer,
    max_length: usize,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<String>, Error> {
    if !model.t5().device().is_cpu() {
        return decode_together(model, lesson, rows, tokenizer, max_length, go_on);
    }
    let parts: Vec<&[usize]> = rows.chunks(CHUNK).collect();
    let tokens = in_parallel(&parts, |rows| {
        if !go_on() {
            return Ok(Vec::new());
        }
        greedy(model.t5(), &model.encode_rows(lesson, rows)?, rows.len(), max_length)
    })
    .map_err(model_error)?;
    tokens.into_iter().flatten().map(|tokens| vocabulary::decode(tokenizer, &tokens)).collect()
}

/// The same on a GPU: many rows of similar length at once.
fn decode_together<M: LanguageModel>(
    model: &M,
    lesson: Lesson<'_>,
    rows: &[usize],
    tokenizer: &Tokenizer,
    max_length: usize,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<String>, Error> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&place| lesson.data.tokens[rows[place]].len());
    let mut texts = vec![String::new(); rows.len()];
    for places in order.chunks(CHUNK_ON_GPU) {
        if !go_on() {
            return Ok(Vec::new());
        }
        let rows: Vec<usize> = places.iter().map(|&place| rows[place]).collect();
        let memory = model.encode_rows(lesson, &rows).map_err(model_error)?;
        let tokens = greedy_together(model.t5(), &memory, rows.len(), max_length).map_err(model_error)?;
        for (&place, tokens) in places.iter().zip(tokens) {
            texts[place] = vocabulary::decode(tokenizer, &tokens)?;
        }
    }
    Ok(texts)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::Device;
    use candle_nn::ops::log_softmax;

    use super::*;

    /// Compares with the definition: the loss to a distribution with `1 − share` on the target, and `share` spread
    /// evenly over all tokens.
    #[test]
    fn smoothing_spreads_a_share_and_so_do_gradients() {
        let values: Vec<f32> = (0..15).map(|at| (at as f32 * 1.7).sin() * 3.0).collect();
        let targets = Tensor::new(&[4u32, 0, 2], &Device::Cpu).unwrap();
        for share in [0.0, 0.1, 0.7] {
            let var =
                Var::from_tensor(&Tensor::from_vec(values.clone(), (3, 5), &Device::Cpu).unwrap()).unwrap();
            let ours = smoothed(&var, &targets, share).unwrap();
            let logs = log_softmax(&var, 1).unwrap();
            let target = logs.gather(&targets.unsqueeze(1).unwrap(), 1).unwrap().squeeze(1).unwrap();
            let all = logs.mean(1).unwrap();
            let plain = ((target * -(1.0 - share)).unwrap() - (all * share).unwrap()).unwrap();
            let far = |a: &Tensor, b: &Tensor| {
                let far = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
                far.to_scalar::<f32>().unwrap()
            };
            assert!(far(&ours, &plain) < 1e-5, "{share}");
            let gradient =
                |loss: &Tensor| loss.sum_all().unwrap().backward().unwrap().get(&var).unwrap().clone();
            assert!(far(&gradient(&ours), &gradient(&plain)) < 1e-5, "{share}");
        }
    }
}
