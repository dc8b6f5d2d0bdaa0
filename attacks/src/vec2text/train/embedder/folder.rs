//! The files of a sentence-transformers folder beside its weights.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use embosk_models::t5::{EOS, EPSILON, MAX_DISTANCE, PAD};
use embosk_models::weights::Weights;
use serde_json::{Value, json};
use tokenizers::Tokenizer;

use super::super::super::config::Preset;
use super::super::initial::BUCKETS;
use super::super::saved::Files;
use crate::Error;

/// The folder of the dense layer.
pub(super) const DENSE: &str = "2_Dense";

/// All of these files, for an embedder with `vocabulary` word pieces and vectors of dimension `dim`.
pub(super) fn files(
    preset: &Preset,
    vocabulary: usize,
    dim: usize,
    tokenizer: &Tokenizer,
) -> Result<Files, Error> {
    let written = [
        ("modules.json", modules()),
        ("config.json", config(preset, vocabulary)),
        ("sentence_bert_config.json", json!({ "max_seq_length": preset.max_length, "do_lower_case": false })),
        (
            "config_sentence_transformers.json",
            json!({ "prompts": {}, "default_prompt_name": null, "similarity_fn_name": "cosine" }),
        ),
        ("tokenizer_config.json", tokenizer_config(preset)),
        ("special_tokens_map.json", special_tokens()),
        ("1_Pooling/config.json", pooling(preset.width)),
        ("2_Dense/config.json", dense(preset.width, dim)),
    ];
    let mut files = Files::new();
    for (name, value) in written {
        let text = serde_json::to_string_pretty(&value).map_err(|error| Error::Model(error.into()))? + "\n";
        files.push((name, text.into_bytes()));
    }
    files.push(("tokenizer.json", tokenizer.to_string(false).map_err(Error::Model)?.into_bytes()));
    Ok(files)
}

/// The word pieces of an embedder that was trained before.
pub(super) fn tokenizer(dir: &Path) -> Result<Tokenizer, Error> {
    let path = dir.join("tokenizer.json");
    Tokenizer::from_file(&path).map_err(|error| Error::File { path, message: error.to_string() })
}

/// The weights of an embedder that was trained before: those in `wanted`, with the same shapes.
pub(super) fn weights(
    dir: &Path,
    wanted: &BTreeMap<String, Tensor>,
) -> Result<BTreeMap<String, Tensor>, Error> {
    let (mut encoder, mut dense) = (Weights::find(dir)?, Weights::find(dir.join(DENSE))?);
    let mut found = BTreeMap::new();
    for (name, like) in wanted {
        let from = if encoder.has(name) { &mut encoder } else { &mut dense };
        let tensor = from.tensor(name)?;
        if tensor.dims() != like.dims() {
            let (path, dims) = (from.path().to_owned(), tensor.dims());
            let message = format!("{name} is {dims:?}, and a new embedder's {:?}", like.dims());
            return Err(Error::File { path, message });
        }
        found.insert(name.clone(), tensor);
    }
    Ok(found)
}

fn modules() -> Value {
    let module = |index: usize, path: &str, kind: &str| {
        let kind = format!("sentence_transformers.models.{kind}");
        json!({ "idx": index, "name": index.to_string(), "path": path, "type": kind })
    };
    json!([
        module(0, "", "Transformer"),
        module(1, "1_Pooling", "Pooling"),
        module(2, DENSE, "Dense"),
        module(3, "3_Normalize", "Normalize"),
    ])
}

fn config(preset: &Preset, vocabulary: usize) -> Value {
    json!({
        "architectures": ["T5EncoderModel"],
        "model_type": "t5",
        "vocab_size": vocabulary,
        "d_model": preset.width,
        "d_kv": preset.width / preset.heads,
        "d_ff": preset.feed_forward,
        "num_layers": preset.encoder_layers,
        "num_heads": preset.heads,
        "relative_attention_num_buckets": BUCKETS,
        "relative_attention_max_distance": MAX_DISTANCE,
        "feed_forward_proj": "relu",
        "layer_norm_epsilon": f64::from(EPSILON),
        "dropout_rate": 0.0,
        "tie_word_embeddings": true,
        "use_cache": false,
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "decoder_start_token_id": PAD,
        // stored in half precision, and run in single
        "torch_dtype": "float32",
    })
}

fn special_tokens() -> Value {
    json!({ "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "[UNK]" })
}

fn tokenizer_config(preset: &Preset) -> Value {
    let mut config = special_tokens();
    config["tokenizer_class"] = json!("PreTrainedTokenizerFast");
    config["model_max_length"] = json!(preset.max_length);
    config["clean_up_tokenization_spaces"] = json!(false);
    // a T5 takes no token types
    config["model_input_names"] = json!(["input_ids", "attention_mask"]);
    config
}

fn pooling(width: usize) -> Value {
    json!({
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": false,
        "pooling_mode_mean_tokens": true,
        "pooling_mode_max_tokens": false,
        "pooling_mode_mean_sqrt_len_tokens": false,
        "pooling_mode_weightedmean_tokens": false,
        "pooling_mode_lasttoken": false,
        "include_prompt": true,
    })
}

fn dense(width: usize, dim: usize) -> Value {
    json!({
        "in_features": width,
        "out_features": dim,
        "bias": false,
        "activation_function": "torch.nn.modules.linear.Identity",
    })
}
