//! Readers of what a user, a service or a store hands over, as functions of bytes. None of them may panic, hang or take
//! memory without bounds, whatever the bytes are. Most end in an error; what they read is checked where there is a law.
//!
//! `tests/replay.rs` runs them on `corpus/` and on inputs made from it, with every `cargo test`. `fuzz/run` searches
//! for longer, guided by coverage.

mod folders;
mod kept;
mod sidecar;
mod texts;
mod vectors;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use embosk::{BoxError, Embedder};
use ndarray::Array2;

/// A reader fed with bytes.
pub type Reader = fn(&[u8]);

/// The readers by name. Each has a folder in `corpus/`.
pub const READERS: [(&str, Reader); 20] = [
    ("specs", words::specs),
    ("keys", words::keys),
    ("fits", vectors::fits),
    ("codes", vectors::codes),
    ("sealed", vectors::sealed),
    ("tables", vectors::tables),
    ("pickles", folders::pickles),
    ("safetensors", folders::safetensors),
    ("settings", folders::settings),
    ("training_texts", folders::training_texts),
    ("beir", texts::beir),
    ("lines", texts::lines),
    ("budgets", texts::budgets),
    ("tenants", texts::tenants),
    ("answers", texts::answers),
    ("requests", sidecar::requests),
    ("pem", sidecar::pem),
    ("reports", kept::reports),
    ("baselines", kept::baselines),
    ("caches", kept::caches),
];

/// The first byte, which chooses among kinds, and the rest.
fn choice(data: &[u8], kinds: usize) -> Option<(usize, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((usize::from(*first) % kinds, rest))
}

/// Writes a file that only its owner can read.
fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).expect("a file");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
    }
    path
}

/// An embedder without a model: how often each of four letters occurs, and the length.
fn letters() -> impl Embedder + 'static {
    |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
        let count = |text: &str, letter| text.bytes().filter(|byte| *byte == letter).count() as f32;
        Ok(Array2::from_shape_fn((texts.len(), 5), |(row, at)| match at {
            4 => texts[row].len() as f32 + 1.0,
            at => count(texts[row], b"aeio"[at]),
        }))
    }
}
