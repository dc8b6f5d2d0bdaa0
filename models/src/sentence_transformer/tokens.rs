//! `tokenizer.json` and `tokenizer_config.json`: how a text becomes tokens, and how many.

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::normalizers::{BertNormalizer, Lowercase, Sequence};
use tokenizers::{NormalizerWrapper, Tokenizer, TruncationDirection, TruncationParams};

use super::files::{read, read_json};
use super::limits::Limits;
use crate::location::Location;
use crate::threads::{in_parallel, threads};
use crate::{Error, stub};

/// Classes of Hugging Face's transformers whose own settings stand above the normalizer of `tokenizer.json`.
const BERT_CLASSES: [&str; 3] = ["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"];
/// Why texts cannot be cut shorter.
const LEAST: &str = "a text may have no token beside the first and the last";

/// Texts that are turned into tokens on the calling thread, at most.
const FEW: usize = 32;
/// Texts that a thread turns into tokens at a time, at most.
const MANY: usize = 1024;

/// What makes tokens of texts.
pub(super) struct Tokens {
    pub(super) tokenizer: Tokenizer,
    /// Whether tokens that belong to no word stand around a text.
    pub(super) special: bool,
    /// What was decided by other files than `tokenizer.json` and `sentence_bert_config.json`.
    pub(super) decided: Vec<String>,
}

/// The fields of `tokenizer_config.json` that change what the tokenizer does.
///
/// All others either say again what `tokenizer.json` says, or concern decoding, padding or training. A transformers
/// tokenizer keeps unknown fields without using them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    tokenizer_class: Option<String>,
    /// Python writes 10³⁰ where there is no limit.
    model_max_length: Option<f64>,
    truncation_side: Option<String>,
    do_lower_case: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    strip_accents: Option<bool>,
    added_tokens_decoder: Map<String, Value>,
}

/// Which tokenizer a model has where `tokenizer_config.json` does not say.
#[derive(Deserialize)]
struct Model {
    model_type: Option<String>,
}

impl Tokens {
    /// Reads the tokenizer of a transformer that takes at most `longest` tokens.
    pub(super) fn read(dir: &Location, limits: &Limits, longest: usize) -> Result<Self, Error> {
        let (path, settings) = (dir.join("tokenizer.json"), dir.join("tokenizer_config.json"));
        let mut tokenizer = tokenizer(&path)?;
        let config: Config = if settings.exists() { read_json(&settings)? } else { Config::default() };
        check_added(&tokenizer, &config, &settings)?;
        let mut decided = Vec::new();
        decided.extend(reset_normalizer(&mut tokenizer, &config, dir)?);
        if limits.lower_case {
            lower_case(&mut tokenizer)?;
        }
        let cut = match (limits.max_length, config.model_max_length) {
            (Some(length), _) => length.min(longest),
            (None, tokens) => {
                let length = tokens.map_or(usize::MAX, |tokens| tokens as usize).min(longest);
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
        tokenizer.with_padding(None);
        Ok(Self { tokenizer, special: true, decided })
    }

    /// Reads the tokenizer of a static embedding, whose texts are cut as `tokenizer.json` alone says.
    pub(super) fn of_static(dir: &Location) -> Result<Self, Error> {
        let mut tokenizer = tokenizer(&dir.join("tokenizer.json"))?;
        tokenizer.with_padding(None);
        Ok(Self { tokenizer, special: false, decided: Vec::new() })
    }

    /// Cuts texts to so many tokens, the special ones among them. Returns whether they were longer before.
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

    /// How many tokens stand in front of a text's own, if the text stands behind this prompt: those of the prompt
    /// without the special token at its end, as Python counts them.
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

fn tokenizer(path: &Location) -> Result<Tokenizer, Error> {
    Tokenizer::from_bytes(read(path)?).map_err(|error| stub::damaged(path, error))
}

/// # Errors
/// Where `tokenizer_config.json` has tokens that the tokenizer does not have.
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

/// Makes the normalizer what a BERT tokenizer of transformers makes of its settings, whatever `tokenizer.json` says.
/// Returns what it is now, if it was another before.
fn reset_normalizer(
    tokenizer: &mut Tokenizer,
    config: &Config,
    dir: &Location,
) -> Result<Option<String>, Error> {
    let class = match &config.tokenizer_class {
        Some(class) => class.clone(),
        None => match read_json::<Model>(&dir.join("config.json"))?.model_type.as_deref() {
            Some("bert") => "BertTokenizer".into(),
            _ => return Ok(None),
        },
    };
    let is_bert = BERT_CLASSES.contains(&class.strip_suffix("Fast").unwrap_or(&class));
    let Some(NormalizerWrapper::BertNormalizer(own)) = tokenizer.get_normalizer() else { return Ok(None) };
    let wanted = BertNormalizer::new(
        own.clean_text,
        config.tokenize_chinese_chars.unwrap_or(true),
        config.strip_accents,
        config.do_lower_case.unwrap_or(true),
    );
    let same = own.handle_chinese_chars == wanted.handle_chinese_chars
        && own.strip_accents == wanted.strip_accents
        && own.lowercase == wanted.lowercase;
    if !is_bert || same {
        return Ok(None);
    }
    let name = format!("{wanted:?}");
    tokenizer.with_normalizer(Some(NormalizerWrapper::BertNormalizer(wanted))).map_err(Error::Model)?;
    Ok(Some(name))
}

/// Puts lower-casing in front of the normalizer.
fn lower_case(tokenizer: &mut Tokenizer) -> Result<(), Error> {
    let own = tokenizer.get_normalizer().cloned();
    let all = std::iter::once(NormalizerWrapper::Lowercase(Lowercase)).chain(own).collect();
    let all = NormalizerWrapper::Sequence(Sequence::new(all));
    tokenizer.with_normalizer(Some(all)).map(|_| ()).map_err(Error::Model)
}
