//! Embedders stored as a sentence-transformers folder, read as Python's sentence-transformers reads it.
//!
//! Every field in a folder's files is honored, is known not to change a vector, or is refused by name.
//! "Python" is sentence-transformers 6.2 with transformers 5; folders of older versions are read as well.
//!
//! | file | honored | does not change a vector | refused by name |
//! |---|---|---|---|
//! | `modules.json` (missing: transformer and mean pooling) | `path`, `type`: `Transformer` and `Pooling`, or `StaticEmbedding`; then any of `Dense`, `LayerNorm`, `Normalize`, `Dropout` | `idx`, `name`, `kwargs` | other modules, and code that comes with a model |
//! | `config_sentence_transformers.json` (optional) | `prompts`, `default_prompt_name`, `truncate_dim`, `similarity_fn_name` (as [`SentenceTransformer::similarity`]) | `__version__` | other values of `model_type` and `similarity_fn_name`, a default prompt that is not there, other fields |
//! | `sentence_bert_config.json` (optional, or by one of its older names) | `max_seq_length`, `do_lower_case`, and in `processor_kwargs` `model_max_length` and `truncation_side` | `unpad_inputs`; of `model_kwargs` what says where and how the model runs | other tasks and modalities, `processing_kwargs`, lengths by role, query expansion, other fields |
//! | `1_Pooling/config.json` | both layouts, all modes and their concatenation, `include_prompt` | `embedding_dimension` | other fields |
//! | `2_Dense/config.json` | `bias`, `use_residual`, `activation_function`, `in_features`, `out_features` | | other activations, inputs and outputs other than `sentence_embedding`, other fields |
//! | `LayerNorm`, `Normalize` | `dimension` | | inputs and outputs other than `sentence_embedding`, other fields |
//! | `tokenizer_config.json` (optional) | `model_max_length`, `truncation_side`, `split_special_tokens`; for the classes `BertTokenizer`, `DistilBertTokenizer`, `ElectraTokenizer`, `MPNetTokenizer`, `RobertaTokenizer`, `XLMRobertaTokenizer` and `Qwen2Tokenizer` what they build themselves: normalizer, words, and the tokens around a text | everything else, which repeats `tokenizer.json` or concerns decoding, padding and training | `added_tokens_decoder` that contradicts `tokenizer.json` |
//! | `tokenizer.json` | the tokenizer, the side on which texts are cut; for `StaticEmbedding` all of `truncation` | `padding`, and the transformer's `truncation.max_length` | |
//! | `config.json` | what Hugging Face's model reads, with its defaults | what that model does not read | what cannot be run, such as relative positions |
//!
//! `config.json` may be that of a BERT, RoBERTa, XLM-RoBERTa, MPNet, DistilBERT, ModernBERT, NomicBERT, Qwen3 or T5.
//!
//! The length limit is `max_seq_length`, or otherwise the tokenizer's `model_max_length`, up to the model's number of
//! positions. It never exceeds the length of the model's table of positions, if it has one. Vectors are computed in
//! 32 bits, whatever the precision of the stored weights. Since transformers 5, Python computes in the weights' own
//! precision.
//!
//! # Prompts
//!
//! A query gets the prompt called `query`; a document gets the first of `document`, `passage` and `corpus`
//! that exists. If a folder has no prompt for a role, the default prompt is used. Python's `encode_query` and
//! `encode_document` differ in one point: they fill in empty prompts called `query` and `document`, and so
//! use neither `passage` nor the default prompt. The equivalent of Python's `encode`, which uses the default
//! prompt, is [`SentenceTransformer::encode`].

mod classes;
mod dense;
mod encoder;
mod fields;
mod files;
mod gradient;
mod limits;
mod modules;
mod pieces;
mod pooling;
mod ragged;
mod settings;
mod spelling;
mod static_embedding;
mod tokens;

use std::fmt;
use std::ops::Range;
use std::path::Path;

use candle_core::{Device, Tensor};
use ndarray::{Array2, s};
use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper};

use self::encoder::Encoder;
use self::files::hash;
pub use self::gradient::PieceGradient;
use self::limits::Limits;
use self::modules::{Input, Modules, Stage};
use self::pooling::Positions;
use self::settings::Settings;
pub use self::settings::Similarity;
use self::tokens::Tokens;
use crate::Error;
use crate::digest::Digest;
use crate::location::Location;
use crate::threads::{in_parallel, threads};

