//! A small BERT with made-up weights.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::{Value, json};

pub(crate) const WIDTH: usize = 64;
pub(crate) const WORDS: usize = 8192;
pub(crate) const LONGEST: usize = 128;
const WITHIN: usize = 160;
const LAYERS: usize = 2;

/// The embedder that comes with the attacks, a T5 encoder.
pub(crate) const REFERENCE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../attacks/models/reference/embedder");

/// `config.json`, as candle-transformers needs it.
pub(crate) fn config() -> Value {
    json!({
        "model_type": "bert",
        "vocab_size": WORDS,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "intermediate_size": WITHIN,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "max_position_embeddings": LONGEST,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0
    })
}

/// Weights by name. Norms are called as in older files.
pub(crate) fn weights() -> HashMap<String, Tensor> {
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![WORDS, WIDTH]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![LONGEST, WIDTH]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, WIDTH]),
    ];
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in (0..LAYERS).map(|layer| format!("encoder.layer.{layer}")) {
        for (name, to, from) in [
            ("attention.self.query", WIDTH, WIDTH),
            ("attention.self.key", WIDTH, WIDTH),
            ("attention.self.value", WIDTH, WIDTH),
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", WITHIN, WIDTH),
            ("output.dense", WIDTH, WITHIN),
        ] {
            shapes.push((format!("{layer}.{name}.weight"), vec![to, from]));
            shapes.push((format!("{layer}.{name}.bias"), vec![to]));
        }
        norms.extend(["attention.output", "output"].map(|name| format!("{layer}.{name}.LayerNorm")));
    }
    for norm in norms {
        shapes.extend(["gamma", "beta"].map(|name| (format!("{norm}.{name}"), vec![WIDTH])));
    }
    shapes.into_iter().enumerate().map(|(at, (name, shape))| (name, numbers(&shape, at))).collect()
}

/// Values that are no pattern.
pub(crate) fn numbers(shape: &[usize], seed: usize) -> Tensor {
    let count = shape.iter().product::<usize>();
    let value = |at: usize| ((at as f64 + 1.0) * 12.9898 + seed as f64 * 78.233).sin() as f32 * 0.4;
    Tensor::from_vec((0..count).map(value).collect::<Vec<_>>(), shape, &Device::Cpu).unwrap()
}

/// Writes a sentence-transformers folder with the small BERT and the reference's tokenizer.
#[allow(dead_code, reason = "not every test needs a folder")]
pub(crate) fn write(folder: &Path) {
    let modules = json!([
        { "idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer" },
        { "idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling" },
        { "idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize" }
    ]);
    fs::create_dir(folder.join("1_Pooling")).unwrap();
    for (name, content) in [
        ("modules.json", modules),
        ("config.json", config()),
        ("sentence_bert_config.json", json!({ "max_seq_length": LONGEST })),
        ("1_Pooling/config.json", json!({ "pooling_mode_mean_tokens": true })),
    ] {
        fs::write(folder.join(name), content.to_string()).unwrap();
    }
    fs::copy(Path::new(REFERENCE).join("tokenizer.json"), folder.join("tokenizer.json")).unwrap();
    candle_core::safetensors::save(&weights(), folder.join("model.safetensors")).unwrap();
}
