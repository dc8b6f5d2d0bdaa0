//! Each architecture against Python's sentence-transformers (models/tests/golden/architectures.py).
#![allow(clippy::unwrap_used)]

#[path = "common/slopes.rs"]
mod slopes;

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use embosk_models::{Error, SentenceTransformer};
use ndarray::{Array2, ArrayView1};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use self::slopes::Embeddings;

/// Those whose gradients are computed.
const WITH_GRADIENTS: [&str; 4] = ["distilbert", "mpnet", "roberta", "xlm-roberta"];
const WITHOUT_GRADIENTS: [&str; 4] = ["modernbert", "nomic", "nomic-newer", "qwen3"];

#[derive(Deserialize)]
struct Expected {
    vectors: Vec<Vec<f32>>,
    queries: Vec<Vec<f32>>,
    documents: Vec<Vec<f32>>,
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/architectures")
}

fn texts() -> Vec<String> {
    serde_json::from_slice(&fs::read(data().join("texts.json")).unwrap()).unwrap()
}

fn expected(name: &str) -> Expected {
    serde_json::from_slice(&fs::read(data().join(name).join("expected.json")).unwrap()).unwrap()
}

fn load(name: &str) -> SentenceTransformer {
    SentenceTransformer::load(data().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn cosine(a: ArrayView1<'_, f32>, b: &[f32]) -> f64 {
    let wide = |of: f32| f64::from(of);
    let dot: f64 = a.iter().zip(b).map(|(a, b)| wide(*a) * wide(*b)).sum();
    let squares = |of: &mut dyn Iterator<Item = f64>| of.map(|value| value * value).sum::<f64>();
    dot / (squares(&mut a.iter().copied().map(wide)) * squares(&mut b.iter().copied().map(wide))).sqrt()
}

fn agree(found: &Array2<f32>, expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.dim(), (expected.len(), expected[0].len()), "{what}");
    for (row, (found, expected)) in found.rows().into_iter().zip(expected).enumerate() {
        assert!(cosine(found, expected) > 0.999_99, "{what}, text {row}: {}", cosine(found, expected));
        let largest = expected.iter().fold(0f32, |most, value| most.max(value.abs()));
        let furthest = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(furthest < 1e-4 * largest, "{what}, text {row}: {furthest} of {largest}");
    }
}

/// Together, where they are padded, and alone.
#[test]
fn each_agrees_with_sentence_transformers() {
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(texts.len(), 30);
    for name in WITH_GRADIENTS.into_iter().chain(WITHOUT_GRADIENTS) {
        let (model, expected) = (load(name), expected(name));
        assert!(model.has_roles() && expected.queries != expected.documents);
        agree(&model.encode(&texts).unwrap(), &expected.vectors, name);
        agree(&model.encode_queries(&texts).unwrap(), &expected.queries, &format!("{name}, queries"));
        agree(&model.encode_documents(&texts).unwrap(), &expected.documents, &format!("{name}, documents"));
        for (row, text) in texts.iter().enumerate() {
            agree(&model.encode(&[text]).unwrap(), &expected.vectors[row..=row], &format!("{name}, alone"));
        }
    }
}

#[derive(Deserialize)]
struct Classes {
    texts: Vec<String>,
    tokenizers: Vec<Changed>,
}

/// A folder with other files of its tokenizer.
#[derive(Deserialize)]
struct Changed {
    folder: String,
    /// Written over fields of `tokenizer_config.json`; `null` removes one.
    config: Map<String, Value>,
    /// Written over parts of `tokenizer.json`.
    parts: Map<String, Value>,
    vectors: Vec<Vec<f32>>,
}

/// A class builds some parts of its tokenizer itself, whatever `tokenizer.json` says of them.
#[test]
fn tokenizers_are_what_their_class_makes_of_them() {
    let classes: Classes = serde_json::from_slice(&fs::read(data().join("classes.json")).unwrap()).unwrap();
    let texts: Vec<&str> = classes.texts.iter().map(String::as_str).collect();
    assert!(classes.tokenizers.len() > 10);
    for Changed { folder, config, parts, vectors } in classes.tokenizers {
        let place = copy(&folder, &json!({}));
        let what = format!("{folder} {config:?} {:?}", parts.keys());
        for (name, fields) in [("tokenizer_config.json", config), ("tokenizer.json", parts)] {
            let path = place.path().join(name);
            let mut file: Map<String, Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            file.extend(fields);
            if name == "tokenizer_config.json" {
                file.retain(|_, value| !value.is_null());
            }
            fs::write(path, Value::Object(file).to_string()).unwrap();
        }
        let model = SentenceTransformer::load(place.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = model.encode(&texts).unwrap();
        agree(&found, &vectors, &what);
        let usual = copy(&folder, &json!({}));
        let usual = SentenceTransformer::load(usual.path()).unwrap();
        // what changes a vector is in the hash, even if the file that says it is not
        assert!(model.hash() != usual.hash() || found == usual.encode(&texts).unwrap(), "{what}");
    }
}

/// A copy of a folder, without prompts, in which each of `fields` takes the place of a field of `config.json`.
fn copy(name: &str, fields: &Value) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("1_Pooling")).unwrap();
    let files =
        ["config.json", "model.safetensors", "modules.json", "tokenizer.json", "tokenizer_config.json"];
    let others = ["1_Pooling/config.json", "sentence_bert_config.json"];
    let others = others.into_iter().filter(|file| data().join(name).join(file).exists());
    for file in files.into_iter().chain(others) {
        fs::copy(data().join(name).join(file), place.path().join(file)).unwrap();
    }
    let path = place.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (field, value) in fields.as_object().unwrap() {
        config[field] = value.clone();
    }
    fs::write(path, config.to_string()).unwrap();
    place
}

