//! The `config.json` of a BERT, or of a model built like one.

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

/// The models that are built like BERT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Family {
    #[default]
    Bert,
    /// RoBERTa and XLM-RoBERTa.
    Roberta,
    Mpnet,
    DistilBert,
}

impl Family {
    /// The family of a `model_type`; BERT if there is none.
    pub(crate) fn of(model_type: Option<&str>) -> Option<Self> {
        match model_type {
            None | Some("bert") => Some(Self::Bert),
            Some("roberta" | "xlm-roberta") => Some(Self::Roberta),
            Some("mpnet") => Some(Self::Mpnet),
            Some("distilbert") => Some(Self::DistilBert),
            Some(_) => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bert => "BERT",
            Self::Roberta => "RoBERTa",
            Self::Mpnet => "MPNet",
            Self::DistilBert => "DistilBERT",
        }
    }
}

/// The `config.json` of a BERT, RoBERTa, XLM-RoBERTa, MPNet or DistilBERT, with Hugging Face's defaults for its
/// `model_type`. Other fields do not change the states.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, remote = "Self")]
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
    /// Rows of the table of positions. [`longest`](Self::longest) returns how many a text can use.
    pub max_position_embeddings: usize,
    /// Kinds of tokens; texts have the first.
    pub type_vocab_size: usize,
    #[serde(skip)]
    pub(super) family: Family,
    pub(super) hidden_act: Activation,
    pub(super) layer_norm_eps: f64,
    pad_token_id: Option<u32>,
    relative_attention_num_buckets: usize,
    position_embedding_type: Positions,
    is_decoder: bool,
    quantization_config: Option<Value>,
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
            family: Family::Bert,
            hidden_act: Activation::Gelu,
            layer_norm_eps: 1e-12,
            pad_token_id: None,
            relative_attention_num_buckets: BUCKETS,
            position_embedding_type: Positions::Absolute,
            is_decoder: false,
            quantization_config: None,
        }
    }
}

/// Buckets of MPNet's relative positions: Hugging Face's model has this many, whatever `config.json` says.
const BUCKETS: usize = 32;
/// The epsilon of DistilBERT's norms, which its `config.json` does not state.
const DISTILBERT_EPSILON: f64 = 1e-12;
/// DistilBERT's names for the fields of BERT. Hugging Face reads the first three under either name.
const DISTILBERT_NAMES: [(&str, &str); 5] = [
    ("dim", "hidden_size"),
    ("n_layers", "num_hidden_layers"),
    ("n_heads", "num_attention_heads"),
    ("hidden_dim", "intermediate_size"),
    ("activation", "hidden_act"),
];

impl<'de> Deserialize<'de> for BertConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let model_type = fields.get("model_type").and_then(Value::as_str).map(String::from);
        let family = Family::of(model_type.as_deref())
            .ok_or_else(|| de::Error::custom("model_type: it is not built like BERT"))?;
        if family == Family::DistilBert {
            renamed(&mut fields);
        }
        for (name, default) in defaults(model_type.as_deref().unwrap_or_default()) {
            fields.entry(*name).or_insert_with(|| (*default).into());
        }
        let config = Self::deserialize(Value::Object(fields)).map_err(de::Error::custom)?;
        Ok(Self { family, ..config })
    }
}

/// Gives fields of a DistilBERT the names that they have in a BERT.
fn renamed(fields: &mut Map<String, Value>) {
    for (at, (own, usual)) in DISTILBERT_NAMES.into_iter().enumerate() {
        let other = fields.remove(usual).filter(|_| at < 3);
        if let Some(value) = fields.remove(own).or(other) {
            fields.insert(usual.into(), value);
        }
    }
    fields.insert("layer_norm_eps".into(), DISTILBERT_EPSILON.into());
    // a table of them is among the weights, however it was made
    fields.remove("position_embedding_type");
}

