//! all-MiniLM-L6-v2 and the reference embedder on candle against Python's sentence-transformers
//! (tests/golden/sentence_transformer.py).

use std::path::Path;

use embosk::embedder::SentenceTransformer;
use embosk::{Embedder, Role};
use ndarray::{Array1, Axis};

use crate::common;

const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/attacks/models/reference/embedder");

#[derive(serde::Deserialize)]
struct Golden {
    text: String,
    embedding: Vec<f32>,
}

fn agrees(embedder: &SentenceTransformer, goldens: &str, least: usize) {
    let path = format!("{}/tests/data/{goldens}", env!("CARGO_MANIFEST_DIR"));
    let goldens: Vec<Golden> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(goldens.len() >= least);
    let texts: Vec<&str> = goldens.iter().map(|golden| golden.text.as_str()).collect();
    let together = embedder.embed(Role::Document, &texts).unwrap();
    for (row, golden) in goldens.iter().enumerate() {
        let expected = Array1::from(golden.embedding.clone());
        let alone = embedder.embed(Role::Document, &texts[row..=row]).unwrap();
        for found in [together.row(row), alone.index_axis(Axis(0), 0)] {
            let norms = (found.dot(&found) * expected.dot(&expected)).sqrt();
            assert!(found.dot(&expected) / norms > 0.99999, "row {row}");
            let furthest = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(furthest < 1e-5, "row {row}: {furthest}");
        }
    }
}

#[test]
fn minilm_agrees_with_sentence_transformers() {
    let embedder = SentenceTransformer::load(common::minilm()).unwrap();
    agrees(&embedder, "sentence-transformer.json", 20);
    // caches, and the manifest of the reference embedder, which learned from it, have this name for it
    assert_eq!(embedder.hash(), "a906bfba5bcd5bc1967a4702f82c0d8e140ab0da14690620267b4e77a72c5ddd");
}

#[test]
fn the_reference_agrees_with_sentence_transformers() {
    agrees(&SentenceTransformer::load(REFERENCE).unwrap(), "reference-embedder.json", 12);
}

#[test]
fn no_texts_give_no_rows_and_the_normalizer_lower_cases() {
    let embedder = SentenceTransformer::load(REFERENCE).unwrap();
    assert_eq!(embedder.embed(Role::Document, &[]).unwrap().dim(), (0, 384));
    assert_eq!(embedder.normalize("Zoë met Dr. Ellis"), "zoe met dr. ellis");
}

#[test]
fn damaged_folders_are_refused_with_the_file_named() {
    let good = Path::new(REFERENCE);
    let dir = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        std::fs::copy(good.join(name), dir.path().join(name)).unwrap();
    };
    let refused = |what: &str| {
        let message = SentenceTransformer::load(dir.path()).unwrap_err().to_string();
        assert!(message.contains(what), "{message}");
    };
    refused("config.json");
    copy("modules.json");
    refused("1_Pooling/config.json");
    copy("1_Pooling/config.json");
    refused("2_Dense/config.json");
    for name in ["2_Dense/config.json", "2_Dense/model.safetensors"] {
        copy(name);
    }
    refused("config.json");
    copy("config.json");
    refused("model.safetensors");
    let weights = std::fs::read(good.join("model.safetensors")).unwrap();
    std::fs::write(dir.path().join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    refused("model.safetensors");
    copy("model.safetensors");
    refused("tokenizer.json");
    copy("tokenizer.json");
    assert_eq!(SentenceTransformer::load(dir.path()).unwrap().dimension(), 384);
}

/// A T5 encoder with a dense layer, pickled as GTR is (tests/golden/sentence_t5.py). Its texts are of
/// different lengths, so those that are embedded together are padded.
#[test]
fn t5_encoders_agree_with_sentence_transformers() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sentence-t5");
    let embedder = SentenceTransformer::load(folder).unwrap();
    assert_eq!(embedder.dimension(), 4);
    assert_eq!(embedder.hash(), SentenceTransformer::load(folder).unwrap().hash());
    let goldens: Vec<Golden> =
        serde_json::from_slice(&std::fs::read(format!("{folder}/expected.json")).unwrap()).unwrap();
    let texts: Vec<&str> = goldens.iter().map(|golden| golden.text.as_str()).collect();
    let together = embedder.embed(Role::Document, &texts).unwrap();
    for (row, golden) in goldens.iter().enumerate() {
        let alone = embedder.embed(Role::Document, &texts[row..=row]).unwrap();
        for found in [together.row(row), alone.index_axis(Axis(0), 0)] {
            let furthest =
                found.iter().zip(&golden.embedding).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(furthest < 1e-5, "row {row}: {furthest}");
        }
    }
}

