//! BERT (Devlin et al., arXiv 1810.04805) and the models built like it: the encoders, as sentence embedders such as
//! MiniLM use them.
//!
//! | model | how it differs from BERT |
//! |---|---|
//! | RoBERTa (arXiv 1907.11692), XLM-RoBERTa (arXiv 1911.02116) | positions begin after the padding token's id, and do not count that token |
//! | MPNet (arXiv 2004.09297) | the same, from 2 on; all layers share a score for each relative position; no kinds of tokens |
//! | DistilBERT (arXiv 1910.01108) | no kinds of tokens |
//!
//! On tensors, a BERT's values are those of candle-transformers' BERT to the bit. On the CPU, folders are run on
//! plain values and packed weights, which takes half the time and changes the last bits. We have our own because
//! candle-transformers' BERT hands its layers to thread pools of the whole process.

mod config;
mod embeddings;
mod gradient;
mod names;
mod values;

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::VarBuilder;

use self::config::Activation;
pub use self::config::BertConfig;
pub(crate) use self::config::Family;
use self::embeddings::Embeddings;
pub(crate) use self::gradient::Trace;
use self::names::Names;
use crate::Error;
use crate::json;
use crate::kernels::{add, in_pieces, layer_norm, matmul, permuted, relu, transposed};
use crate::linear::Weight;
use crate::location::Location;
use crate::stub;
use crate::t5::PositionBias;
use crate::weights::Weights;

/// The encoder of a BERT, RoBERTa, XLM-RoBERTa, MPNet or DistilBERT, run as Hugging Face's `BertModel`,
/// `RobertaModel`, `XLMRobertaModel`, `MPNetModel` or `DistilBertModel`, with padding masked.
///
/// ```no_run
/// use candle_core::{Device, Tensor};
/// use embosk_models::Location;
/// use embosk_models::bert::BertEncoder;
///
/// let encoder = BertEncoder::load_on(&Location::from("models/all-MiniLM-L6-v2"), &Device::Cpu)?;
/// let ids = Tensor::new(&[[101u32, 2178, 102, 0]], &Device::Cpu)?;
/// let mask = Tensor::new(&[[1u32, 1, 1, 0]], &Device::Cpu)?;
/// assert_eq!(encoder.states(&ids, Some(&mask))?.dims(), [1, 4, encoder.config().hidden_size]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct BertEncoder {
    config: BertConfig,
    embeddings: Embeddings,
    norm: Norm,
    /// What MPNet adds to the scores of every layer.
    bias: Option<PositionBias>,
    layers: Vec<Layer>,
}

impl BertEncoder {
    /// Loads a folder with `config.json` and weights, to run on a device.
    ///
    /// # Errors
    /// [`Error::File`] if a file is missing, damaged or not that of such a model.
    pub fn load_on(dir: &Location, device: &Device) -> std::result::Result<Self, Error> {
        let path = dir.join("config.json");
        let bytes = path.read().map_err(|error| Error::file(path.path(), error))?;
        let config: BertConfig = json::read(&bytes).map_err(|error| stub::damaged(&path, error))?;
        if let Some(message) = config.refused() {
            return Err(Error::file(path.path(), message));
        }
        let family = config.family;
        let mut weights = Weights::find(dir)?;
        let tensors = weights.tensors()?;
        let vb = VarBuilder::from_tensors(tensors, DType::F32, device);
        Self::from_tensors(&vb, config).and_then(Self::packed).map_err(|error| {
            let name = family.name();
            Error::file(weights.path(), format!("the weights are damaged or not a {name} model's: {error}"))
        })
    }

    /// Reads the encoder from tensors under Hugging Face's names, with or without `bert.`, `roberta.`, `mpnet.` or
    /// `distilbert.` in front.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape than the configuration says.
    pub fn from_tensors(vb: &VarBuilder<'_>, config: BertConfig) -> Result<Self> {
        if let Some(message) = config.refused() {
            candle_core::bail!("{message}")
        }
        let names = Names::of(config.family);
        let words = "embeddings.word_embeddings.weight";
        let vb = if vb.contains_tensor(words) { vb.clone() } else { vb.pp(names.prefix) };
        let layer = |number| Layer::load(&vb.pp(format!("{}.{number}", names.layer)), names, &config);
        let bias = match config.family {
            Family::Mpnet => Some(PositionBias::load(
                &vb.pp("encoder.relative_attention_bias"),
                config.num_attention_heads,
            )?),
            _ => None,
        };
        Ok(Self {
            embeddings: Embeddings::load(&vb.pp("embeddings"), &config)?,
            norm: Norm::load(&vb.pp("embeddings.LayerNorm"), &config)?,
            bias,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            config,
        })
    }

    /// Packs the weights on the CPU, for use but not for training.
    fn packed(mut self) -> Result<Self> {
        for layer in &mut self.layers {
            let Attention { query, key, value, out, .. } = &mut layer.attention;
            for linear in [query, key, value, out, &mut layer.inner, &mut layer.outer] {
                linear.weight = linear.weight.clone().packed()?;
            }
        }
        Ok(self)
    }

    /// Returns what `config.json` says.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// Returns the states `[batch, length, width]` of token ids `[batch, length]`. `mask` has the same shape: 1
    /// where there is a token and 0 where there is padding. Without it, nothing is padded.
    ///
    /// # Errors
    /// For an unknown token id, a text that is too long, and shapes that differ.
    pub fn states(&self, ids: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let tokens = self.embeddings.padded(ids, mask)?;
        let bias = self.bias(ids.dim(1)?)?;
        let mask = mask.map(additive_mask).transpose()?;
        let added = [bias.as_ref(), mask.as_ref()];
        let states = self.norm.forward(&tokens)?;
        self.layers.iter().try_fold(states, |states, layer| layer.forward(&states, added))
    }

