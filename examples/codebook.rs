//! Fits product quantization on an embedder's vectors of a corpus, or of records where none is named, and
//! writes the codebook for a spec.
//!
//! cargo run --release --features cli --example codebook -- EMBEDDER SUBSPACES FILE [CORPUS]
//! cargo embosk evaluate --defense "product_quantization(codebook=file:FILE)" …

use std::path::Path;

use embosk::embedder::{EmbeddingCache, SentenceTransformer};
use embosk::evaluate::Corpus;
use embosk::evaluate::records::{Split, generate};
use embosk::{BoxError, ProductQuantization};

/// Records of the training split, of a seed that evaluations do not draw from.
const RECORDS: usize = 10_000;
const SEED: u64 = 11;
/// Centroids of a subspace: what a byte can number.
const CENTROIDS: usize = 256;

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (embedder, subspaces, file, corpus) = match &arguments[..] {
        [embedder, subspaces, file] => (embedder, subspaces, file, None),
        [embedder, subspaces, file, corpus] => (embedder, subspaces, file, Some(corpus)),
        _ => return Err("usage: codebook EMBEDDER SUBSPACES FILE [CORPUS]".into()),
    };
    let texts = match corpus {
        Some(corpus) => Corpus::load(corpus, SEED)?.texts().to_vec(),
        None => generate(Split::Train, SEED).take(RECORDS).map(|record| record.text).collect(),
    };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let embedder = SentenceTransformer::load(embedder)?;
    let cache = std::env::var("EMBOSK_CACHE").unwrap_or_else(|_| ".cache/embosk".into());
    let cache = EmbeddingCache::new(Path::new(&cache).join("embeddings"), embedder.hash())?;
    let vectors = cache.embed(&embedder, &texts, |_| ())?;
    let fitted = ProductQuantization::fit(vectors.view(), subspaces.parse()?, CENTROIDS, SEED)?;
    std::fs::write(file, fitted.to_bytes())?;
    println!("{file}: {subspaces} bytes a vector");
    Ok(())
}
