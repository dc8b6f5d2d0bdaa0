//! Embedders stored as a sentence-transformers folder, run on candle.

use std::fmt;
use std::path::{Path, PathBuf};

use candle_core::{D, DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use embosk_attacks::vec2text::threads::{in_parallel, threads};
use ndarray::Array2;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokenizers::{Tokenizer, TruncationParams};

use super::Embedder;
use crate::{BoxError, Error};

/// Texts that run through the model together; more gains nothing on a CPU.
const BATCH: usize = 32;

/// A BERT model in a sentence-transformers folder, such as all-MiniLM-L6-v2.
///
/// Pooling, normalization and the length limit are what the folder's own files say. Texts beyond
/// the limit are truncated; batches are sorted by length and spread over the cores.
///
/// ```no_run
/// use embosk::Embedder;
/// use embosk::embedder::SentenceTransformer;
///
/// let embedder = SentenceTransformer::load("models/all-MiniLM-L6-v2")?;
/// assert_eq!(embedder.embed(&["two", "texts"])?.dim(), (2, 384));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct SentenceTransformer {
    model: BertModel,
    tokenizer: Tokenizer,
    pooling: Pooling,
    normalize: bool,
    lower_case: bool,
    dimension: usize,
    name: String,
    hash: String,
}

impl SentenceTransformer {
    /// Loads a folder with `modules.json`, `config.json`, `tokenizer.json` and `model.safetensors`.
    ///
    /// # Errors
    /// [`Error::File`] when a file is missing, damaged, or asks for something that is not BERT with
    /// pooling and normalization.
    pub fn load(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = dir.as_ref();
        let modules = Modules::read(dir)?;
        let own = |name: &str| modules.transformer.join(name);
        let config: Config = bert_config(&own("config.json"))?;
        let limits: Limits = read_json(&own("sentence_bert_config.json"))?;
        let weights = own("model.safetensors");
        let bytes = read(&weights)?;
        let hash = modules.hash(dir, &bytes)?;
        let tensors = VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu)
            .map_err(|error| damaged(&weights, error))?;
        let model = BertModel::load(tensors, &config).map_err(|error| damaged(&weights, error))?;
        Ok(Self {
            model,
            tokenizer: tokenizer(&own("tokenizer.json"), &limits, &config)?,
            pooling: modules.pooling,
            normalize: modules.normalize,
            lower_case: limits.do_lower_case,
            dimension: config.hidden_size,
            name: dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            hash,
        })
    }

    /// Cuts texts to so many tokens, the special ones among them, where the folder allows more.
    ///
    /// # Errors
    /// [`Error::File`] where a text could have no token beside the first and the last.
    pub fn max_length(mut self, tokens: usize) -> Result<Self, Error> {
        let Some(limit) = self.tokenizer.get_truncation().cloned() else { return Ok(self) };
        let limit = TruncationParams { max_length: limit.max_length.min(tokens), ..limit };
        let set = match limit.max_length {
            ..3 => Err("a text may have no token beside the first and the last".into()),
            _ => self.tokenizer.with_truncation(Some(limit)).map(|_| ()),
        };
        set.map_err(|error: BoxError| Error::file(Path::new(&self.name), error)).map(|()| self)
    }

    /// The vectors' dimension.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The SHA-256 of all files that the vectors depend on, in hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The text as the model sees it, put through the tokenizer's own normalizer.
    ///
    /// A model that lower-cases gives equal vectors for texts that differ in case, so no attack can
    /// bring the case back: comparisons normalize both sides.
    pub fn normalize(&self, text: &str) -> String {
        use tokenizers::{NormalizedString, Normalizer};
        let text = if self.lower_case { text.to_lowercase() } else { text.to_owned() };
        let Some(normalizer) = self.tokenizer.get_normalizer() else { return text };
        let mut normalized = NormalizedString::from(text.as_str());
        match normalizer.normalize(&mut normalized) {
            Ok(()) => normalized.get().to_owned(),
            Err(_) => text,
        }
    }

    /// What [`Self::normalize`] is, for signatures: the normalizer of this embedder's tokenizer.
    pub fn normalizer_name(&self) -> String {
        format!("embedder:{}", self.name)
    }

    fn tokenize(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>, BoxError> {
        let texts: Vec<String> = texts
            .iter()
            .map(|text| if self.lower_case { text.to_lowercase() } else { (*text).to_owned() })
            .collect();
        let encodings = self.tokenizer.encode_batch_fast(texts, true)?;
        Ok(encodings.iter().map(|encoding| encoding.get_ids().to_vec()).collect())
    }

    fn forward(&self, pieces: &[&[u32]]) -> candle_core::Result<Tensor> {
        let length = pieces.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let shape = (pieces.len(), length);
        let padded = |value: &dyn Fn(&[u32], usize) -> u32| -> candle_core::Result<Tensor> {
            let values: Vec<u32> =
                pieces.iter().flat_map(|ids| (0..length).map(move |at| value(ids, at))).collect();
            Tensor::from_vec(values, shape, &Device::Cpu)
        };
        let ids = padded(&|ids, at| ids.get(at).copied().unwrap_or(0))?;
        let mask = padded(&|ids, at| u32::from(at < ids.len()))?;
        let ragged = pieces.iter().any(|ids| ids.len() < length);
        let states = self.model.forward(&ids, &ids.zeros_like()?, ragged.then_some(&mask))?;
        let pooled = self.pooling.apply(&states, &mask.to_dtype(DType::F32)?)?;
        if !self.normalize {
            return Ok(pooled);
        }
        let norms = pooled.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?;
        pooled.broadcast_div(&norms)
    }
}

