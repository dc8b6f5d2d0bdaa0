//! BERT (Devlin et al., arXiv 1810.04805): the encoder, as sentence embedders such as MiniLM use it.
//!
//! The values are those of candle-transformers' BERT to the bit. This one is ours because that one hands its
//! layers to pools of threads that belong to the whole process.

use candle_core::{D, DType, Device, Module, Result, Tensor};
use candle_nn::{Embedding, VarBuilder};
use serde::Deserialize;

use crate::Error;
use crate::kernels::{add, in_pieces, layer_norm, matmul, permuted, relu, transposed};
use crate::location::Location;
use crate::stub;
use crate::weights::Weights;

/// What `config.json` of a BERT says, with the defaults of Hugging Face's `BertConfig`. What is not here does not change
/// the states.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct BertConfig {
    /// Word pieces.
    pub vocab_size: usize,
    /// The width of the states.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// The width inside the feed-forward layers.
    pub intermediate_size: usize,
    /// Tokens of the longest text.
    pub max_position_embeddings: usize,
    /// Kinds of tokens; texts have the first.
    pub type_vocab_size: usize,
    hidden_act: Activation,
    layer_norm_eps: f64,
    position_embedding_type: Positions,
    is_decoder: bool,
    quantization_config: Option<serde_json::Value>,
}

impl Default for BertConfig {
    fn default() -> Self {
        Self {
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-12,
            position_embedding_type: Positions::Absolute,
            is_decoder: false,
            quantization_config: None,
        }
    }
}

impl BertConfig {
    /// What cannot be run of it.
    fn refused(&self) -> Option<&'static str> {
        if self.num_attention_heads == 0 || !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Some("hidden_size is not a multiple of num_attention_heads");
        }
        if matches!(self.hidden_act, Activation::Other) {
            return Some("hidden_act: gelu, gelu_new, gelu_pytorch_tanh and relu can be run");
        }
        if !matches!(self.position_embedding_type, Positions::Absolute) {
            return Some("position_embedding_type: only absolute can be run");
        }
        if self.is_decoder {
            return Some("is_decoder: a BERT whose tokens see only those before them cannot be run");
        }
        self.quantization_config
            .as_ref()
            .map(|_| "quantization_config: quantized weights cannot be run; save them in 16 or 32 bits")
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Activation {
    #[serde(rename = "gelu")]
    Gelu,
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh", alias = "geluapproximate")]
    ByTanh,
    #[serde(rename = "relu")]
    Relu,
    #[serde(other)]
    Other,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Positions {
    #[default]
    Absolute,
    #[serde(other)]
    Other,
}

/// A BERT encoder, run as Hugging Face's `BertModel`, with padding masked.
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
    words: Embedding,
    positions: Tensor,
    /// What every token of a text has added, `[width]`.
    kind: Tensor,
    norm: Norm,
    layers: Vec<Layer>,
}

impl BertEncoder {
    /// Loads a folder with `config.json` and weights, to run on a device.
    ///
    /// # Errors
    /// [`Error::File`] where a file is missing, damaged or not a BERT's.
    pub fn load_on(dir: &Location, device: &Device) -> std::result::Result<Self, Error> {
        let path = dir.join("config.json");
        let bytes = path.read().map_err(|error| Error::file(path.path(), error))?;
        let config: BertConfig =
            serde_json::from_slice(&bytes).map_err(|error| stub::damaged(&path, error))?;
        if let Some(message) = config.refused() {
            return Err(Error::file(path.path(), message));
        }
        let mut weights = Weights::find(dir)?;
        let names: Vec<String> = weights.names().map(String::from).collect();
        let tensors = names
            .into_iter()
            .map(|name| Ok((name.clone(), weights.tensor(&name)?)))
            .collect::<std::result::Result<_, Error>>()?;
        let vb = VarBuilder::from_tensors(tensors, DType::F32, device);
        Self::from_tensors(&vb, config).map_err(|error| {
            Error::file(weights.path(), format!("the weights are damaged or not a BERT model's: {error}"))
        })
    }

