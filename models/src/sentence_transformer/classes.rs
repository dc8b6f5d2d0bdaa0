//! What the tokenizer classes of Hugging Face's transformers build themselves.
//!
//! Since transformers 5, a class takes the vocabulary, the merges and the added tokens from `tokenizer.json`, and
//! builds the rest from its own settings. If `tokenizer.json` says something else, the class wins. A tokenizer stays
//! as `tokenizer.json` says if its model is not of its class's kind, or its class is not listed here.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::{
    Encoding, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Token, Tokenizer,
};

use super::tokens::Config;
use crate::Error;

/// How Qwen2's tokenizer cuts a text into words.
const QWEN2_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The classes that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// `BertTokenizer`, and those that are the same under other names.
    Bert,
    Mpnet,
    Roberta,
    XlmRoberta,
    Qwen2,
}

impl Class {
    /// The class with this name, or otherwise the class that a model uses.
    pub(super) fn of(name: Option<&str>, model_type: Option<&str>) -> Option<Self> {
        // transformers takes the file as it is, whatever class is named
        if model_type == Some("modernbert") {
            return None;
        }
        let Some(name) = name else {
            return match model_type? {
                "bert" | "distilbert" | "nomic_bert" => Some(Self::Bert),
                "mpnet" => Some(Self::Mpnet),
                "roberta" => Some(Self::Roberta),
                "xlm-roberta" => Some(Self::XlmRoberta),
                "qwen3" => Some(Self::Qwen2),
                _ => None,
            };
        };
        match name.strip_suffix("Fast").unwrap_or(name) {
            "BertTokenizer" | "DistilBertTokenizer" | "ElectraTokenizer" => Some(Self::Bert),
            "MPNetTokenizer" => Some(Self::Mpnet),
            "RobertaTokenizer" => Some(Self::Roberta),
            "XLMRobertaTokenizer" => Some(Self::XlmRoberta),
            "Qwen2Tokenizer" => Some(Self::Qwen2),
            _ => None,
        }
    }

    /// Changes the tokenizer as the class does. Returns what now differs from `tokenizer.json`.
    pub(super) fn apply(self, tokenizer: &mut Tokenizer, config: &Config) -> Result<Vec<String>, Error> {
        let fits = match tokenizer.get_model() {
            ModelWrapper::WordPiece(_) => matches!(self, Self::Bert | Self::Mpnet),
            ModelWrapper::BPE(_) => matches!(self, Self::Roberta | Self::Qwen2),
            ModelWrapper::Unigram(_) => self == Self::XlmRoberta,
            ModelWrapper::WordLevel(_) => false,
        };
        if !fits {
            return Ok(Vec::new());
        }
        let mut changed = Vec::new();
        changed.extend(self.set_normalizer(tokenizer, config)?);
        changed.extend(self.set_words(tokenizer, config)?);
        changed.extend(self.set_frame(tokenizer, config)?);
        Ok(changed)
    }

    fn set_normalizer(self, tokenizer: &mut Tokenizer, config: &Config) -> Result<Option<String>, Error> {
        if matches!(self, Self::Bert | Self::Mpnet) {
            return bert_normalizer(tokenizer, config);
        }
        let own = shown(tokenizer.get_normalizer())?;
        let wanted = match self {
            Self::Qwen2 => json!({ "type": "NFC" }),
            Self::XlmRoberta => precompiled(&own),
            _ => Value::Null,
        };
        if own == wanted {
            return Ok(None);
        }
        tokenizer.with_normalizer(built::<Option<NormalizerWrapper>>(&wanted)?).map_err(Error::Model)?;
        Ok(Some(format!("normalizer of {self:?}")))
    }

