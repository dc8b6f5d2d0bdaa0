//! Texts in Qdrant's engine, protected, sealed and found again: `cargo run --example qdrant`.

use embosk::ndarray::Array2;
use embosk::{BoxError, Key};
use embosk_qdrant::QdrantStore;
use embosk_rag::store::{Index, Metric, Numbers};
use embosk_rag::{Access, Coarse, Collection, Document, Settings};

/// Stands in for your embedder: counts pairs of letters.
fn embed(texts: &[&str]) -> Result<Array2<f32>, BoxError> {
    let mut rows = Array2::zeros((texts.len(), 64));
    for (mut row, text) in rows.rows_mut().into_iter().zip(texts) {
        for pair in text.as_bytes().windows(2) {
            row[(usize::from(pair[0]) * 31 + usize::from(pair[1])) % 64] += 1.0;
        }
        let norm = f32::sqrt(row.dot(&row));
        row /= norm.max(1.0);
    }
    Ok(rows)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let documents = [
        Document::new("trips.md", "The train to Zagreb leaves at noon.\n\nThe ferry to Split sails in the evening."),
        Document::new("garden.md", "Tomatoes want much water in July.\n\nThe old pear tree must be cut in winter."),
    ];
    let key = Key::generate()?;
    let access = || Access::Protected { key: key.clone(), settings: Settings { coarse: Coarse::Rotated, candidates: 50 } };
    // the engine's scalar quantization, on rotated vectors
    let index = Index { numbers: Numbers::Int8, metric: Metric::Cosine };
    let store = QdrantStore::open_or_create(folder.path().join("rag"))?.index(index);
    let embedder = std::sync::Arc::new(embed);
    let (collection, done) = Collection::ingest(store, embedder.clone(), &access(), &documents)?;
    println!("{} chunks stored", done.chunks);
    let hits = collection.ask("When does the train to Zagreb leave?", 2)?;
    for hit in &hits {
        println!("{:.3} {}: {}", hit.score, *hit.name, *hit.text);
    }
    assert!(hits[0].text.contains("Zagreb"));
    drop(collection);

    let other = Access::Protected { key: Key::generate()?, settings: Settings { coarse: Coarse::Rotated, candidates: 50 } };
    let refused = Collection::open(QdrantStore::open(folder.path().join("rag"))?, embedder, &other);
    println!("another key: {}", refused.err().ok_or("another key opened it")?);
    Ok(())
}
