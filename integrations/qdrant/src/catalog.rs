//! What a collection has: its spaces and their sources, in one file that changes at once.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use embosk_rag::Error;
use embosk_rag::store::{Header, Index, Protection, Source, Space};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

const FILE: &str = "collection.json";

/// The version of the file and of what is beside it.
const FORMAT: i32 = 1;

/// The spaces of a collection with their sources, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) spaces: Vec<(Space, Vec<Source>)>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    embosk_rag_qdrant: i32,
    spaces: Vec<StoredSpace>,
}

#[derive(Serialize, Deserialize)]
struct StoredSpace {
    id: u32,
    embedder: String,
    fingerprint: Option<String>,
    /// In Base64, as all that may be sealed.
    fit: Option<String>,
    dim: usize,
    numbers: String,
    metric: String,
    sources: Vec<StoredSource>,
}

#[derive(Serialize, Deserialize)]
struct StoredSource {
    id: String,
    name: String,
    digest: String,
}

impl Catalog {
    /// Reads the file in `folder`; `None` if there is none.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, Error> {
        let text = match fs::read(folder.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::Store(error.into())),
        };
        let stored: Stored = serde_json::from_slice(&text).map_err(|_| Error::NotOurs)?;
        if stored.embosk_rag_qdrant != FORMAT {
            return Err(Error::Format { found: stored.embosk_rag_qdrant });
        }
        let spaces = stored.spaces.into_iter().map(StoredSpace::opened).collect::<Result<_, _>>()?;
        Ok(Some(Self { spaces }))
    }

    /// Writes the file: afterwards it is the new one or, on an error, the old one.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        let spaces = self.spaces.iter().map(|(space, sources)| StoredSpace::of(space, sources)).collect();
        let text = serde_json::to_vec_pretty(&Stored { embosk_rag_qdrant: FORMAT, spaces });
        let write = || -> std::io::Result<()> {
            let mut file = NamedTempFile::new_in(folder)?;
            file.write_all(&text?)?;
            file.as_file().sync_all()?;
            file.persist(folder.join(FILE))?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| Error::Store(error.into()))
    }

    /// The sources of a space, for a change.
    pub(crate) fn sources_mut(&mut self, id: u32) -> Result<&mut Vec<Source>, Error> {
        let space = self.spaces.iter_mut().find(|(space, _)| space.id == id);
        space.map(|(_, sources)| sources).ok_or(Error::Moving)
    }

    /// The sources of a space; whoever asks may know an older state of the collection.
    pub(crate) fn sources(&self, id: u32) -> Result<&[Source], Error> {
        let space = self.spaces.iter().find(|(space, _)| space.id == id);
        space.map(|(_, sources)| sources.as_slice()).ok_or(Error::Moving)
    }
}

impl StoredSpace {
    fn of(space: &Space, sources: &[Source]) -> Self {
        let protection = space.header.protection.as_ref();
        let source = |source: &Source| StoredSource {
            id: source.id.clone(),
            name: STANDARD.encode(&source.name),
            digest: STANDARD.encode(&source.digest),
        };
        Self {
            id: space.id,
            embedder: space.header.embedder.clone(),
            fingerprint: protection.map(|protection| protection.fingerprint.clone()),
            fit: protection.map(|protection| STANDARD.encode(&protection.fit)),
            dim: space.dim,
            numbers: space.index.numbers.name().into(),
            metric: space.index.metric.name().into(),
            sources: sources.iter().map(source).collect(),
        }
    }

    fn opened(self) -> Result<(Space, Vec<Source>), Error> {
        let fit = self.fit.map(|fit| decoded(&fit)).transpose()?;
        let protection = Protection::from_parts(self.fingerprint, fit)?;
        let header = Header { embedder: self.embedder, protection };
        let index = Index::from_names(&self.numbers, &self.metric)?;
        let source = |source: StoredSource| {
            Ok(Source { id: source.id, name: decoded(&source.name)?, digest: decoded(&source.digest)? })
        };
        let sources = self.sources.into_iter().map(source).collect::<Result<_, Error>>()?;
        Ok((Space { id: self.id, header, dim: self.dim, index }, sources))
    }
}

pub(crate) fn decoded(text: &str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(text).map_err(|_| Error::Spaces)
}

pub(crate) fn encoded(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
