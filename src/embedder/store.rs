//! One file of vectors that are found by their texts: appended to, and checked row by row.
//!
//! SPEC.md describes the file. A row that was damaged or half written counts as missing, and its place is reused.

mod file;
mod format;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ndarray::ArrayView1;

use self::file::{Locked, opened, options};
use self::format::{ROW_HEAD, from_bytes, hash_of, header, is_whole, read_header, row};
pub(super) use self::format::{TextHash, text_hash};
use crate::Error;
use crate::partial;

/// Rows are synced to the disk at least this often; in between, the operating system holds them.
const SYNC: Duration = Duration::from_secs(1);

/// The vectors of one embedder in one role.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    identity: String,
    /// `None` until there is a vector to store.
    open: Option<Open>,
}

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Damage {
    /// Whether nothing in the file can be used.
    pub(super) is_total: bool,
    /// How many rows are damaged.
    pub(super) rows: usize,
}

impl Store {
    /// Opens the file at `path`, if there is one, for the vectors of `identity`.
    pub(super) fn open(path: PathBuf, identity: &str) -> Result<(Self, Damage), Error> {
        let mut store = Self { path, identity: identity.to_owned(), open: None };
        let damage = store.read_existing().map_err(|error| Error::file(&store.path, error))?;
        Ok((store, damage))
    }

    fn read_existing(&mut self) -> io::Result<Damage> {
        let file = match opened(&options(), &self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Damage::default()),
            file => file?,
        };
        let lock = Locked::shared(&file);
        let is_empty = file.metadata()?.len() == 0;
        let Some((dimension, start)) = read_header(&file, &self.identity)? else {
            return Ok(Damage { is_total: !is_empty, rows: 0 });
        };
        drop(lock);
        let mut open = Open::new(file, dimension, start);
        open.read_on()?;
        let rows = open.damaged.len();
        self.open = Some(open);
        Ok(Damage { is_total: false, rows })
    }

    /// The dimension of the vectors, once it is known.
    pub(super) fn dimension(&self) -> Option<usize> {
        self.open.as_ref().map(|open| open.dimension)
    }

    /// How many bytes the file has.
    pub(super) fn bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.place(open.rows))
    }

    /// Reads the vector of a text into `vector`. Returns `false` if there is none.
    pub(super) fn read(&self, text: &TextHash, vector: &mut [f32]) -> bool {
        let Some(open) = &self.open else { return false };
        let Some(&place) = open.places.get(text) else { return false };
        if vector.len() != open.dimension {
            return false;
        }
        let mut row = vec![0; open.row_bytes()];
        if open.read_row(place, &mut row).is_err() || !is_whole(&row) || hash_of(&row) != *text {
            return false;
        }
        let values = row[ROW_HEAD..].chunks_exact(4);
        vector.iter_mut().zip(values).for_each(|(value, bytes)| *value = from_bytes(bytes));
        true
    }

    /// Appends the vectors of texts, except for those that are already there.
    pub(super) fn append<'v>(
        &mut self,
        rows: impl Iterator<Item = (TextHash, ArrayView1<'v, f32>)>,
        dimension: usize,
    ) -> Result<(), Error> {
        let done = self.appended(rows, dimension);
        done.map_err(|error| Error::file(&self.path, error))
    }

    fn appended<'v>(
        &mut self,
        rows: impl Iterator<Item = (TextHash, ArrayView1<'v, f32>)>,
        dimension: usize,
    ) -> io::Result<()> {
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(create(&self.path, &self.identity, dimension)?),
        };
        if open.dimension != dimension {
            return Err(io::Error::other(format!(
                "its vectors have {} dimensions, and the embedder returned {dimension}; if the embedder has changed, \
                 remove the file and run again",
                open.dimension
            )));
        }
        let file = open.file.try_clone()?;
        let _lock = Locked::exclusive(&file);
        open.read_on()?;
        open.cut_torn_row()?;
        open.write(rows)
    }
}

#[derive(Debug)]
struct Open {
    file: File,
    dimension: usize,
    /// Where the first row begins.
    start: u64,
    /// How many rows have been read, whole and damaged.
    rows: u64,
    places: HashMap<TextHash, u64>,
    damaged: Vec<u64>,
    synced: Instant,
    is_synced: bool,
}

impl Open {
    fn new(file: File, dimension: usize, start: u64) -> Self {
        let (places, damaged) = (HashMap::new(), Vec::new());
        Self { file, dimension, start, rows: 0, places, damaged, synced: Instant::now(), is_synced: true }
    }

    fn row_bytes(&self) -> usize {
        ROW_HEAD + 4 * self.dimension
    }

    fn place(&self, row: u64) -> u64 {
        self.start + row * self.row_bytes() as u64
    }

