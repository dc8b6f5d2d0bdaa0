//! Vectors of texts that need no model: each word has a direction.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use ndarray::Array2;

/// A unit vector of each text's words, lower-cased, `[texts, dim]`. The weights are no small whole numbers: these would
/// tie. Those of a coordinate are divided by `divisor`.
pub(crate) fn vectors(texts: &[&str], dim: usize, divisor: impl Fn(usize) -> f32) -> Array2<f32> {
    let mut vectors = Array2::<f32>::zeros((texts.len(), dim));
    for (text, mut row) in texts.iter().zip(vectors.rows_mut()) {
        for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()) {
            for index in 0..6_u8 {
                let mut hasher = DefaultHasher::new();
                (word, index).hash(&mut hasher);
                let bits = hasher.finish();
                let at = bits as usize % dim;
                row[at] += ((bits >> 32) as f32 / 2_f32.powi(31) - 1.0) / divisor(at);
            }
        }
        let norm = row.dot(&row).sqrt().max(1e-12);
        row /= norm;
    }
    vectors
}
