//! The corrector of the attack `minilm`. `embosk-attacks` reads it with its feature `reference`.
//!
//! `NOTICE` has the terms of the weights.
#![no_std]

/// The files: the path and the bytes of each.
pub static FILES: [(&str, &[u8]); 5] = [
    ("minilm/corrector/config.json", include_bytes!("config.json")),
    ("minilm/corrector/manifest.json", include_bytes!("manifest.json")),
    ("minilm/corrector/tokenizer.json", include_bytes!("tokenizer.json")),
    ("minilm/corrector/model.safetensors", include_bytes!("model.safetensors")),
    ("minilm/corrector/training_texts.bin", include_bytes!("training_texts.bin")),
];
