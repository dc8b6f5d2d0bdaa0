//! The store as tables of PostgreSQL, searched by pgvector.

use std::cell::RefCell;

use pgvector::{Bit, HalfVector, Vector};
use postgres::types::ToSql;
use postgres::{Client, NoTls, Transaction};

use crate::Error;
use crate::store::{Candidate, Header, Index, Metric, Numbers, Protection, Row, Source, Space, Store, Text};

/// The version of the tables, which each space names.
const FORMAT: i32 = 1;

/// pgvector looks at no more rows than this in the first pass over an index; it goes on if they do not suffice.
const MOST_AT_ONCE: usize = 1000;

/// The number of the lock that whoever adds documents holds. The server releases it when a connection ends.
const LOCK: &str = "hashtextextended('embosk_sources of ' || current_schema(), 0)";

/// A collection in a database of PostgreSQL with the extension `vector`.
///
/// Its tables are in the current schema, and their names begin with `embosk_`. Each space has tables of its own, and
/// an HNSW index: of `vector` or `halfvec` by the cosine, the inner product or Euclid's distance, or of `bit` by
/// Hamming's. The connection is not encrypted, so the server should be on this machine, or behind a tunnel.
pub struct PostgresStore {
    client: RefCell<Client>,
    index: Index,
}

impl PostgresStore {
    /// Connects to the database at `url`, such as `postgres://user@localhost/texts`.
    ///
    /// # Errors
    /// [`Error::Store`] if that fails. No message holds the URL, which may hold a password.
    pub fn connect(url: &str) -> Result<Self, Error> {
        let client = Client::connect(url, NoTls)?;
        Ok(Self { client: RefCell::new(client), index: Index::default() })
    }

    /// Sets how a new space keeps its vectors. Default: `vector`, compared by the cosine.
    pub fn index(self, index: Index) -> Self {
        Self { index, ..self }
    }

    fn exists(&self) -> Result<bool, Error> {
        let sql = "SELECT to_regclass('embosk_spaces') IS NOT NULL";
        Ok(self.client.borrow_mut().query_one(sql, &[])?.try_get(0)?)
    }
}

impl Store for PostgresStore {
    fn hold(&mut self) -> Result<(), Error> {
        self.client.get_mut().execute(&format!("SELECT pg_advisory_lock({LOCK})"), &[])?;
        Ok(())
    }

    fn release(&mut self) -> Result<(), Error> {
        self.client.get_mut().execute(&format!("SELECT pg_advisory_unlock({LOCK})"), &[])?;
        Ok(())
    }

    fn spaces(&self) -> Result<Vec<Space>, Error> {
        if !self.exists()? {
            return Ok(Vec::new());
        }
        let sql = "SELECT format, id, embedder, fingerprint, fit, dim, numbers, metric FROM embosk_spaces ORDER BY id";
        let space = |row: &postgres::Row| {
            match row.try_get(0)? {
                FORMAT => {}
                found => return Err(Error::Format { found }),
            }
            let protection = Protection::from_parts(row.try_get(3)?, row.try_get(4)?)?;
            Ok(Space {
                id: row.try_get::<_, i32>(1)?.cast_unsigned(),
                header: Header { embedder: row.try_get(2)?, protection },
                dim: row.try_get::<_, i32>(5)? as usize,
                index: Index::from_names(row.try_get(6)?, row.try_get(7)?)?,
            })
        };
        self.client.borrow_mut().query(sql, &[])?.iter().map(space).collect()
    }

