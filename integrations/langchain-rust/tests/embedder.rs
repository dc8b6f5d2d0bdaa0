//! What langchain-rust sees of protected vectors.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use embosk::embedder::{Async, ByRole};
use embosk::ndarray::{Array1, Array2};
use embosk::{BoxError, GaussianNoise, Key, Protected, Role, Rotation, Stack};
use embosk_langchain_rust::ProtectedEmbedder;
use langchain_rust::embedding::{Embedder, EmbedderError};

const DIM: usize = 8;

/// Another vector for each text and role.
fn vector(role: Role, text: &str) -> Array1<f32> {
    let start = text.len() as f32 + if role == Role::Query { 0.5 } else { 0.0 };
    Array1::from_shape_fn(DIM, |at| (start * (at + 1) as f32).sin())
}

fn clean(role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    let rows: Vec<f32> = texts.iter().flat_map(|text| vector(role, text)).collect();
    Ok(Array2::from_shape_vec((texts.len(), DIM), rows)?)
}

async fn clean_async(role: Role, texts: Vec<String>) -> Result<Array2<f32>, BoxError> {
    clean(role, &texts.iter().map(String::as_str).collect::<Vec<_>>())
}

fn key() -> Key {
    Key::from_bytes([7; 32])
}

fn texts() -> Vec<String> {
    ["a letter", "a bill", "a much longer text"].map(str::to_owned).to_vec()
}

fn expected(protected: Array2<f32>) -> Vec<Vec<f64>> {
    protected.rows().into_iter().map(|row| row.iter().map(|value| f64::from(*value)).collect()).collect()
}

#[tokio::test]
async fn documents_and_queries_are_protected_in_their_roles() {
    let own = Protected::new(ByRole(clean)).with(Rotation::new(&key(), DIM).unwrap());
    let documents = expected(own.embed_documents(&texts()).unwrap());
    let query = expected(own.embed_queries(&["a bill"]).unwrap()).remove(0);
    assert_ne!(documents[1], query);

    let asynchronous = Protected::new(Async(ByRole(clean_async))).with(Rotation::new(&key(), DIM).unwrap());
    let embedders: [Arc<dyn Embedder>; 2] =
        [Arc::new(ProtectedEmbedder::new(own)), Arc::new(ProtectedEmbedder::of_async(asynchronous))];
    for embedder in embedders {
        assert_eq!(embedder.embed_documents(&texts()).await.unwrap(), documents);
        assert_eq!(embedder.embed_query("a bill").await.unwrap(), query);
        assert!(embedder.embed_documents(&[]).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn the_stack_knows_the_role() {
    let stack: Stack = "gaussian(sigma=0.5, on=documents)".parse().unwrap();
    let embedder = ProtectedEmbedder::new(Protected::new(ByRole(clean)).with(stack));
    let document = embedder.embed_documents(&["a bill".to_owned()]).await.unwrap().remove(0);
    assert_ne!(document, vector(Role::Document, "a bill").mapv(f64::from).to_vec());
    let query = embedder.embed_query("a bill").await.unwrap();
    assert_eq!(query, vector(Role::Query, "a bill").mapv(f64::from).to_vec());
}

#[tokio::test]
async fn similarities_are_those_of_clean_vectors_under_a_rotation() {
    let embedder =
        ProtectedEmbedder::new(Protected::new(ByRole(clean)).with(Rotation::new(&key(), DIM).unwrap()));
    let documents = embedder.embed_documents(&texts()).await.unwrap();
    let query = embedder.embed_query("a bill").await.unwrap();
    for (text, document) in texts().iter().zip(&documents) {
        let similarity: f64 = document.iter().zip(&query).map(|(a, b)| a * b).sum();
        let unprotected = vector(Role::Document, text).dot(&vector(Role::Query, "a bill"));
        assert!((similarity - f64::from(unprotected)).abs() < 1e-5);
    }
}

#[tokio::test]
async fn errors_say_what_embosk_says_and_repeat_no_text() {
    let failing = |_: &[&str]| -> Result<Array2<f32>, BoxError> { Err("the model is not loaded".into()) };
    let short = |_: &[&str]| -> Result<Array2<f32>, BoxError> { Ok(Array2::ones((1, DIM))) };
    let panicking = |_: &[&str]| -> Result<Array2<f32>, BoxError> { panic!("no vector for a letter") };
    let noise = || GaussianNoise::new(0.1).unwrap();
    let table = [
        (ProtectedEmbedder::new(Protected::new(failing).with(noise())), "the model is not loaded"),
        (
            ProtectedEmbedder::new(Protected::new(short).with(noise())),
            "was given 3 texts and returned 1 rows",
        ),
        (
            ProtectedEmbedder::new(Protected::new(panicking).with(noise())),
            "the embedding function failed: it panicked",
        ),
    ];
    for (embedder, message) in table {
        let error = embedder.embed_documents(&texts()).await.unwrap_err();
        assert!(matches!(error, EmbedderError::FastEmbedError(_)), "{error:?}");
        let error = error.to_string();
        assert!(error.contains("embosk: ") && error.contains(message), "{error}");
        assert!(!error.contains("letter"), "{error}");
    }
}