    /// Reads the encoder from tensors under Hugging Face's names, with or without `bert.` in front.
    ///
    /// # Errors
    /// Where a tensor is missing or of another shape than the configuration says.
    pub fn from_tensors(vb: &VarBuilder<'_>, config: BertConfig) -> Result<Self> {
        if let Some(message) = config.refused() {
            candle_core::bail!("{message}")
        }
        let words = "embeddings.word_embeddings.weight";
        let vb = if vb.contains_tensor(words) { vb.clone() } else { vb.pp("bert") };
        let width = config.hidden_size;
        let table = |name: &str, rows| vb.get((rows, width), &format!("embeddings.{name}_embeddings.weight"));
        let layer = |number| Layer::load(&vb.pp(format!("encoder.layer.{number}")), &config);
        Ok(Self {
            words: Embedding::new(table("word", config.vocab_size)?, width),
            positions: table("position", config.max_position_embeddings)?,
            kind: table("token_type", config.type_vocab_size)?.get(0)?,
            norm: Norm::load(&vb.pp("embeddings.LayerNorm"), &config)?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            config,
        })
    }

    /// Returns what `config.json` says.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// Returns the states `[batch, length, width]` of token ids `[batch, length]`. `mask` has the same shape: 1
    /// where there is a token and 0 where there is padding. Without it, nothing is padded.
    ///
    /// # Errors
    /// For an id that is no token, a text that is too long, and shapes that differ.
    pub fn states(&self, ids: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let length = ids.dim(1)?;
        let tokens = add(&self.words.forward(ids)?, &self.kind)?;
        let tokens = add(&tokens, &self.positions.narrow(0, 0, length)?)?;
        let mask = mask.map(additive_mask).transpose()?;
        let states = self.norm.forward(&tokens)?;
        self.layers.iter().try_fold(states, |states, layer| layer.forward(&states, mask.as_ref()))
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
    fn load(vb: &VarBuilder<'_>, config: &BertConfig) -> Result<Self> {
        let (width, within) = (config.hidden_size, config.intermediate_size);
        Ok(Self {
            attention: Attention::load(&vb.pp("attention"), config)?,
            attention_norm: Norm::load(&vb.pp("attention.output.LayerNorm"), config)?,
            inner: Linear::load(&vb.pp("intermediate.dense"), width, within)?,
            activation: config.hidden_act,
            outer: Linear::load(&vb.pp("output.dense"), within, width)?,
            norm: Norm::load(&vb.pp("output.LayerNorm"), config)?,
        })
    }

    fn forward(&self, states: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let mixed = self.attention.forward(states, mask)?;
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
    fn load(vb: &VarBuilder<'_>, config: &BertConfig) -> Result<Self> {
        let width = config.hidden_size;
        let linear = |name: &str| Linear::load(&vb.pp(name), width, width);
        Ok(Self {
            query: linear("self.query")?,
            key: linear("self.key")?,
            value: linear("self.value")?,
            out: linear("output.dense")?,
            heads: config.num_attention_heads,
        })
    }

    fn forward(&self, states: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (batch, length, width) = states.dims3()?;
        let of_head = width / self.heads;
        let split = |linear: &Linear| -> Result<Tensor> {
            permuted(&linear.forward(states)?.reshape((batch, length, self.heads, of_head))?, [0, 2, 1, 3])
        };
        let (queries, keys, values) = (split(&self.query)?, split(&self.key)?, split(&self.value)?);
        let mut scores = (matmul(&queries, &transposed(&keys)?)? / (of_head as f64).sqrt())?;
        if let Some(mask) = mask {
            scores = add(&scores, mask)?;
        }
        let shares = in_pieces([&scores], |[scores]| candle_nn::ops::softmax(scores, D::Minus1))?;
        let mixed = permuted(&matmul(&shares, &values)?, [0, 2, 1, 3])?;
        self.out.forward(&mixed.reshape((batch, length, width))?)
    }
}

#[derive(Debug, Clone)]
struct Linear {
    /// `[out, in]`.
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn load(vb: &VarBuilder<'_>, from: usize, to: usize) -> Result<Self> {
        Ok(Self { weight: vb.get((to, from), "weight")?, bias: vb.get(to, "bias")? })
    }

    fn forward(&self, states: &Tensor) -> Result<Tensor> {
        let (batch, length, width) = states.dims3()?;
        let out = matmul(&states.reshape((batch * length, width))?, &self.weight.t()?)?;
        add(&out, &self.bias)?.reshape((batch, length, ()))
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
