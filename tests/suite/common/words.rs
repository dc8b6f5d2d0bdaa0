//! Vectors of texts that need no model: each word has a direction.

use ndarray::Array2;

/// A unit vector of each text's words, lower-cased, `[texts, dim]`. The weights are no small whole numbers: these would
/// tie. Those of a coordinate are divided by `divisor`.
pub(crate) fn vectors(texts: &[&str], dim: usize, divisor: impl Fn(usize) -> f32) -> Array2<f32> {
    let mut vectors = Array2::<f32>::zeros((texts.len(), dim));
    for (text, mut row) in texts.iter().zip(vectors.rows_mut()) {
        for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()) {
            for index in 0..6_u8 {
                let bits = hash(word, index);
                let at = bits as usize % dim;
                row[at] += ((bits >> 32) as f32 / 2_f32.powi(31) - 1.0) / divisor(at);
            }
        }
        let norm = row.dot(&row).sqrt().max(1e-12);
        row /= norm;
    }
    vectors
}

/// FNV-1a, and then the last step of SplitMix64, so that every bit depends on every byte. The standard library's hashes
/// may change, and numbers are expected of these vectors.
fn hash(word: &str, index: u8) -> u64 {
    let bytes = word.bytes().chain([index]);
    let mut bits = bytes.fold(0xcbf2_9ce4_8422_2325, |bits: u64, byte| {
        (bits ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
