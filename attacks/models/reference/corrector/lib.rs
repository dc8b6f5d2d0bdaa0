//! The corrector of the attack `reference`. `embosk-attacks` reads it with its feature `reference`.
//!
//! `NOTICE` has the terms of the weights.
#![no_std]

/// The files: the path and the bytes of each.
pub static FILES: [(&str, &[u8]); 4] = [
    ("reference/corrector/config.json", include_bytes!("config.json")),
    ("reference/corrector/manifest.json", include_bytes!("manifest.json")),
    ("reference/corrector/tokenizer.json", include_bytes!("tokenizer.json")),
    ("reference/corrector/model.safetensors", include_bytes!("model.safetensors")),
];
