//! Embeddings kept on disk, so that no text is embedded twice.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayViewMut2, Axis, s};

use super::Embedder;
use super::checked::embed_checked;
use crate::digest::Digest;
use crate::partial::{self, Readers};
use crate::{Error, Role};

/// Texts per file: a killed run loses at most this much work.
const CHUNK: usize = 4096;
/// Texts that are embedded between two reports of progress.
const PIECE: usize = 1024;

/// A folder of embeddings, for any number of embedders: a file for every 4,096 texts, named by its content.
///
/// A file's name is the SHA-256 of the embedder's [identity](super::Identity), of the role if the embedder
/// has roles, and of the texts. Its content is the vectors as little-endian `f32`, row after row. Files are
/// written whole or not at all. Opening the folder removes files that killed processes left half written.
#[derive(Debug, Clone)]
pub struct EmbeddingCache {
    dir: PathBuf,
}

impl EmbeddingCache {
    /// Creates a cache in the folder `dir`, which is created if it is missing.
    ///
    /// # Errors
    /// [`Error::File`] when the folder cannot be created.
    pub fn new(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(|error| Error::file(&dir, error))?;
        partial::remove_stale(&dir);
        Ok(Self { dir })
    }

    /// Embeds `texts` in a role, `[texts, dim]`, and reads cached vectors from disk. `progress` is called
    /// repeatedly with the number of texts that are done.
    ///
    /// # Errors
    /// [`Error::Setting`] if the embedder has no identity, whatever the embedder fails with, and
    /// [`Error::File`] for files that cannot be written.
    pub fn embed(
        &self,
        embedder: &dyn Embedder,
        role: Role,
        texts: &[&str],
        mut progress: impl FnMut(usize),
    ) -> Result<Array2<f32>, Error> {
        let key = key(embedder, role)?;
        let mut vectors: Option<Array2<f32>> = None;
        for (index, chunk) in texts.chunks(CHUNK).enumerate() {
            let path = self.dir.join(file_name(&key, chunk));
            let rows = match read(&path, chunk.len()) {
                Some(rows) => rows,
                None => embed_to(&path, embedder, role, chunk, |done| progress(index * CHUNK + done))?,
            };
            let all = vectors.get_or_insert_with(|| Array2::zeros((texts.len(), rows.ncols())));
            let start = index * CHUNK;
            assign(all.slice_mut(s![start..start + chunk.len(), ..]), &rows, &path)?;
            progress(start + chunk.len());
        }
        vectors.ok_or(Error::Empty("the list of texts to embed"))
    }
}

/// Distinguishes the vectors of one embedder, and of one role if it has roles, from all others.
fn key(embedder: &dyn Embedder, role: Role) -> Result<String, Error> {
    let identity = embedder.identity().ok_or_else(|| {
        Error::Setting(
            "the embedder does not say which one it is, so its vectors cannot be cached; implement \
             `Embedder::identity`, wrap it in `Described`, or use no cache"
                .into(),
        )
    })?;
    let key = identity.cache_key();
    Ok(match (embedder.has_roles(), role) {
        (false, _) => key,
        (true, Role::Document) => format!("{key} for documents"),
        (true, Role::Query) => format!("{key} for queries"),
    })
}

fn file_name(key: &str, texts: &[&str]) -> String {
    let name = Digest::of(std::iter::once(key).chain(texts.iter().copied())).short();
    format!("{name}.f32")
}

fn assign(mut target: ArrayViewMut2<'_, f32>, rows: &Array2<f32>, path: &Path) -> Result<(), Error> {
    if target.ncols() != rows.ncols() {
        return Err(Error::file(path, "the vectors have another dimension; remove the file and run again"));
    }
    target.assign(rows);
    Ok(())
}

fn embed_to(
    path: &Path,
    embedder: &dyn Embedder,
    role: Role,
    texts: &[&str],
    mut progress: impl FnMut(usize),
) -> Result<Array2<f32>, Error> {
    let mut pieces = Vec::new();
    for piece in texts.chunks(PIECE) {
        pieces.push(embed_checked(embedder, role, piece)?);
        progress(texts.len().min(pieces.len() * PIECE));
    }
    let views: Vec<_> = pieces.iter().map(|piece| piece.view()).collect();
    let rows = ndarray::concatenate(Axis(0), &views)
        .map_err(|_| Error::Embedder("it returned vectors of different dimensions".into()))?;
    let bytes: Vec<u8> = rows.iter().flat_map(|value| value.to_le_bytes()).collect();
    partial::write(path, Readers::Usual, |file| file.write_all(&bytes))
        .map_err(|error| Error::file(path, error))?;
    Ok(rows)
}