impl Embedder for SentenceTransformer {
    fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        let pieces = self.tokenize(texts)?;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&row| pieces[row].len());
        let size = BATCH.min(texts.len().div_ceil(threads())).max(1);
        let batches: Vec<&[usize]> = order.chunks(size).collect();
        let vectors = in_parallel(&batches, |rows| {
            let batch: Vec<&[u32]> = rows.iter().map(|&row| pieces[row].as_slice()).collect();
            self.forward(&batch)?.to_vec2::<f32>()
        })?;
        let mut result = Array2::zeros((texts.len(), self.dimension));
        for (&row, vector) in order.iter().zip(vectors.into_iter().flatten()) {
            result.row_mut(row).assign(&ndarray::ArrayView1::from(&vector));
        }
        if result.iter().any(|value| !value.is_finite()) {
            return Err(format!("{}: a vector is not finite; the weights are damaged", self.name).into());
        }
        Ok(result)
    }
}

impl fmt::Debug for SentenceTransformer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentenceTransformer")
            .field("name", &self.name)
            .field("dimension", &self.dimension)
            .field("pooling", &self.pooling)
            .field("normalize", &self.normalize)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SentenceTransformer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[derive(Debug, Clone, Copy)]
enum Pooling {
    Cls,
    Mean,
    Max,
}

impl Pooling {
    fn read(path: &Path) -> Result<Self, Error> {
        let config: PoolingConfig = read_json(path)?;
        let others = config.pooling_mode_mean_sqrt_len_tokens
            || config.pooling_mode_weightedmean_tokens
            || config.pooling_mode_lasttoken;
        match (config.pooling_mode_cls_token, config.pooling_mode_mean_tokens, config.pooling_mode_max_tokens)
        {
            _ if others => {
                Err(Error::file(path, "cls, mean and max pooling can be run, and this is another"))
            }
            (true, false, false) => Ok(Self::Cls),
            (false, true, false) => Ok(Self::Mean),
            (false, false, true) => Ok(Self::Max),
            _ => Err(Error::file(path, "exactly one of cls, mean and max pooling can be used")),
        }
    }

