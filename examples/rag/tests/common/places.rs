//! Where collections are: a file of SQLite, or a database of PostgreSQL.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use embosk_rag::store::Index;
use embosk_rag::{PostgresStore, SqliteStore};
use postgres::{Client, NoTls, SimpleQueryMessage};
use rusqlite::Connection;

use crate::common::laws::Place;

pub(crate) struct Sqlite(tempfile::TempDir);

impl Sqlite {
    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("rag.db")
    }
}

impl Place for Sqlite {
    type Store = SqliteStore;

    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self, index: Index) -> SqliteStore {
        SqliteStore::open_or_create(self.path()).unwrap().index(index)
    }

    fn limit(&self, chunks: Option<usize>) -> bool {
        let sql = match chunks {
            Some(most) => format!(
                "CREATE TRIGGER full BEFORE INSERT ON chunks_2 WHEN (SELECT count(*) FROM chunks_2) >= {most}
                 BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
            ),
            None => "DROP TRIGGER full".into(),
        };
        Connection::open(self.path()).unwrap().execute_batch(&sql).unwrap();
        true
    }
}

/// A database of the server that all tests of a process share.
pub(crate) struct Postgres {
    database: String,
}

impl Postgres {
    pub(crate) fn url(&self) -> String {
        server().replace("/postgres?", &format!("/{}?", self.database))
    }

    /// How the server finds the nearest rows by an operator, if it must not read all of them.
    pub(crate) fn plan(&self, operator: &str) -> String {
        let sql = format!(
            "SET enable_seqscan = off;
             EXPLAIN SELECT id FROM embosk_chunks_1
             ORDER BY vector {operator} (SELECT vector FROM embosk_chunks_1 LIMIT 1) LIMIT 10"
        );
        let messages = Client::connect(&self.url(), NoTls).unwrap().simple_query(&sql).unwrap();
        let lines = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn execute(&self, sql: &str) {
        Client::connect(&self.url(), NoTls).unwrap().batch_execute(sql).unwrap();
    }
}

impl Place for Postgres {
    type Store = PostgresStore;

    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let database = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let sql = format!("CREATE DATABASE {database}");
        Client::connect(server(), NoTls).unwrap().batch_execute(&sql).unwrap();
        Self { database }
    }

    fn open(&self, index: Index) -> PostgresStore {
        PostgresStore::connect(&self.url()).unwrap().index(index)
    }

    fn limit(&self, chunks: Option<usize>) -> bool {
        self.execute(&match chunks {
            Some(most) => format!(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     IF (SELECT count(*) FROM embosk_chunks_2) >= {most} THEN
                         RAISE EXCEPTION 'the disk is full';
                     END IF;
                     RETURN NEW;
                 END $$;
                 CREATE TRIGGER full_disk BEFORE INSERT ON embosk_chunks_2
                 FOR EACH ROW EXECUTE FUNCTION full_disk()"
            ),
            None => "DROP FUNCTION full_disk CASCADE".into(),
        });
        true
    }
}

/// The address of a server that ends with this process, whose end closes the script's input.
fn server() -> &'static str {
    static SERVER: OnceLock<(Child, String)> = OnceLock::new();
    let start = || {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/postgres");
        let mut child = Command::new(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("scripts/postgres could not be run: {error}"));
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(!url.is_empty(), "scripts/postgres started no server; its message is above");
        (child, url.trim().to_owned())
    };
    &SERVER.get_or_init(start).1
}
