//! `tokenizer.json` and `tokenizer_config.json`: how a text becomes tokens, and how many.

use std::ops::Range;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::normalizers::{Lowercase, Sequence};
use tokenizers::{ModelWrapper, NormalizerWrapper, Tokenizer, TruncationDirection, TruncationParams};

use super::classes::Class;
use super::encoder::Loaded;
use super::files::{read, read_json};
use super::limits::Limits;
use crate::location::Location;
use crate::threads::{in_parallel, threads};
use crate::{Error, stub};

/// Why texts cannot be cut shorter.
const LEAST: &str = "a text may have no token beside the first and the last";

/// The most texts that are turned into tokens on the calling thread.
const FEW: usize = 32;
/// The most texts that a thread turns into tokens at a time.
const MANY: usize = 1024;

/// Turns texts into tokens.
pub(super) struct Tokens {
    pub(super) tokenizer: Tokenizer,
    /// Whether a text is surrounded by tokens that belong to no word.
    pub(super) special: bool,
    /// What was decided by other files than `tokenizer.json` and `sentence_bert_config.json`.
    pub(super) decided: Vec<String>,
}

/// The fields of `tokenizer_config.json` that change what the tokenizer does.
///
/// All others either repeat what `tokenizer.json` says, or concern decoding, padding or training. A transformers
/// tokenizer keeps unknown fields without using them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    tokenizer_class: Option<String>,
    /// Python writes 10³⁰ if there is no limit.
    model_max_length: Option<f64>,
    truncation_side: Option<String>,
    /// Whether special tokens in a text are cut into pieces.
    split_special_tokens: Option<bool>,
    pub(super) add_prefix_space: Option<bool>,
    pub(super) do_lower_case: Option<bool>,
    pub(super) tokenize_chinese_chars: Option<bool>,
    pub(super) strip_accents: Option<bool>,
    added_tokens_decoder: Map<String, Value>,
    /// The special tokens, as texts or as objects with a `content`.
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Config {
    /// The special token with this name, or otherwise the usual one.
    pub(super) fn token(&self, name: &str, usual: &str) -> String {
        let said = self.others.get(name);
        let said = said.and_then(|token| token.as_str().or_else(|| token.get("content")?.as_str()));
        said.unwrap_or(usual).to_owned()
    }
}

/// Which tokenizer a model has if `tokenizer_config.json` does not say.
#[derive(Deserialize)]
struct Model {
    model_type: Option<String>,
    tokenizer_class: Option<String>,
}

impl Tokens {
    /// Reads the tokenizer of a transformer.
    pub(super) fn read(dir: &Location, limits: &Limits, model: &Loaded) -> Result<Self, Error> {
        let (path, settings) = (dir.join("tokenizer.json"), dir.join("tokenizer_config.json"));
        let mut tokenizer = tokenizer(&path)?;
        let config: Config = if settings.exists() { read_json(&settings)? } else { Config::default() };
        check_added(&tokenizer, &config, &settings)?;
        check_dropout(&tokenizer, &path)?;
        let said: Model = read_json(&dir.join("config.json"))?;
        let class = config.tokenizer_class.as_deref().or(said.tokenizer_class.as_deref());
        let mut decided = match Class::of(class, said.model_type.as_deref()) {
            Some(class) => class.apply(&mut tokenizer, &config)?,
            None => Vec::new(),
        };
        if config.split_special_tokens == Some(true) {
            tokenizer.set_encode_special_tokens(true);
            decided.push("special tokens are cut into pieces".into());
        }
        if limits.lower_case {
            lower_case(&mut tokenizer)?;
        }
        let cut = match (limits.max_length, config.model_max_length) {
            (Some(length), _) => length.min(model.longest),
            (None, tokens) => {
                let length = tokens.map_or(usize::MAX, |tokens| tokens as usize).min(model.usual);
                decided.push(format!("cut to {length} tokens"));
                length
            }
        };
        let own = tokenizer.get_truncation().map(|truncation| truncation.direction);
        let direction = match limits.side.as_deref().or(config.truncation_side.as_deref()) {
            Some("left") => TruncationDirection::Left,
            Some("right") => TruncationDirection::Right,
            None => own.unwrap_or(TruncationDirection::Right),
            Some(other) => {
                let message = format!("truncation_side: it is {other}; left and right are known");
                return Err(Error::file(settings.path(), message));
            }
        };
        if matches!(direction, TruncationDirection::Left) {
            decided.push("cut on the left".into());
        }
        let params = TruncationParams { max_length: cut, direction, ..TruncationParams::default() };
        let params = (cut != usize::MAX).then_some(params);
        if cut < 3 {
            return Err(Error::file(path.path(), LEAST));
        }
        tokenizer.with_truncation(params).map_err(|error| Error::file(path.path(), error))?;
        Ok(Self { tokenizer, special: true, decided })
    }