/// The defaults of Hugging Face's classes that are not those of `BertConfig`.
fn defaults(model_type: &str) -> &'static [(&'static str, u32)] {
    match model_type {
        "roberta" => &[("vocab_size", 50265), ("pad_token_id", 1)],
        "xlm-roberta" => &[("pad_token_id", 1)],
        "mpnet" => &[("vocab_size", 30527)],
        "distilbert" => &[("num_hidden_layers", 6)],
        _ => &[],
    }
}

impl BertConfig {
    /// The padding token, if positions do not count it. They begin after its id.
    pub(super) fn padding(&self) -> Option<u32> {
        match self.family {
            Family::Roberta => self.pad_token_id,
            // whatever config.json says
            Family::Mpnet => Some(1),
            Family::Bert | Family::DistilBert => None,
        }
    }

    /// Returns how many tokens the longest text has.
    pub fn longest(&self) -> usize {
        let unused = self.padding().map_or(0, |padding| padding as usize + 1);
        self.max_position_embeddings.saturating_sub(unused)
    }

    /// What in it cannot be run, if anything.
    pub(super) fn refused(&self) -> Option<&'static str> {
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
            return Some("is_decoder: a model whose tokens see only those before them cannot be run");
        }
        if self.family == Family::Roberta && self.pad_token_id.is_none() {
            return Some("pad_token_id: it is null, and positions are counted from it");
        }
        if self.family == Family::Mpnet && self.relative_attention_num_buckets != BUCKETS {
            return Some("relative_attention_num_buckets: only 32 can be run");
        }
        self.quantization_config
            .as_ref()
            .map(|_| "quantization_config: quantized weights cannot be run; save them in 16 or 32 bits")
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) enum Activation {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> BertConfig {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn missing_fields_have_the_defaults_of_their_class() {
        for (config, vocabulary, layers, longest) in [
            (json!({}), 30522, 12, 512),
            (json!({ "model_type": "bert" }), 30522, 12, 512),
            (json!({ "model_type": "roberta" }), 50265, 12, 510),
            (json!({ "model_type": "roberta", "pad_token_id": 0 }), 50265, 12, 511),
            (json!({ "model_type": "xlm-roberta", "max_position_embeddings": 514 }), 30522, 12, 512),
            (json!({ "model_type": "mpnet", "pad_token_id": 7 }), 30527, 12, 510),
            (json!({ "model_type": "distilbert" }), 30522, 6, 512),
        ] {
            let found = read(config.clone());
            assert_eq!(
                (found.vocab_size, found.num_hidden_layers, found.longest()),
                (vocabulary, layers, longest),
                "{config}"
            );
            assert_eq!(found.refused(), None, "{config}");
        }
    }

    #[test]
    fn names_of_distilbert_are_its_own() {
        let found = read(json!({
            "model_type": "distilbert", "dim": 24, "num_hidden_layers": 3, "n_heads": 4, "hidden_dim": 40,
            "intermediate_size": 9, "activation": "relu", "hidden_act": "gelu", "layer_norm_eps": 0.1
        }));
        assert_eq!((found.hidden_size, found.num_hidden_layers, found.intermediate_size), (24, 3, 40));
        assert!(matches!(found.hidden_act, Activation::Relu) && found.layer_norm_eps < 1e-11);
        // a BERT knows none of them
        assert_eq!(read(json!({ "dim": 24, "activation": "relu" })).hidden_size, 768);
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_name() {
        for (config, name) in [
            (json!({ "model_type": "roberta", "pad_token_id": null }), "pad_token_id"),
            (json!({ "model_type": "roberta", "is_decoder": true }), "is_decoder"),
            (
                json!({ "model_type": "mpnet", "relative_attention_num_buckets": 16 }),
                "relative_attention_num",
            ),
            (json!({ "model_type": "distilbert", "activation": "silu" }), "hidden_act"),
            (json!({ "model_type": "xlm-roberta", "quantization_config": {} }), "quantization_config"),
        ] {
            let refused = read(config.clone()).refused();
            assert!(refused.is_some_and(|message| message.starts_with(name)), "{config}: {refused:?}");
        }
        assert!(serde_json::from_value::<BertConfig>(json!({ "model_type": "t5" })).is_err());
    }
}