    fn create(&mut self, last: Option<&Space>, header: &Header, dim: usize) -> Result<Space, Error> {
        let space = Space::after(last, header, dim, self.index)?;
        let (id, column, class) = (space.id, column(space.index)?, class(space.index));
        let mut transaction = self.client.get_mut().transaction()?;
        transaction.batch_execute(
            "CREATE EXTENSION IF NOT EXISTS vector;
             CREATE TABLE IF NOT EXISTS embosk_spaces (
                 id int PRIMARY KEY, format int NOT NULL, embedder text NOT NULL, fingerprint text, fit bytea,
                 dim int NOT NULL, numbers text NOT NULL, metric text NOT NULL
             )",
        )?;
        // if another process made the same space, this is where it is noticed
        let protection = header.protection.as_ref();
        transaction.execute(
            "INSERT INTO embosk_spaces VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            &[
                &id.cast_signed(),
                &FORMAT,
                &header.embedder,
                &protection.map(|protection| &protection.fingerprint),
                &protection.map(|protection| &protection.fit),
                &i32::try_from(dim).unwrap_or(i32::MAX),
                &space.index.numbers.name(),
                &space.index.metric.name(),
            ],
        )?;
        transaction.batch_execute(&format!(
            "CREATE TABLE embosk_sources_{id} (id text PRIMARY KEY, name bytea NOT NULL, digest bytea NOT NULL);
             CREATE TABLE embosk_chunks_{id} (
                 id text PRIMARY KEY, source text NOT NULL REFERENCES embosk_sources_{id},
                 vector {column}({dim}) NOT NULL, exact bytea NOT NULL, text bytea NOT NULL
             );
             CREATE INDEX ON embosk_chunks_{id} (source);
             CREATE INDEX embosk_vectors_{id} ON embosk_chunks_{id} USING hnsw (vector {class})"
        ))?;
        transaction.commit()?;
        Ok(space)
    }

    fn remove(&mut self, space: &Space) -> Result<bool, Error> {
        let id = space.id;
        let mut transaction = self.client.get_mut().transaction()?;
        transaction.batch_execute(&format!("LOCK TABLE embosk_sources_{id} IN ACCESS EXCLUSIVE MODE"))?;
        let sql = format!("SELECT count(*) = 0 FROM embosk_sources_{id}");
        let is_empty = transaction.query_one(&sql, &[])?.try_get(0)?;
        if is_empty {
            transaction
                .batch_execute(&format!("DROP TABLE embosk_chunks_{id}; DROP TABLE embosk_sources_{id}"))?;
            transaction.execute("DELETE FROM embosk_spaces WHERE id = $1", &[&id.cast_signed()])?;
            transaction.commit()?;
        }
        Ok(is_empty)
    }

    fn sources(&self, space: &Space) -> Result<Vec<Source>, Error> {
        let sql = format!("SELECT id, name, digest FROM embosk_sources_{} ORDER BY id", space.id);
        let source = |row: &postgres::Row| {
            Ok(Source { id: row.try_get(0)?, name: row.try_get(1)?, digest: row.try_get(2)? })
        };
        self.client.borrow_mut().query(&sql, &[])?.iter().map(source).collect()
    }

    fn rows(&self, space: &Space, source: &str) -> Result<Vec<Row>, Error> {
        let sql = format!(
            "SELECT id, vector, exact, text FROM embosk_chunks_{} WHERE source = $1 ORDER BY id",
            space.id
        );
        let row = |row: &postgres::Row| {
            let vector = numbers(space.index, row)?;
            Ok(Row { id: row.try_get(0)?, vector, exact: row.try_get(2)?, text: row.try_get(3)? })
        };
        self.client.borrow_mut().query(&sql, &[&source])?.iter().map(row).collect()
    }

    fn replace(
        &mut self,
        old: Option<(&Space, &str)>,
        space: &Space,
        source: &Source,
        rows: &[Row],
    ) -> Result<bool, Error> {
        let mut transaction = self.client.get_mut().transaction()?;
        if let Some((Space { id, .. }, old)) = old {
            // whoever comes second waits here, and then finds no source
            let sql = format!("SELECT id FROM embosk_sources_{id} WHERE id = $1 FOR UPDATE");
            if transaction.query_opt(&sql, &[&old])?.is_none() {
                return Ok(false);
            }
            transaction.execute(&format!("DELETE FROM embosk_chunks_{id} WHERE source = $1"), &[&old])?;
            transaction.execute(&format!("DELETE FROM embosk_sources_{id} WHERE id = $1"), &[&old])?;
        }
        let Space { id, index, .. } = space;
        transaction.execute(
            &format!("INSERT INTO embosk_sources_{id} VALUES ($1, $2, $3)"),
            &[&source.id, &source.name, &source.digest],
        )?;
        let insert = transaction.prepare(&format!(
            "INSERT INTO embosk_chunks_{id} (id, source, vector, exact, text) VALUES ($1, $2, $3, $4, $5)"
        ))?;
        for row in rows {
            let vector = parameter(*index, &row.vector);
            transaction.execute(&insert, &[&row.id, &source.id, &*vector, &row.exact, &row.text])?;
        }
        transaction.commit()?;
        Ok(true)
    }

    fn nearest(&self, space: &Space, vector: &[f32], k: usize) -> Result<Vec<Candidate>, Error> {
        let (id, operator) = (space.id, operator(space.index));
        let sql = format!(
            "SELECT id, (vector {operator} $1)::float8, exact FROM embosk_chunks_{id}
             ORDER BY vector {operator} $1 LIMIT $2"
        );
        let share = if space.index.numbers == Numbers::Bit { space.dim as f64 } else { 1.0 };
        let mut client = self.client.borrow_mut();
        let mut transaction = client.transaction()?;
        look_far(&mut transaction, k)?;
        let parameter = parameter(space.index, vector);
        let candidate = |row: &postgres::Row| {
            let distance = row.try_get::<_, f64>(1)? / share;
            Ok(Candidate { id: row.try_get(0)?, distance, exact: row.try_get(2)? })
        };
        let limit = i64::try_from(k).unwrap_or(i64::MAX);
        let found = transaction.query(&sql, &[&*parameter, &limit])?;
        let mut found = found.iter().map(candidate).collect::<Result<Vec<_>, Error>>()?;
        found.sort_by(|a, b| a.distance.total_cmp(&b.distance).then_with(|| b.id.cmp(&a.id)));
        Ok(found)
    }

    fn text(&self, space: &Space, id: &str) -> Result<Text, Error> {
        let sql = format!(
            "SELECT chunks.text, sources.id, sources.name FROM embosk_chunks_{0} chunks
             JOIN embosk_sources_{0} sources ON sources.id = chunks.source WHERE chunks.id = $1",
            space.id
        );
        let row = self.client.borrow_mut().query_opt(&sql, &[&id])?;
        let row = row.ok_or_else(|| Error::Incomplete { id: id.to_owned() })?;
        Ok(Text { text: row.try_get(0)?, source: row.try_get(1)?, name: row.try_get(2)? })
    }
}

