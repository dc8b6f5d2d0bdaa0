//! A small BERT and a small T5 with made-up weights.

pub(crate) mod folders;
#[allow(dead_code, reason = "one test compares gradients")]
pub(crate) mod gradients;

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

/// The weights of the T5's encoder by name.
fn t5_weights(gated: bool) -> HashMap<String, Tensor> {
    let mut shapes = vec![
        ("shared.weight".to_owned(), vec![WORDS, WIDTH]),
        ("encoder.final_layer_norm.weight".to_owned(), vec![WIDTH]),
        ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight".to_owned(), vec![16, 4]),
    ];
    for block in (0..LAYERS).map(|block| format!("encoder.block.{block}.layer")) {
        let inner = if gated { vec!["wi_0", "wi_1"] } else { vec!["wi"] };
        let inner = inner.into_iter().map(|name| (format!("1.DenseReluDense.{name}"), vec![WITHIN, WIDTH]));
        let attention =
            ["q", "k", "v", "o"].map(|name| (format!("0.SelfAttention.{name}"), vec![WIDTH, WIDTH]));
        let norms = ["0", "1"].map(|layer| (format!("{layer}.layer_norm"), vec![WIDTH]));
        let outer = [("1.DenseReluDense.wo".to_owned(), vec![WIDTH, WITHIN])];
        let all = inner.chain(attention).chain(norms).chain(outer);
        shapes.extend(all.map(|(name, shape)| (format!("{block}.{name}.weight"), shape)));
    }
    shapes.into_iter().enumerate().map(|(at, (name, shape))| (name, numbers(&shape, at))).collect()
}

/// Writes a sentence-transformers folder of a kind: `bert` with an activation, or `t5` with a feed-forward layer.
#[allow(dead_code, reason = "not every test needs one")]
pub(crate) fn write_kind(folder: &Path, model: &str, layer: &str) {
    write(folder);
    let (config, weights) = if model == "bert" {
        let mut config = config();
        config["hidden_act"] = layer.into();
        (config, weights())
    } else {
        (json!({ "model_type": "t5", "feed_forward_proj": layer }), t5_weights(layer == "gated-gelu"))
    };
    let weights: HashMap<String, Tensor> =
        weights.into_iter().map(|(name, tensor)| (name.clone(), trained(&name, &tensor))).collect();
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    candle_core::safetensors::save(&weights, folder.join("model.safetensors")).unwrap();
}

/// A tensor of that shape as training begins with it, so that no norm and no attention is saturated.
fn trained(name: &str, tensor: &Tensor) -> Tensor {
    let uniform = |at: usize| (hash(name, at) >> 40) as f32 / (1 << 23) as f32 - 1.0;
    let is_norm = name.ends_with("gamma") || name.ends_with("norm.weight");
    let (shift, scale) = match *tensor.dims() {
        [_, width] if !name.contains("embeddings") => (0.0, (3.0 / width as f32).sqrt()),
        [_, _] => (0.0, 1.0),
        _ => (f32::from(u8::from(is_norm)), 0.2),
    };
    let values: Vec<f32> = (0..tensor.elem_count()).map(|at| shift + scale * uniform(at)).collect();
    Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap()
}

/// FNV-1a, and then the last step of SplitMix64: the standard library's hashes may change.
fn hash(name: &str, at: usize) -> u64 {
    let bytes = name.bytes().chain(at.to_le_bytes());
    let mut bits = bytes.fold(0xcbf2_9ce4_8422_2325, |bits: u64, byte| {
        (bits ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
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
