//! Protects the vectors of an embedding function with a secret rotation and noise.
//!
//! Run with `cargo run --example protect`.

use embosk::{BoxError, GaussianNoise, Key, Protected, Rotation};
use ndarray::Array2;

const DIM: usize = 64;

fn main() -> Result<(), BoxError> {
    // A real app stores its key and loads it: `Key::from_env("EMBOSK_KEY")` or
    // `Key::from_file("embosk.key")`.
    let key = Key::generate()?;
    let embed = |texts: &[&str]| -> Result<Array2<f32>, BoxError> { Ok(letter_triples(texts)) };
    let rotation = Rotation::new(&key, DIM)?;
    let protected = Protected::new(embed).with(rotation).with(GaussianNoise::new(0.01)?);

    let notes = ["rent is due on the first of May", "the cat sleeps all day", "call the dentist"];
    let documents = protected.embed_documents(&notes)?;
    let queries = protected.embed_queries(&["when is the rent due?"])?;

    println!("key {key}");
    for (note, score) in notes.iter().zip(documents.dot(&queries.row(0))) {
        println!("{score:6.3}  {note}");
    }
    Ok(())
}

/// Stands in for a model: counts of letter triples, `[texts, DIM]`, each row of norm 1.
fn letter_triples(texts: &[&str]) -> Array2<f32> {
    let mut vectors = Array2::<f32>::zeros((texts.len(), DIM));
    for (mut row, text) in vectors.rows_mut().into_iter().zip(texts) {
        for triple in text.as_bytes().windows(3) {
            let place = triple.iter().fold(0, |hash, &byte| hash * 31 + usize::from(byte)) % DIM;
            row[place] += 1.0;
        }
        let norm = row.dot(&row).sqrt().max(1.0);
        row /= norm;
    }
    vectors
}
