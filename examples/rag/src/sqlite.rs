//! The store as one file of SQLite, searched by sqlite-vec.

use std::ffi::{OsStr, OsString, c_char, c_int};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::ptr;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, ffi, params};

use embosk::ndarray::{Array2, ArrayView2};
use embosk::{Codes, Quantization};

use crate::Error;
use crate::store::{Candidate, Header, Index, Metric, Numbers, Protection, Row, Source, Space, Store, Text};

/// Marks a file as ours: `embR` in ASCII.
const APPLICATION: i32 = 0x656d_6252;

/// The version of the tables; SQLite keeps it as `user_version`.
const FORMAT: i32 = 2;

/// sqlite-vec returns no more rows than this for one query.
const MOST_CANDIDATES: usize = 4096;

const SPACES: &str = "
    CREATE TABLE spaces (
        id INTEGER PRIMARY KEY, embedder TEXT NOT NULL, fingerprint TEXT, fit BLOB,
        dim INTEGER NOT NULL, numbers TEXT NOT NULL, metric TEXT NOT NULL
    );
";

/// A collection in one file of SQLite.
///
/// Each space has tables of its own. One is a virtual table of sqlite-vec, which searches all of its vectors: as
/// floats by the cosine or Euclid's distance, in 8 bits by the cosine, or by their signs.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    index: Index,
    /// The file that is locked while documents are added. Another handle on the database's own file would end SQLite's
    /// locks.
    lock: PathBuf,
    held: Option<File>,
}

