//! Fits product quantization, or a scale for each dimension, and writes the file for a spec. It fits on an
//! embedder's vectors of a corpus, or of records if no corpus is named.
//!
//! cargo run --release --features cli --example codebook -- EMBEDDER SUBSPACES FILE [CORPUS]
//! cargo embosk evaluate --defense "product_quantization(codebook=file:FILE)" …
//! cargo run --release --features cli --example codebook -- EMBEDDER bits=4 FILE [CORPUS]
//! cargo embosk evaluate --defense "quantization(bits=4, scale=file:FILE)" …

use std::path::Path;

use embosk::embedder::{EmbeddingCache, SentenceTransformer};
use embosk::evaluate::Corpus;
use embosk::evaluate::records::{Split, generate};
use embosk::{BoxError, ProductQuantization, Quantization, Role};

/// How many records of the training split are taken, from a seed that evaluations do not use.
const RECORDS: usize = 10_000;
const SEED: u64 = 11;
/// Centroids of a subspace: as many as a byte can index.
const CENTROIDS: usize = 256;
/// The share of a dimension's coordinates that its scale covers.
const QUANTILE: f64 = 0.999;

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (embedder, what, file, corpus) = match &arguments[..] {
        [embedder, what, file] => (embedder, what, file, None),
        [embedder, what, file, corpus] => (embedder, what, file, Some(corpus)),
        _ => return Err("usage: codebook EMBEDDER SUBSPACES|bits=N FILE [CORPUS]".into()),
    };
    let texts = match corpus {
        Some(corpus) => Corpus::load(corpus, SEED)?.texts().to_vec(),
        None => generate(Split::Train, SEED).take(RECORDS).map(|record| record.text).collect(),
    };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let embedder = SentenceTransformer::load(embedder)?;
    let cache = std::env::var("EMBOSK_CACHE").unwrap_or_else(|_| ".cache/embosk".into());
    let cache = EmbeddingCache::new(Path::new(&cache).join("embeddings"))?;
    let vectors = cache.embed(&embedder, Role::Document, &texts, |_| ())?;
    let fitted = match what.strip_prefix("bits=") {
        Some(bits) => Quantization::fit(bits.parse()?, vectors.view(), QUANTILE)?.to_bytes(),
        None => Some(ProductQuantization::fit(vectors.view(), what.parse()?, CENTROIDS, SEED)?.to_bytes()),
    };
    std::fs::write(file, fitted.ok_or("nothing was fitted")?)?;
    println!("{file}: {what} fitted on {} vectors", texts.len());
    Ok(())
}
