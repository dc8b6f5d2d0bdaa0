//! Files and folders, on disk or in the program itself.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Files that were compiled into a program: the path and the bytes of each.
pub type Embedded = &'static [(&'static str, &'static [u8])];

/// The most bytes of a file that is read whole, 256 MiB: configurations, tokenizers, and lists of weights or texts.
const LONGEST: u64 = 256 << 20;

/// A file or a folder that models are read from: on disk, or one that was compiled into the program.
///
/// Paths convert into locations on disk, so functions that load a model take paths as well.
///
/// ```
/// use embosk_models::Location;
///
/// let folder = Location::embedded(&[("model/config.json", b"{}")]);
/// let config = folder.join("model").join("config.json");
/// assert!(config.exists() && !folder.join("config.json").exists());
/// assert_eq!(config.read()?, b"{}");
/// assert!(Location::from("/").is_dir());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Location {
    path: PathBuf,
    embedded: Option<Embedded>,
}

impl Location {
    /// Returns the folder that holds these files.
    pub fn embedded(files: Embedded) -> Self {
        Self { path: PathBuf::new(), embedded: Some(files) }
    }

    /// Returns the path. If the file is not on disk, it is for messages only.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the location of `name` in this folder, or the folder itself if the name is empty.
    pub fn join(&self, name: impl AsRef<Path>) -> Self {
        let name = name.as_ref();
        let path = if name.as_os_str().is_empty() { self.path.clone() } else { self.path.join(name) };
        Self { path, embedded: self.embedded }
    }

    /// Returns whether there is such a file or folder.
    pub fn exists(&self) -> bool {
        match self.embedded {
            Some(_) => self.bytes().is_some() || self.is_dir(),
            None => self.path.exists(),
        }
    }

    /// Returns whether it is a folder.
    pub fn is_dir(&self) -> bool {
        let within =
            |(path, _): &(&str, _)| Path::new(path) != self.path && Path::new(path).starts_with(&self.path);
        match self.embedded {
            Some(files) => files.iter().any(within),
            None => self.path.is_dir(),
        }
    }

    /// Reads all bytes of a file of at most 256 MiB, such as a configuration or a tokenizer.
    ///
    /// # Errors
    /// If there is no such file, it is not a regular file, it is longer, or it cannot be read.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        self.read_at_most(LONGEST)
    }

    /// Reads all bytes of a file of at most `most` bytes.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn read_at_most(&self, most: u64) -> io::Result<Vec<u8>> {
        match self.embedded {
            Some(_) => self.bytes().map(<[u8]>::to_vec).ok_or_else(missing),
            None => read_regular(&self.path, most),
        }
    }

    /// Opens a file, so that parts of it can be read.
    ///
    /// # Errors
    /// If there is no such file, or it cannot be opened.
    pub fn open(&self) -> io::Result<Opened> {
        match self.embedded {
            Some(_) => self.bytes().map(|bytes| Opened::Embedded(Cursor::new(bytes))).ok_or_else(missing),
            None => File::open(&self.path).map(Opened::OnDisk),
        }
    }

    fn bytes(&self) -> Option<&'static [u8]> {
        let found = self.embedded?.iter().find(|(path, _)| Path::new(path) == self.path);
        found.map(|(_, bytes)| *bytes)
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut location = f.debug_struct("Location");
        location.field("path", &self.path).field("embedded", &self.embedded.is_some()).finish()
    }
}

fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return refused("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    if metadata.len() <= most {
        File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    }
    // it may have grown meanwhile
    if metadata.len().max(bytes.len() as u64) > most {
        return refused(format!("it has more than {most} bytes; is it the right file?"));
    }
    Ok(bytes)
}

fn missing() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "there is no such file in the program")
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Location {
    fn from(path: &P) -> Self {
        Self { path: path.as_ref().to_owned(), embedded: None }
    }
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Self { path, embedded: None }
    }
}

impl From<&Location> for Location {
    fn from(location: &Location) -> Self {
        location.clone()
    }
}

/// An open file.
pub enum Opened {
    /// A file on disk.
    OnDisk(File),
    /// A file in the program.
    Embedded(Cursor<&'static [u8]>),
}

impl Opened {
    /// Returns the number of its bytes.
    ///
    /// # Errors
    /// If the file system does not say.
    pub fn size(&self) -> io::Result<u64> {
        match self {
            Self::OnDisk(file) => Ok(file.metadata()?.len()),
            Self::Embedded(bytes) => Ok(bytes.get_ref().len() as u64),
        }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnDisk(_) => "OnDisk",
            Self::Embedded(_) => "Embedded",
        })
    }
}

impl Read for Opened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::OnDisk(file) => file.read(buffer),
            Self::Embedded(bytes) => bytes.read(buffer),
        }
    }
}

impl Seek for Opened {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::OnDisk(file) => file.seek(to),
            Self::Embedded(bytes) => bytes.seek(to),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_long_or_not_regular_is_not_read() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("config.json");
        // of no blocks on the disk
        File::create(&path).unwrap().set_len(LONGEST + 1).unwrap();
        let file = Location::from(&path);
        let refusal = file.read().unwrap_err().to_string();
        assert!(refusal.contains("more than 268435456 bytes"), "{refusal}");
        fs::write(&path, "{}").unwrap();
        assert_eq!(file.read().unwrap(), b"{}");
        assert!(file.read_at_most(1).is_err() && file.read_at_most(2).is_ok());
        let endless = cfg!(unix).then_some(Path::new("/dev/zero"));
        for other in [place.path()].into_iter().chain(endless) {
            let refusal = Location::from(other).read().unwrap_err().to_string();
            assert!(refusal.contains("not a regular file"), "{refusal}");
        }
        let missing = Location::from(&place.path().join("none"));
        assert_eq!(missing.read().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
