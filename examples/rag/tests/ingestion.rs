//! Ingestions that are repeated, continued or interrupted.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{FEW, best, documents, ingest, open, under};
use embosk_rag::{Access, Document, Error, Ingested};
use rusqlite::Connection;

const QUESTION: &str = "Who vouches for Ann, her brother Quentin?";

fn count(path: &Path, table: &str) -> usize {
    let sql = format!("SELECT count(*) FROM {table}");
    Connection::open(path).unwrap().query_row(&sql, [], |row| row.get::<_, isize>(0)).unwrap().unsigned_abs()
}

/// sqlite-vec's own table of ids.
const TABLES: [(&str, usize); 3] = [("sources_1", 4), ("chunks_1", 12), ("vectors_1_rowids", 12)];

#[test]
fn the_same_files_are_stored_once() {
    for access in [under(1, FEW), Access::Plain] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rag.db");
        let first = ingest(&path, &access, &documents()).unwrap();
        assert_eq!((first.added, first.replaced, first.unchanged, first.chunks), (4, 0, 0, 12));
        let bytes = std::fs::read(&path).unwrap();
        let again = ingest(&path, &access, &documents()).unwrap();
        assert_eq!(again, Ingested { unchanged: 4, ..Ingested::default() });
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert_eq!(TABLES.map(|(table, _)| (table, count(&path, table))), TABLES);
    }
}

#[test]
fn a_changed_file_replaces_its_chunks_and_a_new_one_is_added() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rag.db");
    let access = under(1, FEW);
    ingest(&path, &access, &documents()).unwrap();
    let new = [
        Document::new("trips.md", "The train to Zagreb is cancelled, so take the bus at noon."),
        Document::new("empty.txt", ""),
    ];
    let done = ingest(&path, &access, &new).unwrap();
    assert_eq!((done.added, done.replaced, done.unchanged, done.chunks), (1, 1, 0, 1));
    assert_eq!((count(&path, "chunks_1"), count(&path, "vectors_1_rowids")), (10, 10));
    let hits = open(&path, &access).unwrap().ask("When does the train to Zagreb leave?", 10).unwrap();
    assert!(hits[0].text.contains("take the bus at noon") && *hits[0].name == "trips.md");
    assert!(!hits.iter().any(|hit| hit.text.contains("main station")));
}

#[test]
fn an_interrupted_ingestion_keeps_whole_files_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rag.db");
    let access = under(1, FEW);
    // the store fails in the middle of the third file, as a full disk would
    ingest(&path, &access, &documents()[..2]).unwrap();
    let fail = "CREATE TRIGGER full BEFORE INSERT ON chunks_1 WHEN (SELECT count(*) FROM chunks_1) >= 8
                BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    Connection::open(&path).unwrap().execute_batch(fail).unwrap();
    let failed = ingest(&path, &access, &documents());
    assert!(matches!(failed, Err(Error::Sqlite(_))), "{failed:?}");
    let counts = TABLES.map(|(table, _)| count(&path, table));
    assert_eq!(counts, [2, 6, 6]);
    assert!(best(&path, &access, QUESTION).unwrap().contains("Quentin"));

    Connection::open(&path).unwrap().execute_batch("DROP TRIGGER full").unwrap();
    let done = ingest(&path, &access, &documents()).unwrap();
    assert_eq!((done.added, done.replaced, done.unchanged, done.chunks), (2, 0, 2, 6));
    assert_eq!(TABLES.map(|(table, _)| (table, count(&path, table))), TABLES);
    assert!(best(&path, &access, "tomatoes, water and sun").unwrap().contains("Tomatoes"));
}

#[test]
fn a_process_that_dies_while_it_writes_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rag.db");
    let access = under(1, FEW);
    ingest(&path, &access, &documents()).unwrap();
    let connection = Connection::open(&path).unwrap();
    // pages go to the file before the transaction ends, and the process is gone before it does
    connection
        .execute_batch("PRAGMA cache_size = 1; BEGIN IMMEDIATE; DELETE FROM chunks_1; DELETE FROM sources_1;")
        .unwrap();
    for file in ["rag.db", "rag.db-journal"] {
        std::fs::copy(folder.path().join(file), folder.path().join(format!("dead-{file}"))).unwrap();
    }
    drop(connection);
    let dead = folder.path().join("dead-rag.db");
    assert!(best(&dead, &access, QUESTION).unwrap().contains("Quentin"));
    assert_eq!(ingest(&dead, &access, &documents()).unwrap().unchanged, 4);
}
