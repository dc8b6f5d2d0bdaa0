//! Readers of what a user, a service or a store hands over, as functions of bytes. None of them may panic, hang or take
//! memory without bounds, whatever the bytes are. Most end in an error; what they read is checked where there is a law.
//!
//! `tests/replay.rs` runs them on `corpus/` and on inputs made from it, with every `cargo test`. `fuzz/run` searches
//! for longer, guided by coverage.

mod folders;
mod texts;
mod vectors;
mod words;

/// A reader fed with bytes.
pub type Reader = fn(&[u8]);

/// The readers by name. Each has a folder in `corpus/`.
pub const READERS: [(&str, Reader); 15] = [
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
];

/// The first byte, which chooses among kinds, and the rest.
fn choice(data: &[u8], kinds: usize) -> Option<(usize, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((usize::from(*first) % kinds, rest))
}