impl SqliteStore {
    /// Opens the collection at `path`.
    ///
    /// # Errors
    /// [`Error::NoCollection`] if there is none, [`Error::NotOurs`] or [`Error::Format`] if the file is something
    /// else, and [`Error::Sqlite`] if it cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        if !path.as_ref().exists() {
            return Err(Error::NoCollection);
        }
        // if a process died while it wrote, whoever reads next takes back what it left unfinished
        Self::with(path.as_ref(), OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    /// Opens the collection at `path`, or makes an empty file.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::with(path.as_ref(), OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
    }

    /// Sets how a new space keeps its vectors. Default: floats, compared by the cosine.
    pub fn index(self, index: Index) -> Self {
        Self { index, ..self }
    }

    fn with(path: &Path, flags: OpenFlags) -> Result<Self, Error> {
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        add_vectors(&connection)?;
        let lock = PathBuf::from([path.as_os_str(), OsStr::new(".lock")].into_iter().collect::<OsString>());
        let store = Self { connection, index: Index::default(), lock, held: None };
        store.check()?;
        // what is removed is overwritten, so that rows that were replaced do not stay in the file
        store.connection.pragma_update(None, "secure_delete", true)?;
        store.connection.pragma_update(None, "foreign_keys", true)?;
        Ok(store)
    }

    /// Refuses a file that something else wrote.
    fn check(&self) -> Result<(), Error> {
        let number = |sql| self.connection.query_row(sql, [], |row| row.get::<_, i32>(0));
        let application = number("SELECT application_id FROM pragma_application_id")?;
        let tables = number("SELECT count(*) FROM sqlite_schema")?;
        let format = number("SELECT user_version FROM pragma_user_version")?;
        match (application, tables, format) {
            (APPLICATION, _, FORMAT) | (0, 0, 0) => Ok(()),
            (APPLICATION, _, found) => Err(Error::Format { found }),
            _ => Err(Error::NotOurs),
        }
    }

    fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))?)
    }

    fn begin(&mut self) -> Result<Transaction<'_>, Error> {
        Ok(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

impl Store for SqliteStore {
    fn hold(&mut self) -> Result<(), Error> {
        let named = |source| Error::File { path: self.lock.clone(), source };
        let file = File::options().create(true).append(true).open(&self.lock).map_err(named)?;
        file.lock().map_err(named)?;
        self.held = Some(file);
        Ok(())
    }

    fn release(&mut self) -> Result<(), Error> {
        self.held = None;
        Ok(())
    }

    fn spaces(&self) -> Result<Vec<Space>, Error> {
        if self.is_empty()? {
            return Ok(Vec::new());
        }
        let sql = "SELECT id, embedder, fingerprint, fit, dim, numbers, metric FROM spaces ORDER BY id";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut spaces = Vec::new();
        while let Some(row) = rows.next()? {
            let index = Index::from_names(&row.get::<_, String>(5)?, &row.get::<_, String>(6)?);
            let protection = Protection::from_parts(row.get(2)?, row.get(3)?)?;
            let header = Header { embedder: row.get(1)?, protection };
            spaces.push(Space {
                id: row.get(0)?,
                header,
                dim: row.get::<_, u32>(4)? as usize,
                index: index?,
            });
        }
        Ok(spaces)
    }

    fn create(&mut self, last: Option<&Space>, header: &Header, dim: usize) -> Result<Space, Error> {
        let space = Space::after(last, header, dim, self.index)?;
        let column = column(&space)?;
        let is_empty = self.is_empty()?;
        let transaction = self.begin()?;
        if is_empty {
            transaction.execute_batch(SPACES)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", FORMAT)?;
        }
        let id = space.id;
        transaction.execute_batch(&format!(
            "CREATE TABLE sources_{id} (id TEXT PRIMARY KEY, name BLOB NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID;
             CREATE TABLE chunks_{id} (
                 id TEXT PRIMARY KEY, source TEXT NOT NULL REFERENCES sources_{id}, exact BLOB NOT NULL,
                 text BLOB NOT NULL
             ) WITHOUT ROWID;
             CREATE INDEX chunks_of_source_{id} ON chunks_{id} (source);
             CREATE VIRTUAL TABLE vectors_{id} USING vec0(id TEXT PRIMARY KEY, vector {column})"
        ))?;
        let protection = header.protection.as_ref();
        transaction.execute(
            "INSERT INTO spaces VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                id,
                header.embedder,
                protection.map(|protection| &protection.fingerprint),
                protection.map(|protection| &protection.fit),
                dim as u32,
                space.index.numbers.name(),
                space.index.metric.name(),
            ],
        )?;
        transaction.commit()?;
        Ok(space)
    }

    fn remove(&mut self, space: &Space) -> Result<bool, Error> {
        let id = space.id;
        let transaction = self.begin()?;
        let sql = format!("SELECT count(*) = 0 FROM sources_{id}");
        let is_empty = transaction.query_row(&sql, [], |row| row.get(0))?;
        if is_empty {
            transaction.execute_batch(&format!(
                "DROP TABLE vectors_{id}; DROP TABLE chunks_{id}; DROP TABLE sources_{id}"
            ))?;
            transaction.execute("DELETE FROM spaces WHERE id = ?1", [id])?;
            transaction.commit()?;
        }
        Ok(is_empty)
    }

    fn sources(&self, space: &Space) -> Result<Vec<Source>, Error> {
        let sql = format!("SELECT id, name, digest FROM sources_{}", space.id);
        let mut statement = self.connection.prepare(&sql)?;
        let sources = statement
            .query_map([], |row| Ok(Source { id: row.get(0)?, name: row.get(1)?, digest: row.get(2)? }))?;
        Ok(sources.collect::<Result<_, _>>()?)
    }

    fn rows(&self, space: &Space, source: &str) -> Result<Vec<Row>, Error> {
        let sql = format!(
            "SELECT id, exact, text, (SELECT vector FROM vectors_{0} WHERE vectors_{0}.id = chunks_{0}.id)
             FROM chunks_{0} WHERE source = ?1 ORDER BY id",
            space.id
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut found = statement.query([source])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let id: String = row.get(0)?;
            let Some(vector) = row.get::<_, Option<Vec<u8>>>(3)? else {
                return Err(Error::Incomplete { id });
            };
            let vector = decoded(space, vector)?;
            rows.push(Row { id, vector, exact: row.get(1)?, text: row.get(2)? });
        }
        Ok(rows)
    }

    fn replace(
        &mut self,
        old: Option<(&Space, &str)>,
        space: &Space,
        source: &Source,
        rows: &[Row],
    ) -> Result<bool, Error> {
        let transaction = self.begin()?;
        if let Some((Space { id, .. }, old)) = old {
            transaction.execute(
                &format!(
                    "DELETE FROM vectors_{id} WHERE id IN (SELECT id FROM chunks_{id} WHERE source = ?1)"
                ),
                [old],
            )?;
            transaction.execute(&format!("DELETE FROM chunks_{id} WHERE source = ?1"), [old])?;
            if transaction.execute(&format!("DELETE FROM sources_{id} WHERE id = ?1"), [old])? == 0 {
                return Ok(false);
            }
        }
        let Space { id, index, .. } = space;
        transaction.execute(
            &format!("INSERT INTO sources_{id} VALUES (?1, ?2, ?3)"),
            params![source.id, source.name, source.digest],
        )?;
        {
            let chunk = format!("INSERT INTO chunks_{id} VALUES (?1, ?2, ?3, ?4)");
            let vector = format!("INSERT INTO vectors_{id} (id, vector) VALUES (?1, {})", value(*index));
            let (mut chunks, mut vectors) = (transaction.prepare(&chunk)?, transaction.prepare(&vector)?);
            for row in rows {
                chunks.execute(params![row.id, source.id, row.exact, row.text])?;
                vectors.execute(params![row.id, encoded(*index, &row.vector)?])?;
            }
        }
        transaction.commit()?;
        Ok(true)
    }

    fn nearest(&self, space: &Space, vector: &[f32], k: usize) -> Result<Vec<Candidate>, Error> {
        let mut statement = self.connection.prepare(&format!(
            "WITH found AS MATERIALIZED (SELECT id, distance FROM vectors_{0} WHERE vector MATCH {1} AND k = ?1)
             SELECT found.id, found.distance, chunks_{0}.exact
             FROM found LEFT JOIN chunks_{0} ON chunks_{0}.id = found.id ORDER BY found.distance, found.id DESC",
            space.id,
            value(space.index),
        ))?;
        let share = if space.index.numbers == Numbers::Bit { space.dim as f64 } else { 1.0 };
        let k = k.min(MOST_CANDIDATES) as u32;
        let found = statement.query_map(params![k, encoded(space.index, vector)?], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, f64>(1)? / share, row.get::<_, Option<Vec<u8>>>(2)?))
        })?;
        found
            .map(|row| match row? {
                (id, distance, Some(exact)) => Ok(Candidate { id, distance, exact }),
                (id, _, None) => Err(Error::Incomplete { id }),
            })
            .collect()
    }

    fn text(&self, space: &Space, id: &str) -> Result<Text, Error> {
        let sql = format!(
            "SELECT chunks.text, sources.id, sources.name FROM chunks_{0} AS chunks
             JOIN sources_{0} AS sources ON sources.id = chunks.source WHERE chunks.id = ?1",
            space.id
        );
        let read =
            |row: &rusqlite::Row<'_>| Ok(Text { text: row.get(0)?, source: row.get(1)?, name: row.get(2)? });
        let text = self.connection.query_row(&sql, [id], read).optional()?;
        text.ok_or_else(|| Error::Incomplete { id: id.to_owned() })
    }

    fn most_candidates(&self) -> usize {
        MOST_CANDIDATES
    }
}

