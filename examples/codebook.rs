//! Fits product quantization on an embedder's vectors of records, and writes the codebook for a spec.
//!
//! cargo run --release --features cli --example codebook -- EMBEDDER SUBSPACES FILE
//! cargo embosk evaluate --defense "product_quantization(codebook=file:FILE)" …

use embosk::embedder::SentenceTransformer;
use embosk::evaluate::records::{Split, generate};
use embosk::{BoxError, Embedder, ProductQuantization};

/// Records of the training split, of a seed that evaluations do not draw from.
const RECORDS: usize = 10_000;
const SEED: u64 = 11;
/// Centroids of a subspace: what a byte can number.
const CENTROIDS: usize = 256;

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [embedder, subspaces, file] = &arguments[..] else {
        return Err("usage: codebook EMBEDDER SUBSPACES FILE".into());
    };
    let embedder = SentenceTransformer::load(embedder)?;
    let records: Vec<String> = generate(Split::Train, SEED).take(RECORDS).map(|record| record.text).collect();
    let texts: Vec<&str> = records.iter().map(String::as_str).collect();
    let vectors = embedder.embed(&texts)?;
    let fitted = ProductQuantization::fit(vectors.view(), subspaces.parse()?, CENTROIDS, SEED)?;
    std::fs::write(file, fitted.to_bytes())?;
    println!("{file}: {subspaces} bytes a vector");
    Ok(())
}