/// What stands behind the limit changes nothing, and the hash tells the two apart, as a cache must.
#[test]
fn texts_are_cut_where_the_caller_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sentence-t5");
    let load = || SentenceTransformer::load(folder).unwrap();
    let texts = ["a cab bed.", "a cab bed. a cab bed. a cab bed.", "a cab bed. bed bed bed"];
    let cut = load().max_length(4).unwrap().embed(Role::Document, &texts).unwrap();
    let whole = load().embed(Role::Document, &texts).unwrap();
    let far = |a: usize, b: usize, of: &ndarray::Array2<f32>| {
        of.row(a).iter().zip(of.row(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(far(1, 2, &whole) > 1e-3, "the texts differ");
    assert!(far(1, 2, &cut) < 1e-6, "they differ behind the limit alone");
    assert_ne!(load().max_length(4).unwrap().hash(), load().hash());
    assert_eq!(load().max_length(100_000).unwrap().hash(), load().hash());
    assert!(load().max_length(2).is_err());
}

#[test]
fn modules_that_cannot_be_run_are_named() {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sentence-t5"));
    let refused = |file: &str, from: &str, to: &str, part: &str| {
        let place = tempfile::tempdir().unwrap();
        for name in ["1_Pooling", "2_Dense", ""] {
            std::fs::create_dir_all(place.path().join(name)).unwrap();
            for entry in std::fs::read_dir(folder.join(name)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    std::fs::copy(&path, place.path().join(name).join(path.file_name().unwrap())).unwrap();
                }
            }
        }
        let path = place.path().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from));
        std::fs::write(&path, text.replace(from, to)).unwrap();
        let message = SentenceTransformer::load(place.path()).unwrap_err().to_string();
        assert!(message.contains(part) && message.contains(file.rsplit('/').next().unwrap()), "{message}");
    };
    refused("modules.json", "models.Dense", "models.CNN", "CNN");
    refused("2_Dense/config.json", "linear.Identity", "activation.Softmax", "Softmax");
    refused("config.json", "\"t5\"", "\"gpt2\"", "gpt2");
}

/// The reference's folder with other settings.
fn with_settings(settings: &serde_json::Value) -> SentenceTransformer {
    let place = tempfile::tempdir().unwrap();
    for name in [
        "modules.json",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
        "config.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "model.safetensors",
    ] {
        std::fs::create_dir_all(place.path().join(name).parent().unwrap()).unwrap();
        std::fs::copy(Path::new(REFERENCE).join(name), place.path().join(name)).unwrap();
    }
    std::fs::write(place.path().join("config_sentence_transformers.json"), settings.to_string()).unwrap();
    SentenceTransformer::load(place.path()).unwrap()
}

#[test]
fn documents_and_queries_have_the_prompts_of_their_roles() {
    let plain = SentenceTransformer::load(REFERENCE).unwrap();
    let e5 = with_settings(&serde_json::json!({
        "prompts": { "query": "query: ", "passage": "passage: " }, "default_prompt_name": "passage"
    }));
    assert!(Embedder::has_roles(&e5) && !Embedder::has_roles(&plain));
    assert_ne!(e5.identity().unwrap().hash, plain.identity().unwrap().hash);
    for (role, prompted) in [(Role::Document, "passage: a letter"), (Role::Query, "query: a letter")] {
        let expected = plain.embed(role, &[prompted]).unwrap();
        assert_eq!(e5.embed(role, &["a letter"]).unwrap(), expected);
    }
    let unused = with_settings(&serde_json::json!({ "prompts": {}, "similarity_fn_name": "cosine" }));
    assert_eq!(unused.identity().unwrap().hash, plain.identity().unwrap().hash, "caches stay");
}

#[test]
fn a_similarity_that_ranks_otherwise_is_warned_of() {
    let caveats = |settings| Embedder::caveats(&with_settings(&settings));
    let dot = |dimensions: Option<usize>| {
        caveats(serde_json::json!({ "similarity_fn_name": "dot", "truncate_dim": dimensions }))
    };
    assert!(dot(None).is_empty(), "of unit vectors it is the cosine");
    let cut = dot(Some(100));
    assert!(cut.len() == 1 && cut[0].contains("similarity_fn_name is dot"), "{cut:?}");
    assert_eq!(caveats(serde_json::json!({ "similarity_fn_name": "manhattan" })).len(), 1);
    assert!(caveats(serde_json::json!({})).is_empty());
}
