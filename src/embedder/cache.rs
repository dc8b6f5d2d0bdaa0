//! Embeddings kept on disk, so that no text is embedded twice.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ndarray::{Array2, Axis};

use super::Embedder;
use super::checked::embed_checked;
use super::store::{Damage, Store, TextHash, text_hash};
use crate::cache_folder;
use crate::digest::Digest;
use crate::partial;
use crate::{Error, Role};

/// How many texts are embedded before they are cached: a killed run loses at most this much work.
const PIECE: usize = 1024;

/// How the names of files end.
const EXTENSION: &str = "-v2.f32";

/// A folder of embeddings, for any number of embedders. Each embedder and role has a file, to which vectors are
/// appended under their texts.
///
/// A file is named by the embedder's [identity](super::Identity), which covers the code that computes the vectors,
/// and by the role if the embedder has roles. Only their owner can read the folder, if it is new, and the files.
/// Damaged rows are found by their checksums and recomputed.
#[derive(Clone)]
pub struct EmbeddingCache {
    dir: PathBuf,
    stores: Stores,
    on_damage: Arc<dyn Fn(&str) + Send + Sync>,
}

/// Stores computed rows; see [`EmbeddingCache::fill`].
pub(crate) type Keep<'a> = &'a mut dyn FnMut(usize, &Array2<f32>) -> Result<(), Error>;

/// The open stores, by the names of their files.
type Stores = Arc<Mutex<HashMap<String, Arc<Mutex<Store>>>>>;

impl EmbeddingCache {
    /// Creates a cache in the folder `dir`, which is created if it is missing.
    ///
    /// # Errors
    /// [`Error::File`] when the folder cannot be created.
    pub fn new(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let dir = dir.into();
        cache_folder::open(&dir, Self::is_file_of).map_err(|error| Error::file(&dir, error))?;
        partial::remove_stale(&dir);
        Ok(Self { dir, stores: Arc::default(), on_damage: Arc::new(|_| ()) })
    }

    /// Whether a name is that of a file in such a folder.
    pub(crate) fn is_file_of(name: &str) -> bool {
        is_of_version_1(name) || name.strip_suffix(EXTENSION).is_some_and(Digest::is_short)
    }

    /// Calls `warn` with a sentence if a file is found damaged. Its vectors are recomputed in any case.
    pub fn on_damage(self, warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { on_damage: Arc::new(warn), ..self }
    }

    /// Embeds `texts` in a role, `[texts, dim]`, and reads cached vectors from disk. `progress` is called
    /// repeatedly with the number of texts that are done.
    ///
    /// # Errors
    /// [`Error::Setting`] if the embedder has no identity, whatever the embedder fails with, and
    /// [`Error::File`] for files that cannot be read or written.
    pub fn embed(
        &self,
        embedder: &dyn Embedder,
        role: Role,
        texts: &[&str],
        progress: impl FnMut(usize),
    ) -> Result<Array2<f32>, Error> {
        self.embed_within(u64::MAX, embedder, role, texts, progress)
    }

    /// Embeds as [`embed`](Self::embed) does, but stores new vectors only while the file has at most `bytes` bytes.
    pub(crate) fn embed_within(
        &self,
        bytes: u64,
        embedder: &dyn Embedder,
        role: Role,
        texts: &[&str],
        progress: impl FnMut(usize),
    ) -> Result<Array2<f32>, Error> {
        if embedder.identity().is_some_and(|identity| identity.is_kept_by_itself) {
            return embed_in_pieces(embedder, role, texts, progress);
        }
        let key = key(embedder, role)?;
        self.fill((&key, bytes), texts, progress, |missing, keep| {
            for (index, piece) in missing.chunks(PIECE).enumerate() {
                keep(index * PIECE, &embed_checked(embedder, role, piece)?)?;
            }
            Ok(())
        })
    }

