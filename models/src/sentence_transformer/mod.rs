//! Embedders stored as a sentence-transformers folder.

mod encoder;
mod files;
mod modules;

use std::fmt;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use ndarray::Array2;
use serde::Deserialize;
use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper, Tokenizer, TruncationParams};

use self::encoder::Encoder;
use self::files::{hash, read, read_json};
use self::modules::{Modules, Stage};
use crate::digest::Digest;
use crate::location::Location;
use crate::threads::{in_parallel, threads};
use crate::{BoxError, Error};

/// Texts that run through the model together; more gains nothing on a CPU.
const BATCH: usize = 32;
/// Texts that a thread turns into tokens at a time, at most.
const TEXTS: usize = 1024;
/// As many as in [`BATCH`], on a GPU.
const LARGE_BATCH: usize = 256;

/// A BERT model or a T5 encoder in a sentence-transformers folder, such as all-MiniLM-L6-v2 and GTR.
///
/// The folder's own files determine pooling, dense layers, normalization and the length limit. Texts beyond the
/// limit are truncated. Batches are sorted by length and spread over the cores, or run one after the other on a
/// GPU.
///
/// ```no_run
/// use embosk_models::SentenceTransformer;
///
/// let embedder = SentenceTransformer::load("models/all-MiniLM-L6-v2")?;
/// assert_eq!(embedder.encode(&["two", "texts"])?.dim(), (2, 384));
/// # Ok::<(), embosk_models::Error>(())
/// ```
pub struct SentenceTransformer {
    encoder: Encoder,
    tokenizer: Tokenizer,
    modules: Modules,
    device: Device,
    lower_case: bool,
    dimension: usize,
    name: String,
    hash: String,
}

impl SentenceTransformer {
    /// Loads a folder with `modules.json`, `config.json`, `tokenizer.json` and weights (safetensors or
    /// PyTorch's, whole or in shards).
    ///
    /// # Errors
    /// [`Error::File`] when a file is missing, damaged, or asks for something other than BERT or a T5
    /// encoder with pooling, dense layers and normalization.
    pub fn load(dir: impl Into<Location>) -> Result<Self, Error> {
        Self::load_on(dir, &Device::Cpu)
    }

    /// Loads a folder as [`load`](Self::load) does, to run on a device. The hash does not depend on the device. The
    /// last bits of the vectors do, and with products in TF32 all bits from the tenth on.
    ///
    /// # Errors
    /// As [`load`](Self::load), and where the device cannot hold the model.
    pub fn load_on(dir: impl Into<Location>, device: &Device) -> Result<Self, Error> {
        let dir = &dir.into();
        let modules = Modules::read(dir, device)?;
        let own = |name: &str| modules.transformer.join(name);
        let files = ["config.json", "sentence_bert_config.json", "tokenizer.json"].map(own);
        let limits: Limits = read_json(&files[1])?;
        let loaded = Encoder::load(&modules.transformer, device)?;
        let max_length = loaded.max_length(limits.max_seq_length);
        let dimension = modules.dimension(loaded.width)?;
        // pooling first, so that embedders without dense layers keep the hash that they had before
        let (pooling, dense) = modules.files.split_at(2);
        let hash = hash(files.iter().chain(pooling).chain(&loaded.weights).chain(dense))?;
        Ok(Self {
            encoder: loaded.encoder,
            tokenizer: tokenizer(&files[2], max_length)?,
            lower_case: limits.do_lower_case,
            dimension,
            name: name(dir.path()),
            hash,
            modules,
            device: device.clone(),
        })
    }

    /// Gives the embedder another name than that of its folder. The hash stays.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Cuts texts to `tokens` tokens, including the special ones, where the folder allows more.
    ///
    /// # Errors
    /// [`Error::File`] where a text could have no token beside the first and the last.
    pub fn max_length(mut self, tokens: usize) -> Result<Self, Error> {
        let Some(limit) = self.tokenizer.get_truncation().cloned() else { return Ok(self) };
        if tokens < limit.max_length {
            self.hash = Digest::new().raw(format!("{} cut to {tokens} tokens", self.hash)).hex();
        }
        let limit = TruncationParams { max_length: limit.max_length.min(tokens), ..limit };
        let set = match limit.max_length {
            ..3 => Err("a text may have no token beside the first and the last".into()),
            _ => self.tokenizer.with_truncation(Some(limit)).map(|_| ()),
        };
        set.map_err(|error: BoxError| Error::file(Path::new(&self.name), error)).map(|()| self)
    }

