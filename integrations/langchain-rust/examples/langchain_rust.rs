//! Routes questions over protected vectors: `cargo run --example langchain_rust`
//!
//! The index is langchain-rust's own. The embedder stands in for a model: it counts the words of a text.

use embosk::embedder::{Described, Identity};
use embosk::ndarray::Array2;
use embosk::{BoxError, Key, Protected, Rotation};
use embosk_langchain_rust::ProtectedEmbedder;
use langchain_rust::embedding::Embedder;
use langchain_rust::semantic_router::{Index, MemoryIndex, Router};

const DIM: usize = 64;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let model = Described::new(words).identity(Identity::new("words", "words-1")).dimension(DIM);
    let key = Key::generate()?;
    let protected = Protected::new(model).with(Rotation::new(&key, DIM)?);
    println!("store beside the vectors: {}", protected.fingerprint());
    let embedder = ProtectedEmbedder::new(protected);

    let mut routes = [
        Router::new("rent", &["the rent is due in May", "the landlord raised the rent"]),
        Router::new("garden", &["roses need water", "the lawn is cut on Friday"]),
    ];
    for route in &mut routes {
        route.embedding = Some(embedder.embed_documents(&route.utterances).await?);
    }
    let mut index = MemoryIndex::new();
    index.add(&routes).await?;

    for (question, expected) in
        [("when is the rent due?", "rent"), ("do roses need rain or water?", "garden")]
    {
        let best = index.query(&embedder.embed_query(question).await?, 1).await?;
        println!("{question} -> {} ({:.2})", best[0].0, best[0].1);
        assert_eq!(best[0].0, expected);
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