    /// Reads the tokenizer of a static embedding, for which only `tokenizer.json` says how texts are cut.
    pub(super) fn of_static(dir: &Location) -> Result<Self, Error> {
        let tokenizer = tokenizer(&dir.join("tokenizer.json"))?;
        Ok(Self { tokenizer, special: false, decided: Vec::new() })
    }

    /// Cuts texts to `tokens` tokens, including special ones. Returns whether they could be longer before.
    pub(super) fn cut(&mut self, tokens: usize) -> Result<bool, String> {
        let limit = self.tokenizer.get_truncation().cloned();
        let before = limit.as_ref().map_or(usize::MAX, |limit| limit.max_length);
        if tokens < 3 {
            return Err(LEAST.into());
        }
        if tokens < before {
            let limit = TruncationParams { max_length: tokens, ..limit.unwrap_or_default() };
            self.tokenizer.with_truncation(Some(limit)).map_err(|error| error.to_string())?;
        }
        Ok(tokens < before)
    }

    /// The tokens of texts.
    pub(super) fn of(&self, texts: &[String]) -> Result<Vec<Vec<u32>>, Error> {
        let ids = |text: &String| -> Result<Vec<u32>, Error> {
            let encoding = self.tokenizer.encode_fast(text.as_str(), self.special).map_err(Error::Model)?;
            Ok(encoding.get_ids().to_vec())
        };
        if texts.len() <= FEW {
            return texts.iter().map(ids).collect();
        }
        // on threads of our own: the tokenizer's would be the host's
        let size = texts.len().div_ceil(threads()).min(MANY);
        let parts = in_parallel(&texts.chunks(size).collect::<Vec<_>>(), |part| {
            part.iter().map(ids).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// The bytes of a text that become tokens, from the first such byte to the end of the last. Parts that are cut
    /// off lie outside.
    pub(super) fn window(&self, text: &str) -> Result<Range<usize>, Error> {
        let encoding = self.tokenizer.encode(text, self.special).map_err(Error::Model)?;
        if encoding.get_overflowing().is_empty() {
            return Ok(0..text.len());
        }
        let own = encoding.get_offsets().iter().zip(encoding.get_special_tokens_mask());
        let own = own.filter(|(_, special)| **special == 0).map(|(offsets, _)| offsets);
        let (start, end) =
            own.fold((text.len(), 0), |(start, end), offsets| (start.min(offsets.0), end.max(offsets.1)));
        Ok(start.min(end)..end)
    }

    /// How many tokens come before a text's own if it follows this prompt: those of the prompt without the special
    /// token at its end, as Python counts them.
    pub(super) fn in_prompt(&self, prompt: &str) -> Result<usize, Error> {
        if prompt.is_empty() {
            return Ok(0);
        }
        let tokens = self.of(&[prompt.to_owned()])?.remove(0);
        let special =
            |id: &u32| self.tokenizer.get_added_tokens_decoder().get(id).is_some_and(|token| token.special);
        Ok(tokens.len() - usize::from(tokens.last().is_some_and(special)))
    }
}

/// Reads a tokenizer, without the padding that the file may ask for.
fn tokenizer(path: &Location) -> Result<Tokenizer, Error> {
    let mut tokenizer = Tokenizer::from_bytes(read(path)?).map_err(|error| stub::damaged(path, error))?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

/// # Errors
/// If `tokenizer_config.json` has tokens that the tokenizer does not have.
fn check_added(tokenizer: &Tokenizer, config: &Config, file: &Location) -> Result<(), Error> {
    for (id, token) in &config.added_tokens_decoder {
        let content = token.get("content").and_then(Value::as_str).unwrap_or_default();
        if tokenizer.token_to_id(content).is_none_or(|own| own.to_string() != *id) {
            let message = format!(
                "added_tokens_decoder: token {id} is not in tokenizer.json; save the tokenizer again"
            );
            return Err(Error::file(file.path(), message));
        }
    }
    Ok(())
}

/// # Errors
/// If the tokens of a text are chosen at random.
fn check_dropout(tokenizer: &Tokenizer, file: &Location) -> Result<(), Error> {
    match tokenizer.get_model() {
        ModelWrapper::BPE(model) if model.dropout.is_some_and(|share| share > 0.0) => {
            let message = "model.dropout: merges would be left out at random; set it to null";
            Err(Error::file(file.path(), message))
        }
        _ => Ok(()),
    }
}

/// Puts lower-casing in front of the normalizer.
fn lower_case(tokenizer: &mut Tokenizer) -> Result<(), Error> {
    let own = tokenizer.get_normalizer().cloned();
    let all = std::iter::once(NormalizerWrapper::Lowercase(Lowercase)).chain(own).collect();
    let all = NormalizerWrapper::Sequence(Sequence::new(all));
    tokenizer.with_normalizer(Some(all)).map(|_| ()).map_err(Error::Model)
}