/// How many texts run through the model together; more gains nothing on a CPU.
const BATCH: usize = 32;
/// The same, on a GPU.
const LARGE_BATCH: usize = 256;

/// An embedder in a sentence-transformers folder, such as all-MiniLM-L6-v2 and GTR.
///
/// The folder's own files determine pooling, dense layers, normalization, prompts and the length limit; see
/// the [module](self) for each of their fields. Texts beyond the limit are truncated. Batches are sorted by
/// length and spread over the cores, or run one after the other on a GPU.
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
    tokens: Tokens,
    modules: Modules,
    settings: Settings,
    device: Device,
    /// The dimension before vectors are cut to [`Settings::dimensions`].
    whole: usize,
    name: String,
    hash: String,
}

impl SentenceTransformer {
    /// Loads a folder with `config.json`, `tokenizer.json`, weights (safetensors or PyTorch's, whole or in
    /// shards), and the other files that the [module](self) names.
    ///
    /// # Errors
    /// [`Error::File`] when a file is missing, damaged, or asks for something that cannot be run.
    pub fn load(dir: impl Into<Location>) -> Result<Self, Error> {
        Self::load_on(dir, &Device::Cpu)
    }

    /// Loads a folder as [`load`](Self::load) does, to run on a device. The hash does not depend on the device. The
    /// last bits of the vectors do; with products in TF32, all bits from the tenth on.
    ///
    /// # Errors
    /// As [`load`](Self::load), and if the device cannot hold the model.
    pub fn load_on(dir: impl Into<Location>, device: &Device) -> Result<Self, Error> {
        let dir = &dir.into();
        let modules = Modules::read(dir, device)?;
        // Python reads neither file if the folder was not saved by sentence-transformers
        let is_saved = !modules.first.is_empty();
        let settings = dir.join("config_sentence_transformers.json");
        let settings = if is_saved { Settings::read(&settings)? } else { Settings::default() };
        let (loaded, tokens, read) = match &modules.input {
            Input::Transformer(folder) => {
                let limits = if is_saved { Limits::read(folder)? } else { Limits::default() };
                let loaded = Encoder::load(folder, device)?;
                let tokens = Tokens::read(folder, &limits, &loaded)?;
                let files = std::iter::once(folder.join("config.json")).chain(limits.file);
                (loaded, tokens, files.chain([folder.join("tokenizer.json")]).collect::<Vec<_>>())
            }
            Input::Static(folder) => {
                let tokens = Tokens::of_static(folder)?;
                (static_embedding::load(folder, device)?, tokens, vec![folder.join("tokenizer.json")])
            }
        };
        let whole = modules.dimension(loaded.width)?;
        // keep the first version's order of files, so that its embedders keep their hashes
        let files = read.iter().chain(&modules.first).chain(&loaded.weights).chain(&modules.files);
        let hash = hash(files, &decided(&modules, &settings, &tokens))?;
        Ok(Self {
            encoder: loaded.encoder,
            tokens,
            whole,
            name: name(dir.path()),
            hash,
            settings,
            modules,
            device: device.clone(),
        })
    }

    /// Gives the embedder a name that replaces its folder's. The hash stays the same.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Cuts texts to `tokens` tokens, including the special ones, if the folder allows more.
    ///
    /// # Errors
    /// [`Error::File`] if this leaves no token besides the first and the last.
    pub fn max_length(mut self, tokens: usize) -> Result<Self, Error> {
        let shorter = self.tokens.cut(tokens).map_err(|error| Error::file(Path::new(&self.name), error))?;
        if shorter {
            self.hash = Digest::new().raw(format!("{} cut to {tokens} tokens", self.hash)).hex();
        }
        Ok(self)
    }

    /// Embeds `texts` after the folder's default prompt, as Python's `encode` does: one row per text,
    /// `[texts, dim]`, in the order of the texts.
    ///
    /// # Errors
    /// [`Error::Model`] if the tokenizer or the model fails, or a vector is not finite.
    pub fn encode(&self, texts: &[&str]) -> Result<Array2<f32>, Error> {
        self.encode_behind(&self.settings.prompts.usual, texts)
    }

