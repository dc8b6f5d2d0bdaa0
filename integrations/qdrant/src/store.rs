//! The store.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use embosk_rag::Error;
use embosk_rag::store::{Candidate, Header, Index, Row, Source, Space, Store, Text};

use crate::catalog::Catalog;
use crate::shard::Shard;

/// A collection in one folder, searched by Qdrant's engine in this process.
///
/// Each space has a folder of the engine's own. Vectors are kept as floats or halves. [`Numbers::Int8`] and
/// [`Numbers::Bit`] are the engine's scalar and binary quantization: it then searches codes in memory, and keeps the
/// floats on the disk. From a megabyte of vectors, the engine builds an HNSW index.
///
/// One process at a time has a collection open. In it, a clone is another handle of the same collection.
///
/// [`Numbers::Int8`]: embosk_rag::store::Numbers::Int8
/// [`Numbers::Bit`]: embosk_rag::store::Numbers::Bit
#[derive(Debug, Clone)]
pub struct QdrantStore {
    opened: Arc<Opened>,
    index: Index,
    indexed_from: Option<usize>,
}

#[derive(Debug)]
struct Opened {
    folder: PathBuf,
    state: Mutex<State>,
    /// Held as long as the collection is open.
    _lock: File,
}

#[derive(Debug)]
struct State {
    catalog: Catalog,
    shards: HashMap<u32, Shard>,
}

impl QdrantStore {
    /// Opens the collection in `folder`. Rows that an interrupted process left behind are removed.
    ///
    /// # Errors
    /// [`Error::NoCollection`] if there is none, [`Error::NotOurs`] or [`Error::Format`] if the folder is something
    /// else, and [`Error::Store`] if it cannot be read, or another process has it open.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        match Catalog::read(folder.as_ref())? {
            Some(_) => Self::with(folder.as_ref()),
            None => Err(Error::NoCollection),
        }
    }

    /// Opens the collection in `folder`, or makes an empty one. The folder must not hold anything else.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_or_create(folder: impl AsRef<Path>) -> Result<Self, Error> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(other)?;
        if Catalog::read(folder)?.is_none() {
            if fs::read_dir(folder).map_err(other)?.next().is_some() {
                return Err(Error::NotOurs);
            }
            Catalog::default().write(folder)?;
        }
        Self::with(folder)
    }

    /// Sets how a new space keeps its vectors. Default: floats, compared by the cosine.
    pub fn index(self, index: Index) -> Self {
        Self { index, ..self }
    }

    /// Sets from how many kilobytes of vectors a new space gets an HNSW index, and is quantized. Default: 1,000.
    pub fn indexed_from(self, kilobytes: usize) -> Self {
        Self { indexed_from: Some(kilobytes), ..self }
    }

    fn with(folder: &Path) -> Result<Self, Error> {
        let lock = File::create(folder.join("lock")).map_err(other)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => {
                Error::Store("another process has the collection open; wait until it ends".into())
            }
            TryLockError::Error(error) => other(error),
        })?;
        // read under the lock
        let catalog = Catalog::read(folder)?.ok_or(Error::NoCollection)?;
        let mut shards = HashMap::new();
        for (space, sources) in &catalog.spaces {
            let shard = Shard::open(&of_space(folder, space.id), space)?;
            shard.keep(sources.iter().map(|source| source.id.clone()))?;
            shards.insert(space.id, shard);
        }
        let state = Mutex::new(State { catalog, shards });
        let opened = Arc::new(Opened { folder: folder.to_owned(), state, _lock: lock });
        opened.remove_leftovers()?;
        Ok(Self { opened, index: Index::default(), indexed_from: None })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.opened.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    /// Removes folders of spaces that the catalog does not have.
    fn remove_leftovers(&self) -> Result<(), Error> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in fs::read_dir(&self.folder).map_err(other)? {
            let path = entry.map_err(other)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let id = name.and_then(|name| name.strip_prefix("space-")?.parse().ok());
            if id.is_some_and(|id: u32| !state.shards.contains_key(&id)) {
                fs::remove_dir_all(&path).map_err(other)?;
            }
        }
        Ok(())
    }
}

impl State {
    fn shard(&self, space: &Space) -> Result<&Shard, Error> {
        self.shards.get(&space.id).ok_or(Error::Moving)
    }
}

