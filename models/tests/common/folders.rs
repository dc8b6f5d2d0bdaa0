//! Variants of a sentence-transformers folder, which models/tests/golden/folders.py writes.
#![allow(dead_code, reason = "not every test reads all of them")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

#[derive(Deserialize)]
pub(crate) struct Goldens {
    pub(crate) texts: Vec<String>,
    pub(crate) variants: Vec<Variant>,
}

#[derive(Deserialize)]
pub(crate) struct Variant {
    pub(crate) name: String,
    /// What takes the place of the base's files.
    pub(crate) files: BTreeMap<String, Value>,
    pub(crate) vectors: Vec<Vec<f32>>,
    pub(crate) queries: Option<Vec<Vec<f32>>>,
    pub(crate) documents: Option<Vec<Vec<f32>>>,
}

pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/folders")).join(name)
}

pub(crate) fn goldens() -> Goldens {
    serde_json::from_slice(&fs::read(data("variants.json")).unwrap()).unwrap()
}

/// The base folder with other files: an object or a list is JSON, a text the name of a file of the base's data, or, where
/// there is none of that name, what the file holds. A `null` removes a file.
pub(crate) fn folder(files: &BTreeMap<String, Value>) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let base = [
        "config.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "1_Pooling/config.json",
    ];
    let copies = base.iter().map(|name| ((*name).to_owned(), json!(name)));
    let all: BTreeMap<String, Value> = copies.chain(files.clone()).collect();
    for (name, content) in all {
        let path = place.path().join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match content {
            Value::Null => {}
            Value::String(from) if data(&from).is_file() => drop(fs::copy(data(&from), path).unwrap()),
            Value::String(content) => fs::write(path, content).unwrap(),
            content => fs::write(path, content.to_string()).unwrap(),
        }
    }
    place
}
