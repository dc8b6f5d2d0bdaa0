//! The inverter of the attack `minilm`, and the list of the texts that both attacks were trained on. `embosk-attacks` reads it with its feature `reference`.
//!
//! `NOTICE` has the terms of the weights.
#![no_std]

/// The files: the path and the bytes of each.
pub static FILES: [(&str, &[u8]); 5] = [
    ("minilm/inverter/config.json", include_bytes!("config.json")),
    ("minilm/inverter/manifest.json", include_bytes!("manifest.json")),
    ("minilm/inverter/tokenizer.json", include_bytes!("tokenizer.json")),
    ("minilm/inverter/model.safetensors", include_bytes!("model.safetensors")),
    ("minilm/inverter/training_texts.bin", include_bytes!("training_texts.bin")),
];
