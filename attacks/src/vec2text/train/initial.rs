//! The weights that training begins with, drawn from our own generator.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Result, Tensor};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::super::config::Preset;
use super::super::{model_error, to_tensor};
use crate::Error;
use crate::alignment::SpaceMap;

/// Buckets of T5's position bias.
pub(super) const BUCKETS: usize = 32;

/// A fresh inverter: T5 as its authors initialize it, and an embedding transform that turns unit
/// vectors into pseudo-tokens of the token embeddings' scale.
pub(in super::super) fn inverter(
    preset: &Preset,
    vocabulary: usize,
    dim: usize,
    seed: u64,
) -> std::result::Result<BTreeMap<String, Tensor>, Error> {
    let mut weights = Weights { tensors: BTreeMap::new(), rng: ChaCha12Rng::seed_from_u64(seed) };
    weights.t5(preset, vocabulary).map_err(model_error)?;
    let out = preset.pseudo_tokens * preset.width;
    weights.transform("embedding_transform", dim, out).map_err(model_error)?;
    Ok(weights.tensors)
}

/// A fresh embedder: a T5's encoder, with the tensor names of an encoder alone, and a dense layer to vectors of
/// dimension `dim`.
pub(in super::super) fn embedder(
    preset: &Preset,
    vocabulary: usize,
    dim: usize,
    seed: u64,
) -> std::result::Result<BTreeMap<String, Tensor>, Error> {
    let mut weights = Weights { tensors: BTreeMap::new(), rng: ChaCha12Rng::seed_from_u64(seed) };
    let width = preset.width;
    weights.normal("shared.weight", (vocabulary, width), 1.0).map_err(model_error)?;
    weights.side("encoder", preset.encoder_layers, &["SelfAttention"], preset).map_err(model_error)?;
    weights.normal("linear.weight", (dim, width), (width as f64).powf(-0.5)).map_err(model_error)?;
    Ok(weights.tensors)
}

/// An inverter around a language model that was trained before: its weights, and a fresh embedding
/// transform, whose pseudo-tokens have the scale of the model's own token embeddings.
pub(in super::super) fn around(
    language_model: &HashMap<String, Tensor>,
    pseudo_tokens: usize,
    dim: usize,
    seed: u64,
) -> Result<BTreeMap<String, Tensor>> {
    let Some(shared) = language_model.get("encoder_decoder.shared.weight") else {
        candle_core::bail!("the language model has no token embeddings")
    };
    let scale = shared.sqr()?.mean_all()?.to_scalar::<f32>()?.sqrt();
    let tensors = language_model.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
    let mut weights = Weights { tensors, rng: ChaCha12Rng::seed_from_u64(seed) };
    weights.transform("embedding_transform", dim, pseudo_tokens * shared.dim(1)?)?;
    let last = "embedding_transform.3.weight";
    let scaled = (&weights.tensors[last] * f64::from(scale))?;
    weights.tensors.insert(last.into(), scaled);
    Ok(weights.tensors)
}

/// A corrector that begins as the inverter it will correct: its language model, and its embedding
/// transform three times.
pub(in super::super) fn corrector(inverter: &HashMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
    let mut tensors = BTreeMap::new();
    for (name, tensor) in inverter {
        match name.strip_prefix("embedding_transform.") {
            Some(rest) => {
                for index in 1..=3 {
                    tensors.insert(format!("embedding_transform_{index}.{rest}"), tensor.clone());
                }
            }
            None => {
                tensors.insert(name.clone(), tensor.clone());
            }
        }
    }
    let Some(shared) = inverter.get("encoder_decoder.shared.weight") else {
        candle_core::bail!("the inverter has no token embeddings")
    };
    let width = shared.dim(1)?;
    tensors.insert("layernorm.weight".into(), Tensor::ones(width, DType::F32, &Device::Cpu)?);
    tensors.insert("layernorm.bias".into(), Tensor::zeros(width, DType::F32, &Device::Cpu)?);
    Ok(tensors)
}