/// The embedding of one piece is moved in the file itself, and the text is embedded as ever.
#[test]
fn gradients_are_finite_differences() {
    for name in WITH_GRADIENTS {
        let place = copy(name, &json!({}));
        let load = || SentenceTransformer::load(place.path()).unwrap();
        let model = load();
        let text = "The quick brown fox jumps over the lazy dog, naïve";
        let pieces = model.pieces(text).unwrap();
        let target = Array2::from_shape_fn((1, model.dimension()), |(_, at)| (at as f32 * 1.3).cos());
        let similarity = |model: &SentenceTransformer| {
            cosine(model.encode_documents(&[text]).unwrap().row(0), target.as_slice().unwrap())
        };
        let found = model.gradients(&[&pieces], target.view()).unwrap().remove(0);
        assert!((similarity(&model) - f64::from(found.similarity)).abs() < 1e-5, "{name}");
        let file = place.path().join("model.safetensors");
        let weights = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
        let words = weights.keys().find(|name| name.ends_with("word_embeddings.weight")).unwrap();
        let table = model.piece_embeddings().unwrap().to_owned();
        let embeddings = Embeddings { file: &file, name: words, table };
        let mut compared = 0;
        for (along, &piece) in found.by_piece.rows().into_iter().zip(&pieces) {
            if pieces.iter().filter(|other| **other == piece).count() > 1 {
                continue;
            }
            let (slope, length) = embeddings.slope(piece, along, 0.003, || similarity(&load()));
            assert!((slope / length - 1.0).abs() < 0.02, "{name}: {slope} {length}");
            compared += 1;
        }
        assert!(compared > 5, "{name}: {compared}");
    }
}

#[test]
fn gradients_that_are_not_computed_are_refused() {
    for name in WITHOUT_GRADIENTS {
        let model = load(name);
        let pieces = model.pieces("The quick brown fox").unwrap();
        let target = Array2::ones((1, model.dimension()));
        let error = model.gradients(&[&pieces], target.view()).unwrap_err();
        assert!(matches!(error, Error::Setting(_)), "{name}: {error}");
    }
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    for (name, field, value) in [
        ("roberta", "is_decoder", json!(true)),
        ("roberta", "hidden_act", json!("silu")),
        ("mpnet", "relative_attention_num_buckets", json!(8)),
        ("distilbert", "activation", json!("silu")),
        ("xlm-roberta", "pad_token_id", json!(null)),
        ("xlm-roberta", "model_type", json!("camembert")),
        ("modernbert", "layer_types", json!(["full_attention"])),
        ("modernbert", "hidden_activation", json!("tanh")),
        ("nomic-newer", "rope_parameters", json!({ "rope_type": "yarn" })),
        ("qwen3", "rope_scaling", json!({ "type": "dynamic", "factor": 2 })),
        ("qwen3", "quantization_config", json!({ "bits": 4 })),
    ] {
        let place = copy(name, &json!({ field: value }));
        let error = SentenceTransformer::load(place.path()).unwrap_err().to_string();
        assert!(error.contains("config.json: "), "{name} {field}: {error}");
    }
    for (name, field) in
        [("roberta", "intermediate_size"), ("mpnet", "vocab_size"), ("qwen3", "intermediate_size")]
    {
        let place = copy(name, &json!({ field: 77 }));
        let error = SentenceTransformer::load(place.path()).unwrap_err().to_string();
        assert!(error.contains("model.safetensors: "), "{name} {field}: {error}");
    }
}

/// Merges that are left out at random would give another vector each time.
#[test]
fn a_tokenizer_that_draws_lots_is_refused() {
    let place = copy("roberta", &json!({}));
    let path = place.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    tokenizer["model"]["dropout"] = json!(0.1);
    fs::write(path, tokenizer.to_string()).unwrap();
    let error = SentenceTransformer::load(place.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json: model.dropout"), "{error}");
}
