//! The store as one file of SQLite, searched by sqlite-vec.

use std::ffi::{c_char, c_int};
use std::path::Path;
use std::ptr;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, ffi, params};

use crate::Error;
use crate::store::{Candidate, Header, Protection, Row, Source, Store, Text};

/// Marks a file as ours: `embR` in ASCII.
const APPLICATION: i32 = 0x656d_6252;

/// The version of the tables; SQLite keeps it as `user_version`.
const FORMAT: i32 = 1;

/// sqlite-vec returns no more rows than this for one query.
pub(crate) const MOST_CANDIDATES: usize = 4096;

const TABLES: &str = "
    CREATE TABLE collection (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE sources (id TEXT PRIMARY KEY, name BLOB NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE chunks (
        id TEXT PRIMARY KEY, source TEXT NOT NULL REFERENCES sources, exact BLOB NOT NULL, text BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX chunks_of_source ON chunks (source);
";

/// A collection in one file of SQLite.
///
/// The table `vectors` is a virtual table of sqlite-vec, which searches all of its vectors by the cosine.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
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

    fn with(path: &Path, flags: OpenFlags) -> Result<Self, Error> {
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        add_vectors(&connection)?;
        let store = Self { connection };
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

    fn value<T: rusqlite::types::FromSql>(&self, name: &str) -> Result<Option<T>, Error> {
        let sql = "SELECT value FROM collection WHERE name = ?1";
        Ok(self.connection.query_row(sql, [name], |row| row.get(0)).optional()?)
    }

    fn begin(&mut self) -> Result<Transaction<'_>, Error> {
        Ok(self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

impl Store for SqliteStore {
    fn header(&self) -> Result<Option<Header>, Error> {
        if self.is_empty()? {
            return Ok(None);
        }
        let missing = || Error::Incomplete { id: "collection".into() };
        let embedder = self.value("embedder")?.ok_or_else(missing)?;
        let protection = match (self.value("fingerprint")?, self.value("fit")?) {
            (Some(fingerprint), Some(fit)) => Some(Protection { fingerprint, fit }),
            (None, None) => None,
            _ => return Err(missing()),
        };
        Ok(Some(Header { embedder, protection }))
    }

    fn create(&mut self, header: &Header, dim: usize) -> Result<(), Error> {
        let transaction = self.begin()?;
        transaction.execute_batch(TABLES)?;
        transaction.execute_batch(&format!(
            "CREATE VIRTUAL TABLE vectors USING vec0(id TEXT PRIMARY KEY, vector float[{dim}] distance_metric=cosine)"
        ))?;
        let insert = "INSERT INTO collection VALUES (?1, ?2)";
        transaction.execute(insert, params!["embedder", header.embedder])?;
        if let Some(protection) = &header.protection {
            transaction.execute(insert, params!["fingerprint", protection.fingerprint])?;
            transaction.execute(insert, params!["fit", protection.fit])?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
        Ok(transaction.commit()?)
    }

    fn sources(&self) -> Result<Vec<Source>, Error> {
        let mut statement = self.connection.prepare("SELECT id, name, digest FROM sources")?;
        let sources = statement
            .query_map([], |row| Ok(Source { id: row.get(0)?, name: row.get(1)?, digest: row.get(2)? }))?;
        Ok(sources.collect::<Result<_, _>>()?)
    }

    fn replace(&mut self, old: Option<&str>, source: &Source, rows: &[Row]) -> Result<(), Error> {
        let transaction = self.begin()?;
        if let Some(old) = old {
            transaction.execute(
                "DELETE FROM vectors WHERE id IN (SELECT id FROM chunks WHERE source = ?1)",
                [old],
            )?;
            transaction.execute("DELETE FROM chunks WHERE source = ?1", [old])?;
            transaction.execute("DELETE FROM sources WHERE id = ?1", [old])?;
        }
        transaction.execute(
            "INSERT INTO sources VALUES (?1, ?2, ?3)",
            params![source.id, source.name, source.digest],
        )?;
        {
            let mut chunks = transaction.prepare("INSERT INTO chunks VALUES (?1, ?2, ?3, ?4)")?;
            let mut vectors = transaction.prepare("INSERT INTO vectors (id, vector) VALUES (?1, ?2)")?;
            for row in rows {
                chunks.execute(params![row.id, source.id, row.exact, row.text])?;
                vectors.execute(params![row.id, bytes(&row.vector)])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn nearest(&self, vector: &[f32], k: usize) -> Result<Vec<Candidate>, Error> {
        let mut statement = self.connection.prepare(
            "WITH found AS MATERIALIZED (SELECT id, distance FROM vectors WHERE vector MATCH ?1 AND k = ?2)
             SELECT found.id, found.distance, chunks.exact FROM found LEFT JOIN chunks ON chunks.id = found.id
             ORDER BY found.distance, found.id DESC",
        )?;
        let k = k.min(MOST_CANDIDATES) as u32;
        let found = statement.query_map(params![bytes(vector), k], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, Option<Vec<u8>>>(2)?))
        })?;
        found
            .map(|row| match row? {
                (id, distance, Some(exact)) => Ok(Candidate { id, distance, exact }),
                (id, _, None) => Err(Error::Incomplete { id }),
            })
            .collect()
    }

    fn text(&self, id: &str) -> Result<Text, Error> {
        let sql = "SELECT chunks.text, sources.id, sources.name
                   FROM chunks JOIN sources ON sources.id = chunks.source WHERE chunks.id = ?1";
        let read =
            |row: &rusqlite::Row<'_>| Ok(Text { text: row.get(0)?, source: row.get(1)?, name: row.get(2)? });
        let text = self.connection.query_row(sql, [id], read).optional()?;
        text.ok_or_else(|| Error::Incomplete { id: id.to_owned() })
    }
}

/// A vector as sqlite-vec reads it: little-endian numbers, one after the other.
fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|number| number.to_le_bytes()).collect()
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