/// The type of a space's column.
fn column(space: &Space) -> Result<String, Error> {
    let dim = space.dim;
    match (space.index.numbers, space.index.metric) {
        (Numbers::Float, Metric::Cosine) => Ok(format!("float[{dim}] distance_metric=cosine")),
        (Numbers::Float, Metric::Euclid) => Ok(format!("float[{dim}] distance_metric=L2")),
        // each vector has its own scale, which a cosine does not see
        (Numbers::Int8, Metric::Cosine) => Ok(format!("int8[{dim}] distance_metric=cosine")),
        (Numbers::Bit, _) => Ok(format!("bit[{}]", dim.next_multiple_of(8))),
        _ => Err(Error::Unsupported {
            store: "SQLite",
            index: space.index,
            supported: "floats by the cosine or Euclid's distance, 8 bits by the cosine, and signs",
        }),
    }
}

/// The second parameter of a statement as a vector.
fn value(index: Index) -> &'static str {
    match index.numbers {
        Numbers::Int8 => "vec_int8(?2)",
        Numbers::Bit => "vec_bit(?2)",
        _ => "?2",
    }
}

/// A vector as sqlite-vec reads it: little-endian numbers one after the other, or codes.
fn encoded(index: Index, vector: &[f32]) -> Result<Vec<u8>, Error> {
    let bits = match index.numbers {
        Numbers::Int8 => 8,
        Numbers::Bit => 1,
        _ => return Ok(vector.iter().flat_map(|number| number.to_le_bytes()).collect()),
    };
    let row =
        ArrayView2::from_shape((1, vector.len()), vector).map_err(|error| Error::Store(error.into()))?;
    Ok(Quantization::new(bits)?.encode(row)?.bytes().iter().copied().collect())
}

/// A vector as it is kept; of codes, up to its scale.
fn decoded(space: &Space, bytes: Vec<u8>) -> Result<Vec<f32>, Error> {
    let bits = match space.index.numbers {
        Numbers::Int8 => 8,
        Numbers::Bit => 1,
        _ => {
            let (numbers, _) = bytes.as_chunks::<4>();
            return Ok(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect());
        }
    };
    let codes =
        Array2::from_shape_vec((1, bytes.len()), bytes).map_err(|error| Error::Store(error.into()))?;
    Ok(Quantization::new(bits)?.decode(&Codes::new(space.dim, codes, vec![1.0]))?.into_iter().collect())
}

/// What SQLite calls to add an extension to a connection.
type Entry =
    unsafe extern "C" fn(*mut ffi::sqlite3, *mut *mut c_char, *const ffi::sqlite3_api_routines) -> c_int;

/// Adds sqlite-vec to this connection, and to no other of the process.
#[expect(unsafe_code, reason = "sqlite-vec is C, and its crate has no other interface")]
fn add_vectors(connection: &Connection) -> Result<(), Error> {
    // SAFETY: `sqlite3_vec_init` is declared without arguments, but has those of `Entry` (sqlite-vec.h). It is
    // built with `SQLITE_CORE`, so it calls the SQLite that rusqlite is linked with, and reads no table of routines.
    // The handle is that of an open connection.
    let code = unsafe {
        let entry = std::mem::transmute::<*const (), Entry>(sqlite_vec::sqlite3_vec_init as *const ());
        entry(connection.handle(), ptr::null_mut(), ptr::null())
    };
    if code == ffi::SQLITE_OK {
        Ok(())
    } else {
        Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("sqlite-vec did not load".into()))
            .into())
    }
}