    /// Reads the vectors of `texts` that are stored under `key`, and has `fetch` compute the others, each once.
    /// `fetch` hands over some rows at a time, with the place of the first among the texts that it was given. These
    /// rows are stored at once, while the file has at most `bytes` bytes.
    pub(crate) fn fill(
        &self,
        (key, bytes): (&str, u64),
        texts: &[&str],
        mut progress: impl FnMut(usize),
        fetch: impl FnOnce(&[&str], Keep<'_>) -> Result<(), Error>,
    ) -> Result<Array2<f32>, Error> {
        let store = self.store(key)?;
        let mut rows = Rows::known(&lock(&store), texts);
        let missing = std::mem::take(&mut rows.missing);
        let missing_texts: Vec<&str> = missing.iter().map(|&row| texts[row]).collect();
        let mut done = texts.len() - missing.len();
        progress(done);
        let mut keep = |first: usize, fresh: &Array2<f32>| {
            let places = &missing[first..first + fresh.nrows()];
            let mut store = lock(&store);
            if store.bytes() <= bytes {
                let hashes = places.iter().map(|&row| rows.hashes[row]);
                store.append(hashes.zip(fresh.rows()), fresh.ncols())?;
            }
            drop(store);
            rows.put(places, fresh)?;
            done += places.len();
            progress(done);
            Ok(())
        };
        fetch(&missing_texts, &mut keep)?;
        rows.finish()
    }

    /// Returns the vectors of `texts` under `key`, `[texts, dim]`, if all of them are stored.
    #[cfg(feature = "http")]
    pub(crate) fn find(&self, key: &str, texts: &[&str]) -> Result<Option<Array2<f32>>, Error> {
        let store = self.store(key)?;
        let rows = Rows::known(&lock(&store), texts);
        if rows.missing.is_empty() { rows.finish().map(Some) } else { Ok(None) }
    }

    /// Returns which of `texts` have no vector under `key`, each once.
    #[cfg(feature = "http")]
    pub(crate) fn missing<'t>(&self, key: &str, texts: &[&'t str]) -> Result<Vec<&'t str>, Error> {
        let store = self.store(key)?;
        let rows = Rows::known(&lock(&store), texts);
        Ok(rows.missing.iter().map(|&row| texts[row]).collect())
    }

    /// Returns the file of `key`.
    #[cfg(feature = "http")]
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.dir.join(file_name(key))
    }

    fn store(&self, key: &str) -> Result<Arc<Mutex<Store>>, Error> {
        let name = file_name(key);
        let mut stores = lock(&self.stores);
        if let Some(store) = stores.get(&name) {
            return Ok(Arc::clone(store));
        }
        let path = self.dir.join(&name);
        let (store, damage) = Store::open(path.clone(), key)?;
        if damage != Damage::default() {
            (self.on_damage)(&said(&path, damage));
        }
        Ok(Arc::clone(stores.entry(name).or_insert(Arc::new(Mutex::new(store)))))
    }
}

impl fmt::Debug for EmbeddingCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddingCache").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Locks a store or a table, which are consistent between any two changes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn said(path: &Path, damage: Damage) -> String {
    let path = path.display();
    match damage.rows {
        _ if damage.is_total => format!("{path}: the file is damaged; its vectors are made again"),
        rows => format!("{path}: {rows} vectors in the file are damaged; they are made again"),
    }
}

/// The vectors of some texts while they are gathered.
struct Rows {
    hashes: Vec<TextHash>,
    /// Where the text of each row occurs first.
    firsts: Vec<usize>,
    /// The rows to embed.
    missing: Vec<usize>,
    vectors: Option<Array2<f32>>,
}

impl Rows {
    /// Reads the vectors that are stored.
    fn known(store: &Store, texts: &[&str]) -> Self {
        let hashes: Vec<TextHash> = texts.iter().map(|text| text_hash(text)).collect();
        let mut seen = HashMap::new();
        let firsts: Vec<usize> =
            hashes.iter().enumerate().map(|(row, hash)| *seen.entry(*hash).or_insert(row)).collect();
        let mut vectors = store.dimension().map(|dimension| Array2::zeros((texts.len(), dimension)));
        let mut is_kept = |row: usize| {
            let target = vectors.as_mut().map(|vectors: &mut Array2<f32>| vectors.row_mut(row));
            target.is_some_and(|mut target| {
                target.as_slice_mut().is_some_and(|it| store.read(&hashes[row], it))
            })
        };
        let missing = (0..texts.len()).filter(|&row| firsts[row] == row && !is_kept(row)).collect();
        Self { hashes, firsts, missing, vectors }
    }

