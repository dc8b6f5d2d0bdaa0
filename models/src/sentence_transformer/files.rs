//! Files of a sentence-transformers folder.

use serde::de::DeserializeOwned;

use crate::Error;
use crate::digest::Digest;
use crate::json;
use crate::location::Location;
use crate::stub;

/// What to do if a file is missing.
const HINT: &str = "an embedder's folder is one of sentence-transformers, with config.json, tokenizer.json and \
                    model.safetensors at least";

pub(super) fn read(path: &Location) -> Result<Vec<u8>, Error> {
    path.read().map_err(|error| Error::unreadable(path.path(), &error, HINT))
}

pub(super) fn read_json<T: DeserializeOwned>(path: &Location) -> Result<T, Error> {
    let bytes = read(path)?;
    json::read(&bytes).map_err(|error| stub::damaged(path, error))
}

/// Returns the SHA-256 of everything that determines the vectors: each file after its length, and then what was
/// decided without a file, if anything.
pub(super) fn hash<'a>(
    mut files: impl Iterator<Item = &'a Location>,
    decided: &[String],
) -> Result<String, Error> {
    let add = |digest: Digest, path: &Location| {
        let file = path.open().map_err(|error| Error::unreadable(path.path(), &error, HINT))?;
        let added = file.size().and_then(|length| digest.file(length, file));
        added.map_err(|error| Error::file(path.path(), error))
    };
    let of_files = files.try_fold(Digest::new(), add)?.hex();
    if decided.is_empty() {
        return Ok(of_files);
    }
    Ok(decided.iter().fold(Digest::new().part(of_files), Digest::part).hex())
}