/// Turns the weights of a model that reads the vectors that `space` maps to into those of a model that reads the
/// vectors it maps from. The map becomes part of the first layer of each embedding transform. The offset cancels out
/// in a difference of two vectors, which the second transform of a corrector reads.
pub(in super::super) fn through(
    space: &SpaceMap,
    tensors: HashMap<String, Tensor>,
) -> Result<BTreeMap<String, Tensor>> {
    let mut tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
    // `[dim of the second, dim of the first]`, as the weights of a linear layer are
    let matrix = to_tensor(space.matrix().t())?;
    let offset = Tensor::from_iter(space.offset().iter().copied(), &Device::Cpu)?.unsqueeze(1)?;
    for transform in
        ["embedding_transform", "embedding_transform_1", "embedding_transform_2", "embedding_transform_3"]
    {
        let (weight, bias) = (format!("{transform}.0.weight"), format!("{transform}.0.bias"));
        let (Some(before), Some(added)) = (tensors.get(&weight), tensors.get(&bias)) else { continue };
        if before.dim(1)? != matrix.dim(0)? {
            candle_core::bail!(
                "the map leads to {} dimensions, and the model takes {}",
                matrix.dim(0)?,
                before.dim(1)?
            )
        }
        let of_offset = before.matmul(&offset)?.squeeze(1)?;
        let added = if transform.ends_with("_2") { added.clone() } else { (added + of_offset)? };
        let mapped = before.matmul(&matrix)?;
        tensors.extend([(weight, mapped), (bias, added)]);
    }
    Ok(tensors)
}

struct Weights {
    tensors: BTreeMap<String, Tensor>,
    rng: ChaCha12Rng,
}

impl Weights {
    fn t5(&mut self, preset: &Preset, vocabulary: usize) -> Result<()> {
        self.normal("encoder_decoder.shared.weight", (vocabulary, preset.width), 1.0)?;
        self.side("encoder_decoder.encoder", preset.encoder_layers, &["SelfAttention"], preset)?;
        let kinds = ["SelfAttention", "EncDecAttention"];
        self.side("encoder_decoder.decoder", preset.decoder_layers, &kinds, preset)
    }

    /// An encoder or a decoder, whose blocks have these kinds of attention.
    fn side(&mut self, side: &str, layers: usize, kinds: &[&str], preset: &Preset) -> Result<()> {
        let width = preset.width;
        let bias = format!("{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
        self.normal(&bias, (BUCKETS, preset.heads), (width as f64).powf(-0.5))?;
        for layer in 0..layers {
            let block = format!("{side}.block.{layer}.layer");
            for (index, kind) in kinds.iter().enumerate() {
                self.attention(&format!("{block}.{index}.{kind}"), preset)?;
                self.ones(&format!("{block}.{index}.layer_norm.weight"), width)?;
            }
            let feed_forward = format!("{block}.{}", kinds.len());
            self.ones(&format!("{feed_forward}.layer_norm.weight"), width)?;
            let inner = preset.feed_forward;
            let name = format!("{feed_forward}.DenseReluDense");
            self.normal(&format!("{name}.wi.weight"), (inner, width), (width as f64).powf(-0.5))?;
            self.normal(&format!("{name}.wo.weight"), (width, inner), (inner as f64).powf(-0.5))?;
        }
        self.ones(&format!("{side}.final_layer_norm.weight"), width)
    }

    fn attention(&mut self, name: &str, preset: &Preset) -> Result<()> {
        let width = preset.width;
        let of_head = (width / preset.heads) as f64;
        let usual = (width as f64).powf(-0.5);
        for (projection, deviation) in
            [("q", usual * of_head.powf(-0.5)), ("k", usual), ("v", usual), ("o", usual)]
        {
            self.normal(&format!("{name}.{projection}.weight"), (width, width), deviation)?;
        }
        Ok(())
    }

    fn transform(&mut self, name: &str, dim: usize, out: usize) -> Result<()> {
        self.normal(&format!("{name}.0.weight"), (dim, dim), 1.0)?;
        self.zeros(&format!("{name}.0.bias"), dim)?;
        self.normal(&format!("{name}.3.weight"), (out, dim), 1.5 * (dim as f64).powf(-0.5))?;
        self.zeros(&format!("{name}.3.bias"), out)
    }

    fn normal(&mut self, name: &str, shape: (usize, usize), deviation: f64) -> Result<()> {
        let values: Vec<f32> =
            (0..shape.0 * shape.1).map(|_| (deviation * standard_normal(&mut self.rng)) as f32).collect();
        self.tensors.insert(name.into(), Tensor::from_vec(values, shape, &Device::Cpu)?);
        Ok(())
    }

    fn ones(&mut self, name: &str, width: usize) -> Result<()> {
        self.tensors.insert(name.into(), Tensor::ones(width, DType::F32, &Device::Cpu)?);
        Ok(())
    }

    fn zeros(&mut self, name: &str, width: usize) -> Result<()> {
        self.tensors.insert(name.into(), Tensor::zeros(width, DType::F32, &Device::Cpu)?);
        Ok(())
    }
}

/// Box–Muller, one value per draw.
fn standard_normal(rng: &mut ChaCha12Rng) -> f64 {
    let mut uniform = || ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let (radius, angle) = (uniform(), uniform());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}
