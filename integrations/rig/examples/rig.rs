//! Searches protected vectors in rig's in-memory store: `cargo run --example rig`
//!
//! The embedder stands in for a model: it counts the words of a text.

use embosk::embedder::{Described, Identity};
use embosk::ndarray::Array2;
use embosk::{BoxError, Key, Protected, Rotation};
use embosk_rig::ProtectedModels;
use rig_core::embeddings::EmbeddingsBuilder;
use rig_core::vector_store::in_memory_store::InMemoryVectorStore;
use rig_core::vector_store::{VectorSearchRequest, VectorStoreIndex};

const DIM: usize = 64;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let model = Described::new(words).identity(Identity::new("words", "words-1")).dimension(DIM);
    let key = Key::generate()?;
    let protected = Protected::new(model).with(Rotation::new(&key, DIM)?);
    println!("store beside the vectors: {}", protected.fingerprint());

    let models = ProtectedModels::new(protected).dimension(DIM);
    let texts = ["the rent is due in May", "roses need water", "a table for four"].map(str::to_owned);
    let documents = EmbeddingsBuilder::new(models.documents()).documents(texts)?.build().await?;
    let index = InMemoryVectorStore::from_documents(documents).index(models.queries());

    for (question, expected) in
        [("when is the rent due?", "the rent is due in May"), ("do roses need water?", "roses need water")]
    {
        let request = VectorSearchRequest::builder().query(question).samples(1).build();
        let hits = index.top_n::<String>(request).await?;
        println!("{question} -> {} ({:.2})", hits[0].document, hits[0].score);
        assert_eq!(hits[0].document, expected);
    }
    Ok(())
}

/// Counts the words of each text in 64 buckets, and scales the counts to norm 1.
#[allow(clippy::unnecessary_wraps, reason = "a model may fail")]
fn words(texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    let mut vectors = Array2::<f32>::zeros((texts.len(), DIM));
    for (text, mut row) in texts.iter().zip(vectors.rows_mut()) {
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let hash =
                word.bytes().fold(7_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
            row[hash % DIM] += 1.0;
        }
        let norm = row.dot(&row).sqrt().max(1e-9);
        row /= norm;
    }
    Ok(vectors)
}