    /// Reads the rows that this or another process has appended since the last call.
    fn read_on(&mut self) -> io::Result<()> {
        let size = self.row_bytes();
        let length = self.file.metadata()?.len().saturating_sub(self.start);
        let rows = length / size as u64;
        if rows < self.rows {
            // another process found the file damaged, and began it anew
            self.places.clear();
            self.damaged.clear();
            self.rows = 0;
        }
        let at_once = ((1 << 20) / size).max(1) as u64;
        let mut buffer = Vec::new();
        while self.rows < rows {
            let count = at_once.min(rows - self.rows);
            buffer.resize(count as usize * size, 0);
            (&self.file).seek(SeekFrom::Start(self.place(self.rows)))?;
            (&self.file).read_exact(&mut buffer)?;
            for row in buffer.chunks_exact(size) {
                self.index(row);
            }
        }
        Ok(())
    }

    fn index(&mut self, row: &[u8]) {
        if is_whole(row) {
            self.places.insert(hash_of(row), self.rows);
        } else {
            self.damaged.push(self.rows);
        }
        self.rows += 1;
    }

    fn read_row(&self, row: u64, buffer: &mut [u8]) -> io::Result<()> {
        (&self.file).seek(SeekFrom::Start(self.place(row)))?;
        (&self.file).read_exact(buffer)
    }

    /// Removes what a killed process left of its last row. The lock is held.
    fn cut_torn_row(&self) -> io::Result<()> {
        let end = self.place(self.rows);
        if self.file.metadata()?.len() > end { self.file.set_len(end) } else { Ok(()) }
    }