    /// What is added to the scores of texts of up to `length` tokens, `[heads, length, length]`.
    fn bias(&self, length: usize) -> Result<Option<Tensor>> {
        self.bias.as_ref().map(|bias| bias.forward(0..length, length)?.squeeze(0)).transpose()
    }
}

/// Turns `[batch, length]` of ones and zeros into `[batch, 1, 1, length]` of zeros and the lowest number.
fn additive_mask(mask: &Tensor) -> Result<Tensor> {
    let mask = mask.to_dtype(DType::F32)?.unsqueeze(1)?.unsqueeze(1)?;
    (1.0 - mask)? * f64::from(f32::MIN)
}

#[derive(Debug, Clone)]
struct Layer {
    attention: Attention,
    attention_norm: Norm,
    inner: Linear,
    activation: Activation,
    outer: Linear,
    norm: Norm,
}

impl Layer {
    fn load(vb: &VarBuilder<'_>, names: &Names, config: &BertConfig) -> Result<Self> {
        let (width, within) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            attention: Attention::load(vb, names, config)?,
            attention_norm: Norm::load(&vb.pp(names.attention_norm), config)?,
            inner: Linear::load(&vb.pp(names.inner), width, within)?,
            activation: config.hidden_act,
            outer: Linear::load(&vb.pp(names.outer), within, width)?,
            norm: Norm::load(&vb.pp(names.norm), config)?,
        })
    }

    /// `added` is added to the scores.
    fn forward(&self, states: &Tensor, added: [Option<&Tensor>; 2]) -> Result<Tensor> {
        let mixed = self.attention.forward(states, added)?;
        let states = self.attention_norm.forward(&add(&mixed, states)?)?;
        let inner = self.inner.forward(&states)?;
        let inner = match self.activation {
            Activation::Gelu => in_pieces([&inner], |[inner]| inner.gelu_erf())?,
            Activation::ByTanh => in_pieces([&inner], |[inner]| inner.gelu())?,
            Activation::Relu => relu(&inner)?,
            Activation::Other => candle_core::bail!("the activation is not known"),
        };
        self.norm.forward(&add(&self.outer.forward(&inner)?, &states)?)
    }
}

#[derive(Debug, Clone)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    heads: usize,
}

impl Attention {
    fn load(vb: &VarBuilder<'_>, names: &Names, config: &BertConfig) -> Result<Self> {
        let width = config.hidden_size;
        let linear = |name: &str| Linear::load(&vb.pp(name), width, width);
        Ok(Self {
            query: linear(names.query)?,
            key: linear(names.key)?,
            value: linear(names.value)?,
            out: linear(names.out)?,
            heads: config.num_attention_heads,
        })
    }

    fn forward(&self, states: &Tensor, added: [Option<&Tensor>; 2]) -> Result<Tensor> {
        let (batch, length, width) = states.dims3()?;
        let of_head = width / self.heads;
        let split = |linear: &Linear| -> Result<Tensor> {
            permuted(&linear.forward(states)?.reshape((batch, length, self.heads, of_head))?, [0, 2, 1, 3])
        };
        let (queries, keys, values) = (split(&self.query)?, split(&self.key)?, split(&self.value)?);
        let mut scores = (matmul(&queries, &transposed(&keys)?)? / (of_head as f64).sqrt())?;
        for added in added.into_iter().flatten() {
            scores = add(&scores, added)?;
        }
        let shares = in_pieces([&scores], |[scores]| candle_nn::ops::softmax(scores, D::Minus1))?;
        let mixed = permuted(&matmul(&shares, &values)?, [0, 2, 1, 3])?;
        self.out.forward(&mixed.reshape((batch, length, width))?)
    }
}

#[derive(Debug, Clone)]
struct Linear {
    /// `[out, in]`.
    weight: Weight,
    bias: Tensor,
}

impl Linear {
    fn load(vb: &VarBuilder<'_>, from: usize, to: usize) -> Result<Self> {
        Ok(Self { weight: Weight::Full(vb.get((to, from), "weight")?), bias: vb.get(to, "bias")? })
    }

    fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let (batch, length, width) = states.dims3()?;
        self.on_rows(&states.reshape((batch * length, width))?)?.reshape((batch, length, ()))
    }

    /// `[rows, in]` to `[rows, out]`.
    fn on_rows(&self, rows: &Tensor) -> Result<Tensor> {
        let out = match &self.weight {
            Weight::Full(weight) => matmul(rows, &weight.t()?)?,
            weight => weight.forward(rows)?,
        };
        add(&out, &self.bias)
    }
}

#[derive(Debug, Clone)]
struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl Norm {
    /// Older files call weight and bias gamma and beta.
    fn load(vb: &VarBuilder<'_>, config: &BertConfig) -> Result<Self> {
        let get = |name: &str, older: &str| {
            let name = if vb.contains_tensor(name) { name } else { older };
            vb.get(config.hidden_size, name)
        };
        let (weight, bias) = (get("weight", "gamma")?, get("bias", "beta")?);
        Ok(Self { weight, bias, epsilon: config.layer_norm_eps as f32 })
    }

    fn forward(&self, states: &Tensor) -> Result<Tensor> {
        layer_norm(states, &self.weight, &self.bias, self.epsilon)
    }
}