    /// Embeds `texts` as [`encode`](Self::encode) does, but after the prompt for documents.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_documents(&self, texts: &[&str]) -> Result<Array2<f32>, Error> {
        self.encode_behind(&self.settings.prompts.document, texts)
    }

    /// Embeds `texts` as [`encode`](Self::encode) does, but after the prompt for queries.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_queries(&self, texts: &[&str]) -> Result<Array2<f32>, Error> {
        self.encode_behind(&self.settings.prompts.query, texts)
    }

    /// Returns whether documents and queries have different prompts.
    pub fn has_roles(&self) -> bool {
        self.settings.prompts.document != self.settings.prompts.query
    }

    /// Returns which bytes of a document the model reads. A text beyond the length limit is cut, at its end unless
    /// the folder says otherwise; the rest of it changes no vector.
    ///
    /// # Errors
    /// [`Error::Model`] if the tokenizer fails.
    pub fn window(&self, document: &str) -> Result<Range<usize>, Error> {
        let prompt = &self.settings.prompts.document;
        let Range { start, end } = self.tokens.window(&format!("{prompt}{document}"))?;
        Ok(start.saturating_sub(prompt.len())..end.saturating_sub(prompt.len()))
    }

    /// Returns how many tokens the model reads when it embeds `texts` as documents: in all, with the prompt and the
    /// tokens that stand around each text, without those that are cut off.
    ///
    /// # Errors
    /// [`Error::Model`] if the tokenizer fails.
    pub fn document_tokens(&self, texts: &[&str]) -> Result<usize, Error> {
        self.count(&self.settings.prompts.document, texts)
    }

    /// Returns how many tokens the model reads when it embeds `texts` as queries.
    ///
    /// # Errors
    /// As [`document_tokens`](Self::document_tokens).
    pub fn query_tokens(&self, texts: &[&str]) -> Result<usize, Error> {
        self.count(&self.settings.prompts.query, texts)
    }

    /// Returns the similarity by which the folder says its vectors should be compared.
    pub fn similarity(&self) -> Similarity {
        self.settings.similarity
    }

    fn count(&self, prompt: &str, texts: &[&str]) -> Result<usize, Error> {
        Ok(self.behind(prompt, texts)?.iter().map(Vec::len).sum())
    }

    /// The tokens of each text behind a prompt.
    fn behind(&self, prompt: &str, texts: &[&str]) -> Result<Vec<Vec<u32>>, Error> {
        let texts: Vec<String> = texts.iter().map(|text| format!("{prompt}{text}")).collect();
        self.tokens.of(&texts)
    }

    fn encode_behind(&self, prompt: &str, texts: &[&str]) -> Result<Array2<f32>, Error> {
        let skip = if self.modules.pooling.include_prompt { 0 } else { self.tokens.in_prompt(prompt)? };
        let pieces = self.behind(prompt, texts)?;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&row| pieces[row].len());
        let embed = |rows: &&[usize]| {
            let batch: Vec<&[u32]> = rows.iter().map(|&row| pieces[row].as_slice()).collect();
            self.forward(&batch, skip)?.to_vec2::<f32>()
        };
        let vectors: Vec<Vec<Vec<f32>>> = if self.device.is_cpu() {
            let size = BATCH.min(texts.len().div_ceil(threads())).max(1);
            in_parallel(&order.chunks(size).collect::<Vec<_>>(), embed)?
        } else {
            order.chunks(LARGE_BATCH).map(|rows| embed(&rows)).collect::<Result<_, _>>()?
        };
        let mut result = Array2::zeros((texts.len(), self.whole));
        for (&row, vector) in order.iter().zip(vectors.into_iter().flatten()) {
            result.row_mut(row).assign(&ndarray::ArrayView1::from(&vector));
        }
        if result.iter().any(|value| !value.is_finite()) {
            let message = format!("{}: a vector is not finite; the weights are damaged", self.name);
            return Err(Error::Model(message.into()));
        }
        match self.dimension() {
            kept if kept < self.whole => Ok(result.slice_move(s![.., ..kept])),
            _ => Ok(result),
        }
    }

    /// Returns the vectors' dimension.
    pub fn dimension(&self) -> usize {
        self.settings.dimensions.map_or(self.whole, |kept| kept.min(self.whole))
    }

    /// Returns the device that it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns the SHA-256 of all files that the vectors depend on, in hexadecimal. If texts are cut shorter
    /// than the folder says, the hash differs.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Applies the tokenizer's own normalizer, so that the text is returned as the model sees it.
    ///
    /// A model that lower-cases gives equal vectors for texts that differ only in case, so nothing can
    /// recover the case from a vector. Comparisons normalize both sides.
    pub fn normalize(&self, text: &str) -> String {
        normalized(text, self.tokens.tokenizer.get_normalizer(), self.encoder.marks_spaces())
    }

    /// Returns [`normalize`](Self::normalize) as a function that does not borrow from the model.
    pub fn normalizing(&self) -> impl Fn(&str) -> String + Send + Sync + use<> {
        let normalizer = self.tokens.tokenizer.get_normalizer().cloned();
        let marks_spaces = self.encoder.marks_spaces();
        move |text| normalized(text, normalizer.as_ref(), marks_spaces)
    }

    /// Returns whether the folder's last module scales vectors to norm 1, and no dimension is dropped
    /// afterwards.
    pub fn is_normalized(&self) -> bool {
        matches!(self.modules.stages.last(), Some(Stage::Normalize)) && self.dimension() == self.whole
    }

    /// Names what [`normalize`](Self::normalize) does, for signatures: the normalizer of this embedder's
    /// tokenizer.
    pub fn normalizer_name(&self) -> String {
        format!("embedder:{}", self.name)
    }

    /// Computes vectors `[texts, dim]` from the tokens of texts. The first `skip` tokens are not pooled.
    fn forward(&self, pieces: &[&[u32]], skip: usize) -> candle_core::Result<Tensor> {
        let lengths: Vec<usize> = pieces.iter().map(|ids| ids.len()).collect();
        // a text may have no tokens at all, and a tensor must have some
        let length = lengths.iter().copied().max().unwrap_or(0).max(1);
        let shape = (pieces.len(), length);
        let padded = |value: &dyn Fn(&[u32], usize) -> u32| -> candle_core::Result<Tensor> {
            let values: Vec<u32> =
                pieces.iter().flat_map(|ids| (0..length).map(move |at| value(ids, at))).collect();
            Tensor::from_vec(values, shape, &self.device)
        };
        let ids = padded(&|ids, at| ids.get(at).copied().unwrap_or(0))?;
        let mask = padded(&|ids, at| u32::from(at < ids.len()))?;
        let ragged = lengths.iter().any(|&own| own < length);
        let states = self.encoder.states(&ids, &mask, ragged)?;
        self.modules.apply(&states, &Positions { lengths: &lengths, skip })
    }
}