    /// Sets how texts are cut into words.
    fn set_words(self, tokenizer: &mut Tokenizer, config: &Config) -> Result<Option<String>, Error> {
        let prefix = config.add_prefix_space;
        let byte_level = |prefix: bool, regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": regex });
        let wanted = match self {
            Self::Bert | Self::Mpnet => json!({ "type": "BertPreTokenizer" }),
            Self::Roberta => byte_level(prefix.unwrap_or(false), true),
            Self::XlmRoberta => {
                let scheme = if prefix.unwrap_or(true) { "always" } else { "never" };
                json!({ "type": "Sequence", "pretokenizers": [
                    { "type": "WhitespaceSplit" },
                    { "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme, "split": true },
                ] })
            }
            Self::Qwen2 => json!({ "type": "Sequence", "pretokenizers": [
                { "type": "Split", "pattern": { "Regex": QWEN2_WORDS }, "behavior": "Isolated", "invert": false },
                byte_level(prefix.unwrap_or(false), false),
            ] }),
        };
        let mut own = shown(tokenizer.get_pre_tokenizer())?;
        // where a word's bytes begin changes no token
        without(&mut own, "trim_offsets");
        let mut same = wanted.clone();
        without(&mut same, "trim_offsets");
        if own == same {
            return Ok(None);
        }
        tokenizer.with_pre_tokenizer(built::<Option<PreTokenizerWrapper>>(&wanted)?);
        Ok(Some(format!("words of {self:?}, prefix {prefix:?}")))
    }

    /// Sets which tokens surround a text.
    fn set_frame(self, tokenizer: &mut Tokenizer, config: &Config) -> Result<Option<String>, Error> {
        let (first, last) = match self {
            Self::Bert => (config.token("cls_token", "[CLS]"), config.token("sep_token", "[SEP]")),
            Self::Mpnet | Self::Roberta => {
                (config.token("cls_token", "<s>"), config.token("sep_token", "</s>"))
            }
            Self::XlmRoberta => (config.token("bos_token", "<s>"), config.token("eos_token", "</s>")),
            // what tokenizer.json says
            Self::Qwen2 => return Ok(None),
        };
        let ids = (tokenizer.token_to_id(&first), tokenizer.token_to_id(&last));
        let (Some(first_id), Some(last_id)) = ids else { return Ok(None) };
        if framed(tokenizer)? == [first_id, 0, last_id] {
            return Ok(None);
        }
        let wanted = json!({
            "type": "RobertaProcessing", "sep": [last, last_id], "cls": [first, first_id],
            "trim_offsets": true, "add_prefix_space": false,
        });
        tokenizer.with_post_processor(built::<Option<PostProcessorWrapper>>(&wanted)?);
        Ok(Some(format!("between {first_id} and {last_id}")))
    }
}

fn bert_normalizer(tokenizer: &mut Tokenizer, config: &Config) -> Result<Option<String>, Error> {
    let wanted = BertNormalizer::new(
        true,
        config.tokenize_chinese_chars.unwrap_or(true),
        config.strip_accents,
        config.do_lower_case.unwrap_or(true),
    );
    let name = format!("{wanted:?}");
    match tokenizer.get_normalizer() {
        Some(NormalizerWrapper::BertNormalizer(own)) if format!("{own:?}") == name => return Ok(None),
        _ => {}
    }
    tokenizer.with_normalizer(Some(NormalizerWrapper::BertNormalizer(wanted))).map_err(Error::Model)?;
    Ok(Some(name))
}

/// The first part of a normalizer that is SentencePiece's own.
fn precompiled(own: &Value) -> Value {
    let is_one = |part: &&Value| part["type"] == "Precompiled";
    let parts = own["normalizers"].as_array().map_or(std::slice::from_ref(own), Vec::as_slice);
    parts.iter().find(is_one).cloned().unwrap_or_default()
}

/// The tokens of a text whose only token is 0.
fn framed(tokenizer: &Tokenizer) -> Result<Vec<u32>, Error> {
    let text = Encoding::from_tokens(vec![Token::new(0, String::new(), (0, 0))], 0);
    Ok(tokenizer.post_process(text, None, true).map_err(Error::Model)?.get_ids().to_vec())
}

fn shown(part: Option<&impl Serialize>) -> Result<Value, Error> {
    serde_json::to_value(part).map_err(|error| Error::Model(error.into()))
}

fn built<T: DeserializeOwned>(part: &Value) -> Result<T, Error> {
    T::deserialize(part).map_err(|error| Error::Model(error.into()))
}

/// Removes a field here and in everything within.
fn without(part: &mut Value, name: &str) {
    match part {
        Value::Object(fields) => {
            fields.remove(name);
            fields.values_mut().for_each(|value| without(value, name));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| without(value, name)),
        _ => {}
    }
}