    /// Embeds `texts`: one row a text, `[texts, dim]`, in the order of the texts.
    ///
    /// # Errors
    /// [`Error::Model`] where the tokenizer or the model fails, or a vector is not finite.
    pub fn encode(&self, texts: &[&str]) -> Result<Array2<f32>, Error> {
        let pieces = self.tokenize(texts)?;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&row| pieces[row].len());
        let embed = |rows: &&[usize]| {
            let batch: Vec<&[u32]> = rows.iter().map(|&row| pieces[row].as_slice()).collect();
            self.forward(&batch)?.to_vec2::<f32>()
        };
        let vectors: Vec<Vec<Vec<f32>>> = if self.device.is_cpu() {
            let size = BATCH.min(texts.len().div_ceil(threads())).max(1);
            in_parallel(&order.chunks(size).collect::<Vec<_>>(), embed)?
        } else {
            order.chunks(LARGE_BATCH).map(|rows| embed(&rows)).collect::<Result<_, _>>()?
        };
        let mut result = Array2::zeros((texts.len(), self.dimension));
        for (&row, vector) in order.iter().zip(vectors.into_iter().flatten()) {
            result.row_mut(row).assign(&ndarray::ArrayView1::from(&vector));
        }
        if result.iter().any(|value| !value.is_finite()) {
            let message = format!("{}: a vector is not finite; the weights are damaged", self.name);
            return Err(Error::Model(message.into()));
        }
        Ok(result)
    }

    /// Returns the vectors' dimension.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Returns the device that it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns the SHA-256 of all files that the vectors depend on, in hexadecimal; another one where texts are
    /// cut shorter than the folder says.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Puts a text through the tokenizer's own normalizer, so that it is as the model sees it.
    ///
    /// A model that lower-cases gives equal vectors for texts that differ only in case, so nothing can recover
    /// the case from a vector. Comparisons normalize both sides.
    pub fn normalize(&self, text: &str) -> String {
        normalized(text, self.lower_case, self.tokenizer.get_normalizer(), self.encoder.marks_spaces())
    }

    /// Returns [`normalize`](Self::normalize) as a function that does not borrow from the model.
    pub fn normalizing(&self) -> impl Fn(&str) -> String + Send + Sync + use<> {
        let normalizer = self.tokenizer.get_normalizer().cloned();
        let (lower_case, marks_spaces) = (self.lower_case, self.encoder.marks_spaces());
        move |text| normalized(text, lower_case, normalizer.as_ref(), marks_spaces)
    }

    /// Says whether the folder's last module scales vectors to norm 1.
    pub fn is_normalized(&self) -> bool {
        matches!(self.modules.stages.last(), Some(Stage::Normalize))
    }

    /// Names what [`normalize`](Self::normalize) does, for signatures: the normalizer of this embedder's tokenizer.
    pub fn normalizer_name(&self) -> String {
        format!("embedder:{}", self.name)
    }

    fn tokenize(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>, Error> {
        let ids = |text: &&str| -> Result<Vec<u32>, Error> {
            let text = if self.lower_case { text.to_lowercase() } else { (*text).to_owned() };
            let encoding = self.tokenizer.encode_fast(text, true).map_err(Error::Model)?;
            Ok(encoding.get_ids().to_vec())
        };
        if texts.len() <= BATCH {
            return texts.iter().map(ids).collect();
        }
        let size = texts.len().div_ceil(threads()).min(TEXTS);
        let parts = in_parallel(&texts.chunks(size).collect::<Vec<_>>(), |part| {
            part.iter().map(ids).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(parts.into_iter().flatten().collect())
    }

    fn forward(&self, pieces: &[&[u32]]) -> candle_core::Result<Tensor> {
        let length = pieces.iter().map(|ids| ids.len()).max().unwrap_or(0);
        let shape = (pieces.len(), length);
        let padded = |value: &dyn Fn(&[u32], usize) -> u32| -> candle_core::Result<Tensor> {
            let values: Vec<u32> =
                pieces.iter().flat_map(|ids| (0..length).map(move |at| value(ids, at))).collect();
            Tensor::from_vec(values, shape, &self.device)
        };
        let ids = padded(&|ids, at| ids.get(at).copied().unwrap_or(0))?;
        let mask = padded(&|ids, at| u32::from(at < ids.len()))?;
        let ragged = pieces.iter().any(|ids| ids.len() < length);
        let states = self.encoder.states(&ids, &mask, ragged)?;
        self.modules.apply(&states, &mask.to_dtype(DType::F32)?)
    }
}

impl fmt::Debug for SentenceTransformer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentenceTransformer")
            .field("name", &self.name)
            .field("dimension", &self.dimension)
            .field("modules", &self.modules)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SentenceTransformer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The folder's name; of a model in the hub's cache the model's own.
fn name(dir: &Path) -> String {
    let last =
        |dir: &Path| dir.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let above: Vec<String> = dir.ancestors().skip(1).take(2).map(last).collect();
    match above.as_slice() {
        [snapshots, model] if snapshots == "snapshots" && model.starts_with("models--") => {
            model["models--".len()..].replace("--", "/")
        }
        _ => last(dir),
    }
}

/// The text as a model sees it: lower-cased, through the tokenizer's normalizer, with spaces for T5's mark of them.
fn normalized(
    text: &str,
    lower_case: bool,
    normalizer: Option<&NormalizerWrapper>,
    marks_spaces: bool,
) -> String {
    let text = if lower_case { text.to_lowercase() } else { text.to_owned() };
    let Some(normalizer) = normalizer else { return text };
    let mut normalized = NormalizedString::from(text.as_str());
    match normalizer.normalize(&mut normalized) {
        Ok(()) if marks_spaces => normalized.get().replace('\u{2581}', " "),
        Ok(()) => normalized.get().to_owned(),
        Err(_) => text,
    }
}

#[derive(Deserialize)]
struct Limits {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

fn tokenizer(path: &Location, max_length: usize) -> Result<Tokenizer, Error> {
    let bytes = read(path)?;
    let path = path.path();
    let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|error| Error::file(path, error))?;
    if max_length < 3 {
        return Err(Error::file(path, "a text may have no token beside the first and the last"));
    }
    tokenizer
        .with_truncation(Some(TruncationParams { max_length, ..TruncationParams::default() }))
        .map_err(|error| Error::file(path, error))?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}