impl fmt::Debug for SentenceTransformer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentenceTransformer")
            .field("name", &self.name)
            .field("dimension", &self.dimension())
            .field("modules", &self.modules)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for SentenceTransformer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Returns the folder's name; for a model in the hub's cache, the model's own name.
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

/// Returns what determines the vectors besides the bytes of the hashed files. It is empty for an embedder
/// without prompts whose `sentence_bert_config.json` has the length limit.
fn decided(modules: &Modules, settings: &Settings, tokens: &Tokens) -> Vec<String> {
    let mut decided = tokens.decided.clone();
    let prompts = &settings.prompts;
    for (name, prompt) in
        [("query", &prompts.query), ("document", &prompts.document), ("usual", &prompts.usual)]
    {
        if !prompt.is_empty() {
            decided.push(format!("{name} prompt {prompt}"));
        }
    }
    decided.extend(settings.dimensions.map(|dimensions| format!("{dimensions} dimensions")));
    if modules.has_residual() {
        decided.push("residual".into());
    }
    decided
}

/// Returns the text as a model sees it: after the tokenizer's normalizer, with T5's space marks as spaces.
fn normalized(text: &str, normalizer: Option<&NormalizerWrapper>, marks_spaces: bool) -> String {
    let Some(normalizer) = normalizer else { return text.to_owned() };
    let mut normalized = NormalizedString::from(text);
    match normalizer.normalize(&mut normalized) {
        Ok(()) if marks_spaces => normalized.get().replace('\u{2581}', " "),
        Ok(()) => normalized.get().to_owned(),
        Err(_) => text.to_owned(),
    }
}
