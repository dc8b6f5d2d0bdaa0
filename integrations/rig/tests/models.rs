//! What rig sees of protected vectors.
#![allow(clippy::unwrap_used)]

use embosk::embedder::{Async, ByRole};
use embosk::ndarray::{Array1, Array2};
use embosk::{BoxError, GaussianNoise, Key, Projection, Protected, Role, Rotation, Stack};
use embosk_rig::ProtectedModels;
use rig_core::embeddings::EmbeddingsBuilder;
use rig_core::error::ProviderError;
use rig_core::vector_store::in_memory_store::InMemoryVectorStore;
use rig_core::vector_store::{VectorSearchRequest, VectorStoreIndex};

const DIM: usize = 8;

/// Another vector for each text and role.
fn vector(role: Role, text: &str) -> Array1<f32> {
    let start = text.len() as f32 + if role == Role::Query { 0.05 } else { 0.0 };
    let vector = Array1::from_shape_fn(DIM, |at| (start * (at + 1) as f32).sin());
    let norm = vector.dot(&vector).sqrt();
    vector / norm
}

fn clean(role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    let rows: Vec<f32> = texts.iter().flat_map(|text| vector(role, text)).collect();
    Ok(Array2::from_shape_vec((texts.len(), DIM), rows)?)
}

async fn clean_async(role: Role, texts: Vec<String>) -> Result<Array2<f32>, BoxError> {
    clean(role, &texts.iter().map(String::as_str).collect::<Vec<_>>())
}

fn rotation() -> Rotation {
    Rotation::new(&Key::from_bytes([7; 32]), DIM).unwrap()
}

fn texts() -> Vec<String> {
    ["a letter", "a bill", "a much longer text", "one more text"].map(str::to_owned).to_vec()
}

fn wide(row: impl IntoIterator<Item = f32>) -> Vec<f64> {
    row.into_iter().map(f64::from).collect()
}

#[tokio::test]
async fn each_model_has_its_role() {
    let own = Protected::new(ByRole(clean)).with(rotation());
    let documents = own.embed_documents(&texts()).unwrap();
    let query = own.embed_queries(&["a bill"]).unwrap().row(0).to_owned();
    assert_ne!(documents.row(1), query);

    let asynchronous = Protected::new(Async(ByRole(clean_async))).with(rotation());
    for models in [ProtectedModels::new(own), ProtectedModels::of_async(asynchronous)] {
        let found = models.documents().call(texts()).await.unwrap();
        assert_eq!((found.provider.as_str(), found.embeddings.len()), ("embosk", 4));
        for (row, embedding) in documents.rows().into_iter().zip(&found.embeddings) {
            assert_eq!(embedding.vec, wide(row.to_owned()));
        }
        assert_eq!(models.queries().embed_text("a bill").await.unwrap().vec, wide(query.clone()));
        let spawned = tokio::spawn(models.queries().call(texts())).await.unwrap();
        assert_eq!(spawned.unwrap().embeddings.len(), 4);
        assert!(models.documents().call(vec![]).await.unwrap().embeddings.is_empty());
    }
}

#[tokio::test]
async fn the_stack_knows_the_role() {
    let stack: Stack = "gaussian(sigma=0.5, on=documents)".parse().unwrap();
    let models = ProtectedModels::new(Protected::new(ByRole(clean)).with(stack));
    let document = models.documents().embed_text("a bill").await.unwrap();
    assert_ne!(document.vec, wide(vector(Role::Document, "a bill")));
    let query = models.queries().embed_text("a bill").await.unwrap();
    assert_eq!(query.vec, wide(vector(Role::Query, "a bill")));
}

/// The ids that rig's store finds, with their scores, for each text as a query.
async fn search(models: &ProtectedModels) -> Vec<Vec<(String, f64)>> {
    let documents =
        EmbeddingsBuilder::new(models.documents()).documents(texts()).unwrap().build().await.unwrap();
    let index = InMemoryVectorStore::from_documents(documents).index(models.queries());
    let mut found = Vec::new();
    for text in texts() {
        let request = VectorSearchRequest::builder().query(text).samples(3).build();
        let hits = index.top_n_ids(request).await.unwrap();
        found.push(hits.into_iter().map(|hit| (hit.id, hit.score)).collect());
    }
    found
}

#[tokio::test]
async fn hits_under_a_rotation_are_those_of_clean_vectors() {
    let clean_hits = search(&ProtectedModels::new(Protected::new(ByRole(clean)))).await;
    let hits = search(&ProtectedModels::new(Protected::new(ByRole(clean)).with(rotation()))).await;
    for (clean, protected) in clean_hits.iter().flatten().zip(hits.iter().flatten()) {
        assert_eq!(clean.0, protected.0);
        assert!((clean.1 - protected.1).abs() < 1e-5, "{clean:?} {protected:?}");
    }
    for (at, hits) in hits.iter().enumerate() {
        assert_eq!((hits.len(), hits[0].0.as_str()), (3, format!("doc{at}").as_str()));
    }
}

#[tokio::test]
async fn a_stated_dimension_is_that_of_the_protected_vectors() {
    let projection = Projection::keyed(&Key::from_bytes([7; 32]), 3).unwrap();
    let models = ProtectedModels::new(Protected::new(ByRole(clean)).with(projection));
    assert_eq!(models.documents().capabilities().ndims, 0);
    let stated = models.clone().dimension(3);
    assert_eq!(stated.documents().capabilities().ndims, 3);
    assert_eq!(stated.documents().embed_text("a bill").await.unwrap().vec.len(), 3);
    let refused = models.dimension(DIM).documents().embed_text("a bill").await;
    assert!(matches!(refused, Err(ProviderError::MismatchedDimensions { requested: DIM, returned: 3, .. })));
}

#[tokio::test]
async fn errors_say_what_embosk_says_and_repeat_no_text() {
    let failing = |_: &[&str]| -> Result<Array2<f32>, BoxError> { Err("the model is not loaded".into()) };
    let short = |_: &[&str]| -> Result<Array2<f32>, BoxError> { Ok(Array2::ones((1, DIM))) };
    let panicking = |_: &[&str]| -> Result<Array2<f32>, BoxError> { panic!("no vector for a letter") };
    let noise = || GaussianNoise::new(0.1).unwrap();
    let table = [
        (ProtectedModels::new(Protected::new(failing).with(noise())), "the model is not loaded"),
        (ProtectedModels::new(Protected::new(short).with(noise())), "was given 4 texts and returned 1 rows"),
        (
            ProtectedModels::new(Protected::new(panicking).with(noise())),
            "the embedding function failed: it panicked",
        ),
    ];
    for (models, message) in table {
        let error = models.documents().call(texts()).await.unwrap_err();
        assert!(matches!(error, ProviderError::Provider(_)), "{error:?}");
        let error = error.to_string();
        assert!(error.contains("embosk: ") && error.contains(message), "{error}");
        assert!(!error.contains("letter"), "{error}");
    }
}
