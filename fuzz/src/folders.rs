//! Models: their weights and settings.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use embosk::embedder::SentenceTransformer;
use embosk::models::weights::Weights;
use embosk_attacks::vec2text::TrainingTexts;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::choice;
use crate::vectors::with_checksum;

fn weights(file: &str, bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(file), bytes).expect("a file");
    if let Ok(mut weights) = Weights::find(folder.path()) {
        let _ = weights.tensors();
    }
}

/// PyTorch's file: an archive with a pickle. Chance finds no archive, so the bytes are the pickle, or the whole file.
pub(crate) fn pickles(data: &[u8]) {
    let Some((kind, bytes)) = choice(data, 2) else { return };
    if kind == 0 {
        return weights("pytorch_model.bin", bytes);
    }
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, content) in [("a/data.pkl", bytes), ("a/data/0", &[0; 64])] {
        archive.start_file(name, options).expect("a file");
        archive.write_all(content).expect("its content");
    }
    weights("pytorch_model.bin", &archive.finish().expect("an archive").into_inner());
}

pub(crate) fn safetensors(data: &[u8]) {
    weights("model.safetensors", data);
}

/// One of the JSON files of an embedder, beside the others as they are.
pub(crate) fn settings(data: &[u8]) {
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("../attacks/models/reference/embedder");
    let files =
        ["config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json", "2_Dense/config.json"];
    let Some((kind, bytes)) = choice(data, files.len()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    copy(&whole, folder.path(), &PathBuf::from(files[kind]), bytes);
    let _ = SentenceTransformer::load(folder.path());
}

/// Copies a folder, but for one file.
fn copy(from: &Path, to: &Path, but: &Path, bytes: &[u8]) {
    for entry in fs::read_dir(from).expect("the shipped embedder") {
        let entry = entry.expect("an entry");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            fs::create_dir(&target).expect("a folder");
            let inside = but.strip_prefix(entry.file_name()).unwrap_or(Path::new(""));
            copy(&source, &target, inside, bytes);
        } else if but == Path::new(&entry.file_name()) {
            fs::write(&target, bytes).expect("a file");
        } else {
            link(&source, &target);
        }
    }
}

/// The weights need not be copied for each input.
fn link(source: &Path, target: &Path) {
    #[cfg(unix)]
    std::os::unix::fs::symlink(source, target).expect("a link");
    #[cfg(not(unix))]
    fs::copy(source, target).map(drop).expect("a copy");
}

pub(crate) fn training_texts(data: &[u8]) {
    for bytes in [data, &with_checksum(data)] {
        if let Ok(texts) = TrainingTexts::from_bytes(bytes) {
            let _ = texts.contains("a text");
        }
    }
}