    /// `[batch, length, dim]` to `[batch, dim]`, over the positions where `mask` is 1.
    fn apply(self, states: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
        let weights = mask.unsqueeze(D::Minus1)?;
        match self {
            Self::Cls => states.narrow(1, 0, 1)?.squeeze(1),
            Self::Mean => {
                let count = weights.sum(1)?.maximum(1e-9)?;
                states.broadcast_mul(&weights)?.sum(1)?.broadcast_div(&count)
            }
            Self::Max => states.broadcast_add(&((weights - 1.0)? * 1e9)?)?.max(1),
        }
    }
}

/// What `modules.json` says is done one after the other.
struct Modules {
    transformer: PathBuf,
    pooling_config: PathBuf,
    pooling: Pooling,
    normalize: bool,
}

impl Modules {
    fn read(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("modules.json");
        let entries: Vec<ModuleEntry> = read_json(&path)?;
        let kinds: Vec<&str> =
            entries.iter().map(|entry| entry.kind.rsplit('.').next().unwrap_or("")).collect();
        let (normalize, known) = match kinds.as_slice() {
            ["Transformer", "Pooling"] => (false, true),
            ["Transformer", "Pooling", "Normalize"] => (true, true),
            _ => (false, false),
        };
        if !known {
            let message = format!(
                "the modules are {}; Transformer, Pooling and Normalize can be run",
                kinds.join(", ")
            );
            return Err(Error::file(path, message));
        }
        let pooling_config = dir.join(&entries[1].path).join("config.json");
        Ok(Self {
            transformer: dir.join(&entries[0].path),
            pooling: Pooling::read(&pooling_config)?,
            pooling_config,
            normalize,
        })
    }

    /// The SHA-256 of all that decides what comes out, each file after its length.
    fn hash(&self, dir: &Path, weights: &[u8]) -> Result<String, Error> {
        let own = ["config.json", "sentence_bert_config.json", "tokenizer.json"];
        let mut files: Vec<PathBuf> = own.iter().map(|name| self.transformer.join(name)).collect();
        files.extend([dir.join("modules.json"), self.pooling_config.clone()]);
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        for path in files {
            add(&read(&path)?);
        }
        add(weights);
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[derive(Deserialize)]
struct ModuleEntry {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "the file's own layout")]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

#[derive(Deserialize)]
struct Limits {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

fn bert_config(path: &Path) -> Result<Config, Error> {
    let config: Config = read_json(path)?;
    if config.num_attention_heads == 0 || !config.hidden_size.is_multiple_of(config.num_attention_heads) {
        return Err(Error::file(path, "hidden_size is no multiple of num_attention_heads"));
    }
    match config.model_type.as_deref() {
        Some("bert") | None => Ok(config),
        Some(other) => Err(Error::file(path, format!("model_type is {other}; bert can be run"))),
    }
}

fn tokenizer(path: &Path, limits: &Limits, config: &Config) -> Result<Tokenizer, Error> {
    let bytes = read(path)?;
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| Error::file(path, error))?;
    let max_length =
        limits.max_seq_length.unwrap_or(config.max_position_embeddings).min(config.max_position_embeddings);
    if max_length < 3 {
        return Err(Error::file(path, "a text may have no token beside the first and the last"));
    }
    tokenizer
        .with_truncation(Some(TruncationParams { max_length, ..TruncationParams::default() }))
        .map_err(|error| Error::file(path, error))?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = read(path)?;
    serde_json::from_slice(&bytes).map_err(|error| Error::file(path, error))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let hint = "an embedder's folder is one of sentence-transformers, with modules.json, config.json, tokenizer.json and \
                model.safetensors";
    std::fs::read(path).map_err(|error| Error::unreadable(path, &error, hint))
}

fn damaged(path: &Path, error: impl fmt::Display) -> Error {
    Error::file(path, format!("the weights are damaged or not a BERT model's: {error}"))
}