impl Store for QdrantStore {
    fn spaces(&self) -> Result<Vec<Space>, Error> {
        Ok(self.state().catalog.spaces.iter().map(|(space, _)| space.clone()).collect())
    }

    fn create(&mut self, last: Option<&Space>, header: &Header, dim: usize) -> Result<Space, Error> {
        let space = Space::after(last, header, dim, self.index)?;
        let mut state = self.state();
        if state.shards.contains_key(&space.id) {
            return Err(Error::Meanwhile);
        }
        let folder = of_space(&self.opened.folder, space.id);
        let shard = Shard::create(&folder, &space, self.indexed_from)?;
        state.catalog.spaces.push((space.clone(), Vec::new()));
        if let Err(error) = state.catalog.write(&self.opened.folder) {
            state.catalog.spaces.pop();
            drop(shard);
            // what cannot be removed now is removed when the collection is opened again
            let _ = fs::remove_dir_all(&folder);
            return Err(error);
        }
        state.shards.insert(space.id, shard);
        Ok(space)
    }

    fn remove(&mut self, space: &Space) -> Result<bool, Error> {
        let mut state = self.state();
        if !state.catalog.sources(space.id)?.is_empty() {
            return Ok(false);
        }
        let at = state.catalog.spaces.iter().position(|(one, _)| one.id == space.id).ok_or(Error::Moving)?;
        let removed = state.catalog.spaces.remove(at);
        if let Err(error) = state.catalog.write(&self.opened.folder) {
            state.catalog.spaces.insert(at, removed);
            return Err(error);
        }
        // it writes what it holds when it is dropped, so that comes first
        drop(state.shards.remove(&space.id));
        fs::remove_dir_all(of_space(&self.opened.folder, space.id)).map_err(other)?;
        Ok(true)
    }

    fn sources(&self, space: &Space) -> Result<Vec<Source>, Error> {
        Ok(self.state().catalog.sources(space.id)?.to_vec())
    }

    fn rows(&self, space: &Space, source: &str) -> Result<Vec<Row>, Error> {
        let mut rows = self.state().shard(space)?.rows(source)?;
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(rows)
    }

    /// The catalog decides: new rows are written before it, and old ones are removed after it.
    fn replace(
        &mut self,
        old: Option<(&Space, &str)>,
        space: &Space,
        source: &Source,
        rows: &[Row],
    ) -> Result<bool, Error> {
        let mut state = self.state();
        if let Some((space, old)) = old
            && !state.catalog.sources(space.id)?.iter().any(|source| source.id == old)
        {
            return Ok(false);
        }
        state.shard(space)?.insert(&source.id, rows)?;
        if let Some((space, old)) = old {
            state.catalog.sources_mut(space.id)?.retain(|source| source.id != old);
        }
        state.catalog.sources_mut(space.id)?.push(source.clone());
        if let Err(error) = state.catalog.write(&self.opened.folder) {
            state.catalog = Catalog::read(&self.opened.folder)?.ok_or(Error::NoCollection)?;
            state.shard(space)?.remove(&source.id)?;
            return Err(error);
        }
        if let Some((space, old)) = old {
            state.shard(space)?.remove(old)?;
        }
        state.shard(space)?.optimize()?;
        Ok(true)
    }

    fn nearest(&self, space: &Space, vector: &[f32], k: usize) -> Result<Vec<Candidate>, Error> {
        let state = self.state();
        let sources = state.catalog.sources(space.id)?;
        let is_live = |id: &str| sources.iter().any(|source| source.id == id);
        let mut found = state.shard(space)?.nearest(vector, k, is_live)?;
        found.sort_by(|a, b| a.distance.total_cmp(&b.distance).then_with(|| b.id.cmp(&a.id)));
        Ok(found)
    }

    fn text(&self, space: &Space, id: &str) -> Result<Text, Error> {
        let state = self.state();
        let (text, source) = state.shard(space)?.text(id)?;
        let sources = state.catalog.sources(space.id)?;
        let found = sources.iter().find(|one| one.id == source);
        let Source { id: source, name, .. } = found.ok_or_else(|| Error::Incomplete { id: id.to_owned() })?;
        Ok(Text { text, source: source.clone(), name: name.clone() })
    }
}

fn of_space(folder: &Path, id: u32) -> PathBuf {
    folder.join(format!("space-{id}"))
}

fn other(error: std::io::Error) -> Error {
    Error::Store(error.into())
}
