//! Fits, codes, sealed rows and tables of vectors.

use std::fs;
use std::path::PathBuf;

use embosk::cli::Program;
use embosk::defenses::{Codes, Microaggregation, ProductQuantization, Projection};
use embosk::models::digest::Digest;
use embosk::{Key, Quantization, Sealer};
use ndarray::Array2;

use crate::choice;

/// As they are, and with the checksum that they should have: without it, nothing behind the checksum is reached.
pub(crate) fn fits(data: &[u8]) {
    let Some((kind, bytes)) = choice(data, 4) else { return };
    let read = |bytes: &[u8]| match kind {
        0 => drop(Quantization::from_bytes(bytes)),
        1 => drop(Projection::from_bytes(bytes)),
        2 => drop(ProductQuantization::from_bytes(bytes)),
        _ => drop(Microaggregation::from_bytes(bytes)),
    };
    read(bytes);
    read(&with_checksum(bytes));
}

/// The bytes with their last eight replaced by the first of the SHA-256 of those before them.
pub(crate) fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    let content = &bytes[..bytes.len().saturating_sub(8)];
    let digits = Digest::new().raw(content).hex();
    let sum = (0..8).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap_or_default());
    content.iter().copied().chain(sum).collect()
}

/// Codes of any bytes decode to finite numbers, or not at all.
pub(crate) fn codes(data: &[u8]) {
    let [bits, dim, rest @ ..] = data else { return };
    let Ok(quantization) = Quantization::new(u32::from(*bits) % 10) else { return };
    let dim = usize::from(*dim);
    let width = dim.max(1);
    let bytes = Array2::from_shape_fn((rest.len() / width, width), |(row, at)| rest[row * width + at]);
    let scales = vec![1.0; bytes.nrows()];
    if let Ok(vectors) = quantization.decode(&Codes::new(dim, bytes, scales)) {
        assert!(vectors.iter().all(|value| value.is_finite()));
    }
}

/// Nothing but what was sealed opens.
pub(crate) fn sealed(data: &[u8]) {
    let sealer = Sealer::new(&Key::from_bytes([7; 32]));
    let genuine = sealer.seal_text("7", "text", "a text").expect("it can be sealed");
    assert!(data == genuine || sealer.open_text("7", "text", data).is_err());
    assert!(sealer.open_vector("7", data).is_err());
}

/// A file of vectors, as `embosk protect` reads it.
pub(crate) fn tables(data: &[u8]) {
    let Some((kind, bytes)) = choice(data, 4) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let name =
        |stem: &str| folder.path().join(format!("{stem}.{}", ["npy", "jsonl", "arrow", "parquet"][kind]));
    fs::write(name("in"), bytes).expect("a file");
    let line = ["embosk", "--quiet", "protect", "--defense", "none", "--role", "document"].map(Into::into);
    let files = [name("in"), name("out")].map(PathBuf::into_os_string);
    let _ = Program::new().try_run(line.into_iter().chain(files));
}
