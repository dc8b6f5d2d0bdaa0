//! all-MiniLM-L6-v2 in ONNX Runtime, behind embosk.
//!
//! `scripts/integrations-tests` fetches the model and the library, and names them in the environment.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use embosk::ndarray::Array1;
use embosk::{Embedder, Key, Protected, Role, Rotation};
use embosk_fastembed::{FastEmbed, Prompts};
use fastembed::{
    InitOptionsUserDefined, Pooling, QuantizationMode, TextEmbedding, TokenizerFiles,
    UserDefinedEmbeddingModel,
};

fn named(variable: &str) -> PathBuf {
    let path = std::env::var_os(variable);
    path.unwrap_or_else(|| panic!("{variable} is not set; run scripts/integrations-tests, which sets it"))
        .into()
}

/// all-MiniLM-L6-v2 with 8-bit weights, which reads 256 pieces of a text.
fn minilm() -> FastEmbed {
    named("ORT_DYLIB_PATH");
    let folder = named("EMBOSK_MINILM");
    let file = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let tokenizer = TokenizerFiles {
        tokenizer_file: file("tokenizer.json"),
        config_file: file("config.json"),
        special_tokens_map_file: file("special_tokens_map.json"),
        tokenizer_config_file: file("tokenizer_config.json"),
    };
    let model = std::fs::read(named("EMBOSK_MINILM_ONNX")).unwrap();
    let model = UserDefinedEmbeddingModel::new(model, tokenizer)
        .with_pooling(Pooling::Mean)
        .with_quantization(QuantizationMode::Dynamic);
    let options = InitOptionsUserDefined::new().with_max_length(256);
    FastEmbed::new(TextEmbedding::try_new_from_user_defined(model, options).unwrap())
}

/// Texts, and their vectors by Python's sentence-transformers.
fn golden() -> Vec<(String, Array1<f32>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/sentence-transformer.json");
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let of = |row: &serde_json::Value| {
        let vector: Vec<f32> = serde_json::from_value(row["embedding"].clone()).unwrap();
        (row["text"].as_str().unwrap().to_owned(), vector.into())
    };
    // where a text spells a special piece, fastembed does not take in the space before it
    rows.iter().map(of).filter(|(text, _)| !text.contains("[MASK]")).collect()
}

#[test]
fn vectors_are_those_of_sentence_transformers_up_to_rounded_weights() {
    let (embedder, golden) = (minilm(), golden());
    assert!(golden.len() > 30);
    assert_eq!((embedder.has_unit_norm(), embedder.has_roles()), (Some(true), false));
    for (text, expected) in &golden {
        let vector = embedder.embed(Role::Document, &[text]).unwrap();
        assert_eq!(vector.dim(), (1, 384));
        assert!((vector.row(0).dot(&vector.row(0)) - 1.0).abs() < 1e-5);
        let cosine = vector.row(0).dot(expected);
        assert!(cosine > 0.99, "{cosine} for a text of {} bytes", text.len());
    }
}

#[test]
fn prompts_stand_before_texts_by_role() {
    let plain = minilm();
    let expected = |text: &str| plain.embed(Role::Document, &[text]).unwrap();
    let prompted = minilm().prompts(Prompts::new("passage: ", "query: "));
    assert!(prompted.has_roles());
    assert_eq!(prompted.embed(Role::Document, &["rent"]).unwrap(), expected("passage: rent"));
    assert_eq!(prompted.embed(Role::Query, &["rent"]).unwrap(), expected("query: rent"));
    assert_ne!(expected("passage: rent"), expected("query: rent"));
}

#[test]
fn rows_are_in_the_order_of_the_texts_and_none_are_none() {
    let embedder = minilm();
    let texts = ["the rent is due in May", "roses need water", "a table for four by the window"];
    let together = embedder.embed(Role::Document, &texts).unwrap();
    for (text, row) in texts.iter().zip(together.rows()) {
        let alone = embedder.embed(Role::Document, &[text]).unwrap();
        // activations are rounded by the range of the batch
        assert!(row.dot(&alone.row(0)) > 0.99);
    }
    assert_eq!(embedder.embed(Role::Document, &[]).unwrap().nrows(), 0);
}

#[test]
fn threads_share_a_model_and_a_rotation_keeps_similarities() {
    let embedder = Arc::new(minilm());
    let key = Key::from_bytes([7; 32]);
    let protected = Protected::new(Arc::clone(&embedder)).with(Rotation::new(&key, 384).unwrap());
    let texts = ["the rent is due in May", "roses need water"];
    let query = ["when is the rent due?"];
    let (documents, query_vectors) = std::thread::scope(|scope| {
        let documents = scope.spawn(|| protected.embed_documents(&texts).unwrap());
        let queries = scope.spawn(|| protected.embed_queries(&query).unwrap());
        (documents.join().unwrap(), queries.join().unwrap())
    });
    let hidden = documents.dot(&query_vectors.row(0));
    let clean = embedder.embed(Role::Document, &texts).unwrap();
    assert!((&documents - &clean).iter().any(|difference| difference.abs() > 0.01));
    let expected = clean.dot(&embedder.embed(Role::Query, &query).unwrap().row(0));
    assert!((&hidden - &expected).iter().all(|difference| difference.abs() < 1e-5), "{hidden} {expected}");
    assert!(hidden[0] > hidden[1]);
}
