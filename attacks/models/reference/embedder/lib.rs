//! The embedder `reference`, a folder of sentence-transformers. `embosk-attacks` reads it with its feature `reference`.
//!
//! `NOTICE` has the terms of the weights.
#![no_std]

/// The files: the path and the bytes of each.
pub static FILES: [(&str, &[u8]); 8] = [
    ("reference/embedder/modules.json", include_bytes!("modules.json")),
    ("reference/embedder/config.json", include_bytes!("config.json")),
    ("reference/embedder/sentence_bert_config.json", include_bytes!("sentence_bert_config.json")),
    ("reference/embedder/tokenizer.json", include_bytes!("tokenizer.json")),
    ("reference/embedder/model.safetensors", include_bytes!("model.safetensors")),
    ("reference/embedder/1_Pooling/config.json", include_bytes!("1_Pooling/config.json")),
    ("reference/embedder/2_Dense/config.json", include_bytes!("2_Dense/config.json")),
    ("reference/embedder/2_Dense/model.safetensors", include_bytes!("2_Dense/model.safetensors")),
];