/// Reads the vectors in the file. `None` if it is missing or damaged; the texts are then embedded again.
fn read(path: &Path, rows: usize) -> Option<Array2<f32>> {
    let bytes = fs::read(path).ok()?;
    if bytes.is_empty() || bytes.len() % (4 * rows) != 0 {
        return None;
    }
    let values =
        bytes.chunks_exact(4).map(|value| f32::from_le_bytes([value[0], value[1], value[2], value[3]]));
    Array2::from_shape_vec((rows, bytes.len() / 4 / rows), values.collect()).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::{ByRole, Described, Identity};
    use super::*;
    use crate::BoxError;

    fn named(name: &str, embedder: impl Embedder) -> impl Embedder {
        Described::new(embedder).identity(Identity::new("", name))
    }

    #[test]
    fn no_text_is_embedded_twice_and_a_damaged_file_is_made_again() {
        let asked = AtomicUsize::new(0);
        let lengths = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
            asked.fetch_add(texts.len(), Ordering::Relaxed);
            Ok(Array2::from_shape_fn((texts.len(), 2), |(row, at)| (texts[row].len() + at) as f32))
        };
        let texts: Vec<String> = (0..CHUNK + 10).map(|n| "x".repeat(n % 50)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let place = tempfile::tempdir().unwrap();
        let cache = EmbeddingCache::new(place.path()).unwrap();
        let embed = |name: &str, role: Role| {
            asked.store(0, Ordering::Relaxed);
            let mut told = Vec::new();
            let vectors = cache.embed(&named(name, lengths), role, &texts, |done| told.push(done)).unwrap();
            assert!(told.is_sorted() && told.last() == Some(&texts.len()));
            (vectors, asked.load(Ordering::Relaxed))
        };
        let (first, count) = embed("lengths", Role::Document);
        assert_eq!(count, texts.len());
        assert_eq!(first[[CHUNK + 3, 1]] as usize, texts[CHUNK + 3].len() + 1);
        assert_eq!(embed("lengths", Role::Document), (first.clone(), 0));
        assert_eq!(embed("lengths", Role::Query), (first.clone(), 0), "it has no roles");
        let file = file_name("lengths", &texts[..CHUNK]);
        let whole = fs::read(place.path().join(&file)).unwrap();
        fs::write(place.path().join(&file), &whole[..100]).unwrap();
        assert_eq!(embed("lengths", Role::Document), (first.clone(), CHUNK));
        // another embedder shares nothing
        assert_eq!(embed("others", Role::Document).1, texts.len());
    }

    #[test]
    fn roles_are_kept_apart_where_an_embedder_has_them() {
        let by_role = ByRole(|role: Role, texts: &[&str]| -> Result<Array2<f32>, BoxError> {
            Ok(Array2::from_elem((texts.len(), 1), f32::from(u8::from(role == Role::Query))))
        });
        let place = tempfile::tempdir().unwrap();
        let cache = EmbeddingCache::new(place.path()).unwrap();
        let embedder = named("by role", by_role);
        for _ in 0..2 {
            for (role, value) in [(Role::Document, 0.0), (Role::Query, 1.0)] {
                let vectors = cache.embed(&embedder, role, &["a"], |_| ()).unwrap();
                assert_eq!(vectors, Array2::from_elem((1, 1), value));
            }
        }
    }

    /// Folders of embeddings outlive an upgrade.
    #[test]
    fn the_names_of_files_are_a_format() {
        let nothing = |_: &[&str]| -> Result<Array2<f32>, BoxError> { Err("not asked".into()) };
        let key = |embedder: &dyn Embedder| super::key(embedder, Role::Document).unwrap();
        assert_eq!(key(&named("0a1b", nothing)), "0a1b");
        let on_gpu = Described::new(nothing).identity(Identity::new("", "0a1b").on("a GPU"));
        assert_eq!(key(&on_gpu), "0a1b on a GPU");
        assert_eq!(file_name("0a1b", &["one", "two"]), "2e9146b97394fa1fb15d97cac70b450e.f32");
        let message = super::key(&nothing, Role::Query).unwrap_err().to_string();
        assert!(message.contains("cannot be cached"), "{message}");
    }
}
