//! The inverter of the attack `reference`. `embosk-attacks` reads it with its feature `reference`.
//!
//! `NOTICE` has the terms of the weights.
#![no_std]

/// The files: the path and the bytes of each.
pub static FILES: [(&str, &[u8]); 4] = [
    ("reference/inverter/config.json", include_bytes!("config.json")),
    ("reference/inverter/manifest.json", include_bytes!("manifest.json")),
    ("reference/inverter/tokenizer.json", include_bytes!("tokenizer.json")),
    ("reference/inverter/model.safetensors", include_bytes!("model.safetensors")),
];