    /// Writes fresh vectors to `rows`.
    fn put(&mut self, rows: &[usize], fresh: &Array2<f32>) -> Result<(), Error> {
        let shape = (self.hashes.len(), fresh.ncols());
        let vectors = self.vectors.get_or_insert_with(|| Array2::zeros(shape));
        if vectors.ncols() != fresh.ncols() {
            return Err(Error::Embedder("it returned vectors of different dimensions".into()));
        }
        rows.iter().zip(fresh.rows()).for_each(|(&row, vector)| vectors.row_mut(row).assign(&vector));
        Ok(())
    }

    /// Copies the vectors of repeated texts.
    fn finish(self) -> Result<Array2<f32>, Error> {
        let mut vectors = self.vectors.ok_or(Error::Empty("the list of texts to embed"))?;
        for (row, &first) in self.firsts.iter().enumerate() {
            if first != row {
                let vector = vectors.row(first).to_owned();
                vectors.row_mut(row).assign(&vector);
            }
        }
        Ok(vectors)
    }
}

/// Embeds texts of an embedder that keeps its vectors itself.
fn embed_in_pieces(
    embedder: &dyn Embedder,
    role: Role,
    texts: &[&str],
    mut progress: impl FnMut(usize),
) -> Result<Array2<f32>, Error> {
    progress(0);
    let mut pieces = Vec::new();
    for piece in texts.chunks(PIECE) {
        pieces.push(embed_checked(embedder, role, piece)?);
        progress(texts.len().min(pieces.len() * PIECE));
    }
    if pieces.is_empty() {
        return Err(Error::Empty("the list of texts to embed"));
    }
    let views: Vec<_> = pieces.iter().map(|piece| piece.view()).collect();
    ndarray::concatenate(Axis(0), &views)
        .map_err(|_| Error::Embedder("it returned vectors of different dimensions".into()))
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

fn file_name(key: &str) -> String {
    format!("{}{EXTENSION}", Digest::of([key]).short())
}

/// Whether the name is that of a file of the first version, which is not read any longer.
fn is_of_version_1(name: &str) -> bool {
    name.strip_suffix(".f32").is_some_and(Digest::is_short)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::{ByRole, Described, Identity};
    use super::*;
    use crate::BoxError;

    fn named(name: &str, embedder: impl Embedder) -> impl Embedder {
        Described::new(embedder).identity(Identity::new("", name))
    }

    #[test]
    fn no_text_is_embedded_twice_and_damaged_vectors_are_made_again() {
        let asked = AtomicUsize::new(0);
        let lengths = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
            asked.fetch_add(texts.len(), Ordering::Relaxed);
            Ok(Array2::from_shape_fn((texts.len(), 2), |(row, at)| (texts[row].len() + at) as f32))
        };
        let count = PIECE + 10;
        let texts: Vec<String> = (0..count + 5).map(|n| "x".repeat(n % count)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let place = tempfile::tempdir().unwrap();
        let warned = Arc::new(Mutex::new(String::new()));
        let embed = |name: &str, role: Role| {
            asked.store(0, Ordering::Relaxed);
            let warned = Arc::clone(&warned);
            let cache = EmbeddingCache::new(place.path()).unwrap();
            let cache = cache.on_damage(move |warning| warned.lock().unwrap().push_str(warning));
            let mut told = Vec::new();
            let vectors = cache.embed(&named(name, lengths), role, &texts, |done| told.push(done)).unwrap();
            assert!(told.is_sorted() && told.last() == Some(&texts.len()), "{told:?}");
            (vectors, asked.load(Ordering::Relaxed))
        };
        let (first, asked_first) = embed("lengths", Role::Document);
        assert_eq!(asked_first, count, "a text that is there twice is embedded once");
        let right = Array2::from_shape_fn((texts.len(), 2), |(row, at)| (texts[row].len() + at) as f32);
        assert_eq!(first, right);
        assert_eq!(embed("lengths", Role::Document), (first.clone(), 0));
        assert_eq!(embed("lengths", Role::Query), (first.clone(), 0), "it has no roles");
        assert_eq!(*warned.lock().unwrap(), "");
        let path = place.path().join(file_name("lengths"));
        let whole = fs::read(&path).unwrap();
        for (bytes, asked, warning) in [
            (vec![0; whole.len()], count, "the file is damaged"),
            (whole[..whole.len() - 28].to_vec(), 1, ""),
            ([&whole[..whole.len() - 40], &[0; 40]].concat(), 2, "2 vectors in the file are damaged"),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(embed("lengths", Role::Document), (first.clone(), asked));
            assert_eq!(embed("lengths", Role::Document), (first.clone(), 0));
            let warned = std::mem::take(&mut *warned.lock().unwrap());
            assert!(warned.contains(warning) && warned.is_empty() == warning.is_empty(), "{warned}");
        }
        // another embedder shares nothing
        assert_eq!(embed("others", Role::Document).1, count);
    }

    #[test]
    fn what_came_before_an_error_is_kept() {
        let asked = AtomicUsize::new(0);
        let failing = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
            match asked.fetch_add(1, Ordering::Relaxed) {
                1 => Err("gone".into()),
                _ => Ok(Array2::ones((texts.len(), 2))),
            }
        };
        let texts: Vec<String> = (0..3 * PIECE).map(|n| n.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let place = tempfile::tempdir().unwrap();
        let cache = EmbeddingCache::new(place.path()).unwrap();
        let embed = || cache.embed(&named("failing", failing), Role::Document, &texts, |_| ());
        assert!(embed().unwrap_err().to_string().contains("gone"));
        assert_eq!(embed().unwrap().dim(), (texts.len(), 2));
        assert_eq!(
            asked.load(Ordering::Relaxed),
            4,
            "the first piece once, the second twice, the third once"
        );
    }

    #[test]
    fn a_full_file_is_read_and_not_written() {
        let asked = AtomicUsize::new(0);
        let ones = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
            asked.fetch_add(texts.len(), Ordering::Relaxed);
            Ok(Array2::ones((texts.len(), 2)))
        };
        let place = tempfile::tempdir().unwrap();
        let cache = EmbeddingCache::new(place.path()).unwrap();
        let embed = |bytes, texts: &[&str]| {
            cache.embed_within(bytes, &named("ones", ones), Role::Document, texts, |_| ()).unwrap()
        };
        embed(u64::MAX, &["a"]);
        for _ in 0..2 {
            assert_eq!(embed(1, &["a", "b", "b"]), Array2::<f32>::ones((3, 2)));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 3);
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

    #[test]
    fn files_that_the_cache_did_not_write_stay() {
        let place = tempfile::tempdir().unwrap();
        let names = ["0123456789abcdef0123456789abcdef.f32", "mine.f32"];
        for name in names {
            fs::write(place.path().join(name), [0; 64]).unwrap();
        }
        EmbeddingCache::new(place.path()).unwrap();
        for name in names {
            assert_eq!(fs::read(place.path().join(name)).unwrap(), [0; 64], "{name}");
        }
    }

    /// Vectors that were paid for survive an upgrade.
    #[test]
    fn the_names_of_files_are_a_format() {
        let nothing = |_: &[&str]| -> Result<Array2<f32>, BoxError> { Err("not asked".into()) };
        let key = |embedder: &dyn Embedder| super::key(embedder, Role::Document).unwrap();
        assert_eq!(key(&named("0a1b", nothing)), "0a1b");
        let on_gpu = Described::new(nothing).identity(Identity::new("", "0a1b").on("a GPU"));
        assert_eq!(key(&on_gpu), "0a1b on a GPU");
        let by_code = Described::new(nothing).identity(Identity::new("", "0a1b").on("a GPU").code("1.0"));
        assert_eq!(key(&by_code), "0a1b on a GPU by 1.0");
        assert_eq!(file_name("0a1b"), "a13805df1021cf2c50c37815178fa8d4-v2.f32");
        let message = super::key(&nothing, Role::Query).unwrap_err().to_string();
        assert!(message.contains("cannot be cached"), "{message}");
    }
}
