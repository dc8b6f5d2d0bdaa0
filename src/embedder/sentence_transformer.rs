//! Embedders stored as a sentence-transformers folder, run on candle.

mod encoder;
mod modules;

use std::fmt;
use std::io::Read;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use embosk_attacks::Location;
use embosk_attacks::vec2text::threads::{in_parallel, threads};
use ndarray::Array2;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokenizers::{Tokenizer, TruncationParams};

use self::encoder::Encoder;
use self::modules::{Modules, Stage};
use super::Embedder;
use crate::{BoxError, Error};

/// What to do where a file is missing.
const HINT: &str = "an embedder's folder is one of sentence-transformers, with modules.json, config.json, \
                    tokenizer.json and model.safetensors";

/// Texts that run through the model together; more gains nothing on a CPU.
const BATCH: usize = 32;
/// As many on a GPU.
const LARGE_BATCH: usize = 256;

/// A BERT model or a T5 encoder in a sentence-transformers folder, such as all-MiniLM-L6-v2 and GTR.
///
/// Pooling, dense layers, normalization and the length limit are what the folder's own files say. Texts beyond
/// the limit are truncated; batches are sorted by length and spread over the cores, or run one after the other on
/// a GPU.
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

    /// Loads a folder as [`load`](Self::load) does, to run on a device. The hash does not depend on it; the vectors'
    /// last bits do, and with products in TF32 those from the tenth on.
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

    /// The embedder that ships with the crate: a small T5 encoder, distilled from all-MiniLM-L6-v2.
    ///
    /// ```
    /// use embosk::Embedder;
    /// use embosk::embedder::SentenceTransformer;
    ///
    /// let embedder = SentenceTransformer::reference()?;
    /// assert_eq!(embedder.embed(&["two", "texts"])?.dim(), (2, embedder.dimension()));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    ///
    /// # Errors
    /// As [`shipped`](embosk_attacks::vec2text::shipped), where the crate was built without feature `reference`.
    pub fn reference() -> Result<Self, Error> {
        Self::reference_on(&Device::Cpu)
    }

    /// The embedder that ships with the crate, to run on a device.
    ///
    /// # Errors
    /// As [`reference`](Self::reference), and where the device cannot hold the model.
    pub fn reference_on(device: &Device) -> Result<Self, Error> {
        let folder = embosk_attacks::vec2text::shipped("reference")?;
        Ok(Self { name: "reference".into(), ..Self::load_on(folder.join("embedder"), device)? })
    }

    /// Cuts texts to so many tokens, the special ones among them, where the folder allows more.
    ///
    /// # Errors
    /// [`Error::File`] where a text could have no token beside the first and the last.
    pub fn max_length(mut self, tokens: usize) -> Result<Self, Error> {
        let Some(limit) = self.tokenizer.get_truncation().cloned() else { return Ok(self) };
        if tokens < limit.max_length {
            self.hash = Sha256::digest(format!("{} cut to {tokens} tokens", self.hash))
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
        }
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

    /// Where it runs.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The SHA-256 of all files that the vectors depend on, in hexadecimal; another one where texts are cut
    /// shorter than the folder says.
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
            Ok(()) => self.encoder.readable(normalized.get()),
            Err(_) => text,
        }
    }

    /// Whether the folder's last module scales vectors to norm 1.
    pub fn is_normalized(&self) -> bool {
        matches!(self.modules.stages.last(), Some(Stage::Normalize))
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
            Tensor::from_vec(values, shape, &self.device)
        };
        let ids = padded(&|ids, at| ids.get(at).copied().unwrap_or(0))?;
        let mask = padded(&|ids, at| u32::from(at < ids.len()))?;
        let ragged = pieces.iter().any(|ids| ids.len() < length);
        let states = self.encoder.states(&ids, &mask, ragged)?;
        self.modules.apply(&states, &mask.to_dtype(DType::F32)?)
    }
}

impl Embedder for SentenceTransformer {
    fn embed(&self, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
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

/// The SHA-256 of all that decides what comes out, each file after its length.
fn hash<'a>(files: impl Iterator<Item = &'a Location>) -> Result<String, Error> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    for path in files {
        let mut file = path.open().map_err(|error| Error::unreadable(path.path(), &error, HINT))?;
        let length = file.size().map_err(|error| Error::file(path.path(), error))?;
        hash.update(length.to_le_bytes());
        loop {
            match file.read(&mut buffer).map_err(|error| Error::file(path.path(), error))? {
                0 => break,
                count => hash.update(&buffer[..count]),
            }
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
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

fn read_json<T: DeserializeOwned>(path: &Location) -> Result<T, Error> {
    let bytes = read(path)?;
    serde_json::from_slice(&bytes).map_err(|error| Error::file(path.path(), error))
}

fn read(path: &Location) -> Result<Vec<u8>, Error> {
    path.read().map_err(|error| Error::unreadable(path.path(), &error, HINT))
}
