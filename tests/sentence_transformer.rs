//! all-MiniLM-L6-v2 on candle against Python's sentence-transformers (tests/golden/sentence_transformer.py).
#![cfg(feature = "vec2text")]
#![allow(clippy::unwrap_used)]

mod common;

use embosk::Embedder;
use embosk::embedder::SentenceTransformer;
use ndarray::{Array1, Axis};

#[derive(serde::Deserialize)]
struct Golden {
    text: String,
    embedding: Vec<f32>,
}

fn goldens() -> Vec<Golden> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sentence-transformer.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn agrees_with_sentence_transformers() {
    let embedder = SentenceTransformer::load(common::minilm()).unwrap();
    let goldens = goldens();
    assert!(goldens.len() >= 20);
    let texts: Vec<&str> = goldens.iter().map(|golden| golden.text.as_str()).collect();
    let together = embedder.embed(&texts).unwrap();
    for (row, golden) in goldens.iter().enumerate() {
        let expected = Array1::from(golden.embedding.clone());
        let alone = embedder.embed(&texts[row..=row]).unwrap();
        for found in [together.row(row), alone.index_axis(Axis(0), 0)] {
            let norms = (found.dot(&found) * expected.dot(&expected)).sqrt();
            assert!(found.dot(&expected) / norms > 0.99999, "row {row}");
            let furthest = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(furthest < 1e-5, "row {row}: {furthest}");
        }
    }
}

#[test]
fn no_texts_give_no_rows_and_the_normalizer_lower_cases() {
    let embedder = SentenceTransformer::load(common::minilm()).unwrap();
    assert_eq!(embedder.embed(&[]).unwrap().dim(), (0, 384));
    assert_eq!(embedder.normalize("Zoë met Dr. Ellis"), "zoe met dr. ellis");
}

#[test]
fn damaged_folders_are_refused_with_the_file_named() {
    let good = common::minilm();
    let dir = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        std::fs::copy(good.join(name), dir.path().join(name)).unwrap();
    };
    let refused = |what: &str| {
        let message = SentenceTransformer::load(dir.path()).unwrap_err().to_string();
        assert!(message.contains(what), "{message}");
    };
    refused("modules.json");
    for name in [
        "modules.json",
        "1_Pooling/config.json",
        "config.json",
        "sentence_bert_config.json",
        "tokenizer.json",
    ] {
        copy(name);
    }
    refused("model.safetensors");
    let weights = std::fs::read(good.join("model.safetensors")).unwrap();
    std::fs::write(dir.path().join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    refused("model.safetensors");
}
