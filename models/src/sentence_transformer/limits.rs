//! `sentence_bert_config.json`: how the transformer is called.

use serde_json::{Value, json};

use super::fields::Fields;
use crate::Error;
use crate::location::Location;

/// The names that the file has had; Python takes the first that is not empty.
const NAMES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Arguments of Hugging Face's functions that say where and how a model is run, not what comes out.
const IRRELEVANT: [&str; 11] = [
    "trust_remote_code",
    "attn_implementation",
    "device_map",
    "dtype",
    "torch_dtype",
    "low_cpu_mem_usage",
    "use_safetensors",
    "add_pooling_layer",
    "use_fast",
    "padding_side",
    "use_cache",
];

/// What the file says.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits {
    /// Tokens of the longest text.
    pub(super) max_length: Option<usize>,
    /// The end at which longer texts are cut: `left` or `right`.
    pub(super) side: Option<String>,
    pub(super) lower_case: bool,
    pub(super) file: Option<Location>,
}

impl Limits {
    pub(super) fn read(dir: &Location) -> Result<Self, Error> {
        let Some(file) = NAMES.iter().map(|name| dir.join(name)).find(Location::exists) else {
            return Ok(Self::default());
        };
        let mut fields = Fields::read(&file)?;
        let mut limits =
            Self { max_length: fields.take("max_seq_length")?, file: Some(file), ..Self::default() };
        limits.lower_case = fields.take("do_lower_case")?.unwrap_or(false);
        fields.only("transformer_task", &[json!("feature-extraction")])?;
        fields.only("module_output_name", &[json!("token_embeddings")])?;
        modality(&mut fields)?;
        for name in ["processing_kwargs", "query_length", "document_length", "query_expansion"] {
            fields.only(name, &[])?;
        }
        fields.only("tokenizer_name_or_path", &[])?;
        // whether padding is left out in a batch
        fields.ignore(&["unpad_inputs"]);
        for (name, older) in [
            ("model_kwargs", "model_args"),
            ("processor_kwargs", "tokenizer_args"),
            ("config_kwargs", "config_args"),
        ] {
            for name in [name, older] {
                limits.arguments(&mut fields, name)?;
            }
        }
        fields.finish()?;
        Ok(limits)
    }

    /// Reads the arguments that are passed on to Hugging Face's functions.
    fn arguments(&mut self, fields: &mut Fields, name: &str) -> Result<(), Error> {
        let Some(arguments) = fields.take::<serde_json::Map<String, Value>>(name)? else { return Ok(()) };
        for (argument, value) in arguments {
            if value.is_null() || IRRELEVANT.contains(&argument.as_str()) {
                continue;
            }
            match (argument.as_str(), value) {
                ("model_max_length", Value::Number(length)) => {
                    self.max_length = length.as_u64().map(|length| length as usize);
                }
                ("truncation_side", Value::String(side)) => self.side = Some(side),
                (argument, _) => {
                    return Err(
                        fields.refuse(&format!("{name}.{argument}"), "only a model without it can be run")
                    );
                }
            }
        }
        Ok(())
    }
}

/// Checks that texts go to the model unchanged, and that its output is the last states.
fn modality(fields: &mut Fields) -> Result<(), Error> {
    let Some(mut modalities) = fields.take::<serde_json::Map<String, Value>>("modality_config")? else {
        return Ok(());
    };
    let text = modalities.remove("text");
    let usual = json!({ "method": "forward", "method_output_name": "last_hidden_state" });
    match (text, modalities.keys().next()) {
        (Some(text), None) if text == usual => Ok(()),
        (_, Some(other)) => Err(fields.refuse(
            "modality_config",
            format!("it has {other}; only text can be run, and without a chat template"),
        )),
        _ => Err(fields.refuse("modality_config", format!("only {{\"text\": {usual}}} can be run"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(content: &Value) -> Result<Limits, String> {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join(NAMES[1]), content.to_string()).unwrap();
        Limits::read(&place.path().into()).map_err(|error| error.to_string())
    }

    #[test]
    fn old_and_new_layouts_are_read() {
        let nothing = tempfile::tempdir().unwrap();
        assert_eq!(Limits::read(&nothing.path().into()).unwrap().max_length, None);
        let old = read(&json!({ "max_seq_length": 9, "do_lower_case": true })).unwrap();
        assert_eq!((old.max_length, old.lower_case), (Some(9), true));
        let new = json!({
            "transformer_task": "feature-extraction",
            "modality_config": { "text": { "method": "forward", "method_output_name": "last_hidden_state" } },
            "module_output_name": "token_embeddings",
            "processor_kwargs": { "model_max_length": 7, "truncation_side": "left" },
            "model_kwargs": { "attn_implementation": "sdpa" }
        });
        let new = read(&new).unwrap();
        assert_eq!((new.max_length, new.side.as_deref()), (Some(7), Some("left")));
    }

    #[test]
    fn what_cannot_be_honored_is_refused_by_name() {
        for (content, name) in [
            (json!({ "transformer_task": "fill-mask" }), "transformer_task"),
            (json!({ "modality_config": { "message": {} } }), "modality_config"),
            (json!({ "modality_config": { "text": { "method": "get_text_features" } } }), "modality_config"),
            (json!({ "processing_kwargs": { "text": { "max_length": 3 } } }), "processing_kwargs"),
            (json!({ "model_args": { "rope_scaling": {} } }), "model_args.rope_scaling"),
            (json!({ "config_kwargs": { "is_causal": false } }), "config_kwargs.is_causal"),
            (json!({ "query_length": 32 }), "query_length"),
            (json!({ "max_seq_length": "long" }), "max_seq_length"),
            (json!({ "stride": 1 }), "stride"),
        ] {
            let message = read(&content).unwrap_err();
            assert!(
                message.contains("sentence_roberta_config.json: ") && message.contains(name),
                "{message}"
            );
        }
    }
}