    /// Writes rows into the places of damaged ones and after the last. The lock is held.
    fn write<'v>(&mut self, rows: impl Iterator<Item = (TextHash, ArrayView1<'v, f32>)>) -> io::Result<()> {
        let (mut appended, mut hashes, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for (hash, vector) in rows {
            if self.places.contains_key(&hash) || !seen.insert(hash) {
                continue;
            }
            let row = row(&hash, vector);
            if let Some(place) = self.next_damaged()? {
                (&self.file).seek(SeekFrom::Start(self.place(place)))?;
                (&self.file).write_all(&row)?;
                self.places.insert(hash, place);
            } else {
                appended.extend(row);
                hashes.push(hash);
            }
        }
        (&self.file).seek(SeekFrom::Start(self.place(self.rows)))?;
        (&self.file).write_all(&appended)?;
        for hash in hashes {
            self.places.insert(hash, self.rows);
            self.rows += 1;
        }
        self.is_synced = false;
        if self.synced.elapsed() > SYNC { self.sync() } else { Ok(()) }
    }

    /// A damaged row that no other process has repaired since.
    fn next_damaged(&mut self) -> io::Result<Option<u64>> {
        let mut row = vec![0; self.row_bytes()];
        while let Some(place) = self.damaged.pop() {
            self.read_row(place, &mut row)?;
            if !is_whole(&row) {
                return Ok(Some(place));
            }
            self.places.insert(hash_of(&row), place);
        }
        Ok(None)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        (self.synced, self.is_synced) = (Instant::now(), true);
        Ok(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.is_synced {
            // rows that do not reach the disk are damaged, and made again
            let _ = self.file.sync_data();
        }
    }
}

/// Opens the file for new rows. If it is missing or has no header of ours, it is started afresh.
fn create(path: &Path, identity: &str, dimension: usize) -> io::Result<Open> {
    // a new file is never made through a link
    let file = match opened(options().create_new(true), path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => opened(&options(), path)?,
        file => file?,
    };
    let copy = file.try_clone()?;
    let _lock = Locked::exclusive(&copy);
    // another process may have been faster
    if let Some((dimension, start)) = read_header(&file, identity)? {
        return Ok(Open::new(file, dimension, start));
    }
    file.set_len(0)?;
    let header = header(identity, dimension);
    (&file).seek(SeekFrom::Start(0))?;
    (&file).write_all(&header)?;
    file.sync_all()?;
    partial::sync(partial::folder_of(path))?;
    Ok(Open::new(file, dimension, header.len() as u64))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use ndarray::array;

    use super::*;

    fn opened(path: &Path) -> (Store, Damage) {
        Store::open(path.to_owned(), "0a1b").unwrap()
    }

    fn keep(store: &mut Store, texts: &[&str]) {
        let vectors: Vec<_> = texts.iter().map(|text| array![text.len() as f32, -1.0]).collect();
        let rows = texts.iter().zip(&vectors).map(|(text, vector)| (text_hash(text), vector.view()));
        store.append(rows, 2).unwrap();
    }

    fn known(store: &Store, texts: &[&str]) -> Vec<bool> {
        let is_right = |text: &&str| {
            let mut vector = [0.0; 2];
            let is_there = store.read(&text_hash(text), &mut vector);
            assert!(
                !is_there
                    || vector.iter().zip([text.len() as f32, -1.0]).all(|(a, b)| a.to_bits() == b.to_bits()),
                "{text}: {vector:?}"
            );
            is_there
        };
        texts.iter().map(is_right).collect()
    }

    const TEXTS: [&str; 4] = ["", "a", "bc", "def"];

    #[test]
    fn rows_are_found_again_and_each_is_there_once() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("store");
        let (mut store, damage) = opened(&path);
        assert_eq!((damage, path.exists()), (Damage::default(), false));
        keep(&mut store, &["a", "", "a"]);
        keep(&mut store, &["", "bc"]);
        assert_eq!(known(&store, &TEXTS), [true, true, true, false]);
        let length = fs::metadata(&path).unwrap().len();
        assert_eq!((length, store.bytes()), (28 + 4 + 3 * 28, length));
        let (again, damage) = opened(&path);
        assert_eq!((known(&again, &TEXTS), damage), (vec![true, true, true, false], Damage::default()));
        assert_eq!(again.dimension(), Some(2));
    }

    #[cfg(unix)]
    #[test]
    fn no_link_is_followed() {
        let place = tempfile::tempdir().unwrap();
        let [path, other] = ["store", "other"].map(|name| place.path().join(name));
        fs::write(&other, "someone's document").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let refused = Store::open(path.clone(), "0a1b").unwrap_err().to_string();
        assert!(refused.contains("not a regular file"), "{refused}");
        // it was linked after it was opened
        fs::remove_file(&path).unwrap();
        let (mut store, _) = opened(&path);
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let vector = array![1.0, -1.0];
        assert!(store.append([(text_hash("a"), vector.view())].into_iter(), 2).is_err());
        assert_eq!(fs::read_to_string(&other).unwrap(), "someone's document");
    }

    /// Whatever happens to a file, a vector is either right or missing, and missing ones can be stored again.
    #[test]
    fn damage_is_found_and_mended() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("store");
        keep(&mut opened(&path).0, &TEXTS);
        let whole = fs::read(&path).unwrap();
        let row = |n: usize| 32 + n * 28;
        let zeroed = |from: usize, to: usize| {
            let mut bytes = whole.clone();
            bytes[from..to].fill(0);
            bytes
        };
        let total = Damage { is_total: true, rows: 0 };
        let some = |rows| Damage { is_total: false, rows };
        for (bytes, damage, left) in [
            (zeroed(0, whole.len()), total, [false; 4]),
            (zeroed(20, 24), total, [false; 4]),
            (whole[..20].to_vec(), total, [false; 4]),
            (Vec::new(), some(0), [false; 4]),
            (whole[..row(3) + 5].to_vec(), some(0), [true, true, true, false]),
            (zeroed(row(1) + 24, row(2)), some(1), [true, false, true, true]),
            (zeroed(row(2), row(4)), some(2), [true, true, false, false]),
        ] {
            fs::write(&path, &bytes).unwrap();
            let (mut store, found) = opened(&path);
            assert_eq!((found, known(&store, &TEXTS).as_slice()), (damage, left.as_slice()));
            keep(&mut store, &TEXTS);
            assert_eq!(known(&store, &TEXTS), [true; 4]);
            let (store, found) = opened(&path);
            assert_eq!((found, known(&store, &TEXTS)), (some(0), vec![true; 4]));
            assert_eq!(fs::metadata(&path).unwrap().len(), whole.len() as u64);
        }
    }

    #[test]
    fn two_processes_append_to_one_file() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("store");
        let [mut one, mut other] = [(); 2].map(|()| opened(&path).0);
        keep(&mut one, &["a", "bc"]);
        keep(&mut other, &["bc", "def"]);
        keep(&mut one, &["", "def"]);
        assert_eq!(known(&one, &TEXTS), [true; 4]);
        assert_eq!(known(&other, &TEXTS), [false, true, true, true]);
        assert_eq!(fs::metadata(&path).unwrap().len(), 32 + 4 * 28);
        // one of them finds the file damaged, and begins it anew
        fs::write(&path, vec![0; 144]).unwrap();
        let mut third = opened(&path).0;
        keep(&mut third, &["a"]);
        assert_eq!(known(&one, &["bc"]), [false]);
        keep(&mut one, &["bc"]);
        assert_eq!(known(&opened(&path).0, &TEXTS), [false, true, true, false]);
    }

    #[test]
    fn another_dimension_or_identity_is_not_mixed_in() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("store");
        let (mut store, _) = opened(&path);
        keep(&mut store, &["a"]);
        let wide = array![1.0, 2.0, 3.0];
        let refused = store.append([(text_hash("b"), wide.view())].into_iter(), 3).unwrap_err().to_string();
        assert!(refused.contains("2 dimensions, and the embedder returned 3"), "{refused}");
        let (other, damage) = Store::open(path, "another").unwrap();
        assert!(damage.is_total && !other.read(&text_hash("a"), &mut [0.0; 2]));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_for_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("store");
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        keep(&mut opened(&path).0, &["a"]);
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(known(&opened(&path).0, &["a"]), [true]);
        assert_eq!(mode(), 0o600);
    }
}