/// Lets the index return `k` rows: by default pgvector looks at 40.
fn look_far(transaction: &mut Transaction<'_>, k: usize) -> Result<(), Error> {
    let (first, most) = ((2 * k).clamp(100, MOST_AT_ONCE), (10 * k).max(20_000));
    Ok(transaction.batch_execute(&format!(
        "SET LOCAL hnsw.ef_search = {first}; SET LOCAL hnsw.iterative_scan = strict_order;
         SET LOCAL hnsw.max_scan_tuples = {most}"
    ))?)
}

/// The type of the column.
fn column(index: Index) -> Result<&'static str, Error> {
    match index.numbers {
        Numbers::Float => Ok("vector"),
        Numbers::Half => Ok("halfvec"),
        Numbers::Bit => Ok("bit"),
        Numbers::Int8 => Err(Error::Unsupported {
            store: "pgvector",
            index,
            supported: "floats of 32 and 16 bits by each metric, and signs",
        }),
    }
}

/// By which operators the column is indexed.
fn class(index: Index) -> String {
    let metric = match index.metric {
        _ if index.numbers == Numbers::Bit => return "bit_hamming_ops".into(),
        Metric::Cosine => "cosine",
        Metric::InnerProduct => "ip",
        Metric::Euclid => "l2",
    };
    let column = if index.numbers == Numbers::Half { "halfvec" } else { "vector" };
    format!("{column}_{metric}_ops")
}

fn operator(index: Index) -> &'static str {
    match index.metric {
        _ if index.numbers == Numbers::Bit => "<~>",
        Metric::Cosine => "<=>",
        Metric::InnerProduct => "<#>",
        Metric::Euclid => "<->",
    }
}

fn parameter(index: Index, vector: &[f32]) -> Box<dyn ToSql + Sync> {
    match index.numbers {
        Numbers::Bit => Box::new(Bit::new(&vector.iter().map(|&number| number > 0.0).collect::<Vec<_>>())),
        Numbers::Half => Box::new(HalfVector::from_f32_slice(vector)),
        _ => Box::new(Vector::from(vector.to_vec())),
    }
}

/// The second column of a row as numbers; of signs, 1 and −1.
fn numbers(index: Index, row: &postgres::Row) -> Result<Vec<f32>, Error> {
    Ok(match index.numbers {
        Numbers::Bit => {
            let bits = row.try_get::<_, Bit>(1)?;
            let is_set = |at: usize| bits.as_bytes()[at / 8] & (0x80 >> (at % 8)) != 0;
            (0..bits.len()).map(|at| if is_set(at) { 1.0 } else { -1.0 }).collect()
        }
        Numbers::Half => {
            row.try_get::<_, HalfVector>(1)?.to_vec().into_iter().map(half::f16::to_f32).collect()
        }
        _ => row.try_get::<_, Vector>(1)?.to_vec(),
    })
}

impl From<postgres::Error> for Error {
    /// Keeps the server's message alone: its details may quote rows.
    fn from(error: postgres::Error) -> Self {
        let message = match (error.as_db_error(), std::error::Error::source(&error)) {
            (Some(refused), _) => refused.message().to_owned(),
            (None, Some(cause)) => format!("{error}: {cause}"),
            (None, None) => error.to_string(),
        };
        Self::Store(format!("PostgreSQL: {message}").into())
    }
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("index", &self.index).finish_non_exhaustive()
    }
}
