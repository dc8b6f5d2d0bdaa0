//! What is refused, by which error, and that nothing is lost by it.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{FEW, best, documents, few, ingest, key, named, open, under};
use embosk::defenses::Refusal;
use embosk_rag::{Access, Collection, Document, Error, Settings, SqliteStore};
use rusqlite::Connection;

const QUESTION: &str = "When does the train to Zagreb leave?";
const ANSWER: &str = "The train to Zagreb leaves at nine from the main station.";

/// A protected collection in a new folder.
fn stored() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rag.db");
    ingest(&path, &under(1, FEW), &documents()).unwrap();
    (folder, path)
}

fn change(path: &Path, sql: &str) -> usize {
    Connection::open(path).unwrap().execute(sql, []).unwrap()
}

#[test]
fn another_key_stack_or_embedder_is_refused_with_what_to_do() {
    let (_folder, path) = stored();
    let before = fs::read(&path).unwrap();
    let refused = |access: &Access| {
        let ingested = ingest(&path, access, &documents()).unwrap_err().to_string();
        let error = open(&path, access).unwrap_err();
        assert_eq!(error.to_string(), ingested);
        assert!(
            !ingested.contains(&*key(1).to_text()) && !ingested.contains(&*key(2).to_text()),
            "{ingested}"
        );
        (error, ingested)
    };
    let (error, told) = refused(&under(2, FEW));
    assert!(matches!(error, Error::OtherKey { .. }), "{error:?}");
    assert!(told.contains("give the collection's key"), "{told}");
    assert!(told.contains(&key(1).fingerprint()) && told.contains(&key(2).fingerprint()), "{told}");

    for dims in [3, 5] {
        let (error, told) = refused(&under(1, few(dims, 0.05)));
        assert!(matches!(error, Error::OtherStack(_)), "{error:?}");
        assert!(told.contains("dims=4") && told.contains(&format!("dims={dims}")), "{told}");
        assert!(told.contains("give the settings that the collection was made with"), "{told}");
    }
    let (error, _) = refused(&Access::Plain);
    assert!(matches!(error, Error::Protected), "{error:?}");

    let other = Collection::open(SqliteStore::open(&path).unwrap(), named("words"), &under(1, FEW));
    assert!(matches!(other, Err(Error::OtherEmbedder { .. })), "{other:?}");

    assert_eq!(fs::read(&path).unwrap(), before);
    // noise and candidates may differ: the space is the same
    let quieter = Settings { candidates: 12, ..few(4, 0.01) };
    assert_eq!(best(&path, &under(1, quieter), QUESTION).unwrap(), ANSWER);
}

#[test]
fn a_key_for_a_plain_collection_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.db");
    ingest(&path, &Access::Plain, &documents()).unwrap();
    let refused = open(&path, &under(1, FEW));
    assert!(matches!(refused, Err(Error::NotProtected)), "{refused:?}");
    assert_eq!(best(&path, &Access::Plain, QUESTION).unwrap(), ANSWER);
}

#[test]
fn changed_rows_are_refused_by_name_and_work_again_once_restored() {
    let swapped = |column: &str| {
        format!(
            "UPDATE chunks_1 SET {column} = (SELECT other.{column} FROM chunks_1 AS other
             WHERE other.id = CASE chunks_1.id WHEN (SELECT min(id) FROM chunks_1) THEN (SELECT max(id) FROM chunks_1)
             ELSE (SELECT min(id) FROM chunks_1) END)
             WHERE id IN ((SELECT min(id) FROM chunks_1), (SELECT max(id) FROM chunks_1))"
        )
    };
    let damages = [
        (
            "a bit of a sealed vector",
            "UPDATE chunks_1 SET exact = CAST(substr(exact, 1, 60) || x'00' || substr(exact, 62) AS BLOB)"
                .to_owned(),
            Refusal::Altered,
        ),
        (
            "a vector that is cut off",
            "UPDATE chunks_1 SET exact = substr(exact, 1, length(exact) - 1)".into(),
            Refusal::NotSealed,
        ),
        ("swapped vectors", swapped("exact"), Refusal::Altered),
        ("swapped texts", swapped("text"), Refusal::Altered),
        (
            "a text of another file",
            "UPDATE chunks_1 SET source = (SELECT max(id) FROM sources_1)".into(),
            Refusal::Altered,
        ),
        (
            "swapped names",
            "UPDATE sources_1 SET name = (SELECT name FROM sources_1 ORDER BY id LIMIT 1)".into(),
            Refusal::Altered,
        ),
        ("a vector for a text", "UPDATE chunks_1 SET text = exact".into(), Refusal::NotSealed),
    ];
    for (what, sql, expected) in damages {
        let (_folder, path) = stored();
        let before = fs::read(&path).unwrap();
        assert!(change(&path, &sql) > 0, "{what}");
        // all rows are found and shown, so that each is opened
        let error = open(&path, &under(1, FEW)).unwrap().ask(QUESTION, 12).unwrap_err();
        let Error::Row { id, refusal } = &error else { panic!("{what}: {error:?}") };
        assert_eq!(id.len(), 32, "{what}");
        let same = std::mem::discriminant(refusal) == std::mem::discriminant(&expected);
        // bytes that are cut off or of another kind have refusals of their own
        let of_its_own = expected == Refusal::NotSealed
            && matches!(refusal, Refusal::Length { .. } | Refusal::Kind { .. });
        assert!(same || of_its_own, "{what}: {error}");
        fs::write(&path, before).unwrap();
        assert_eq!(best(&path, &under(1, FEW), QUESTION).unwrap(), ANSWER, "{what}");
    }
}

#[test]
fn missing_rows_and_a_damaged_header_are_refused() {
    for (sql, expected) in [
        ("DELETE FROM chunks_1", "a part of it is missing"),
        ("UPDATE spaces SET fit = NULL", "the table of spaces is damaged"),
        ("UPDATE spaces SET fit = x'00'", "not a sealed row"),
        ("UPDATE spaces SET fingerprint = 'embosk2 quantization(bits=8)'", "by other defenses"),
    ] {
        let (_folder, path) = stored();
        assert!(change(&path, sql) > 0);
        let error = open(&path, &under(1, FEW)).and_then(|open| open.ask(QUESTION, 3)).unwrap_err();
        assert!(error.to_string().contains(expected), "{sql}: {error}");
    }
}

#[test]
fn other_files_are_left_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other");
    assert!(matches!(SqliteStore::open(&path), Err(Error::NoCollection)));
    assert!(!path.exists());

    let text = "This is no database, and long enough to be taken for one. ".repeat(20);
    fs::write(&path, &text).unwrap();
    let refused = ingest(&path, &under(1, FEW), &documents());
    assert!(matches!(refused, Err(Error::NotOurs)), "{refused:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    let refused = ingest(&path, &under(1, FEW), &documents());
    assert!(matches!(refused, Err(Error::NotOurs)), "{refused:?}");

    let (_folder, path) = stored();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 1).unwrap();
    assert!(matches!(open(&path, &under(1, FEW)), Err(Error::Format { found: 1 })));
}

#[test]
fn too_few_texts_make_no_collection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rag.db");
    let few = ingest(&path, &under(1, FEW), &documents()[..1]);
    assert!(matches!(few, Err(Error::TooFewChunks { chunks: 3, dims: 4 })), "{few:?}");
    let none = ingest(&path, &under(1, FEW), &[Document::new("empty.txt", "\n")]);
    assert!(matches!(none, Err(Error::NoTexts)), "{none:?}");
    assert!(matches!(open(&path, &under(1, FEW)), Err(Error::NoCollection)));
    ingest(&path, &under(1, FEW), &documents()).unwrap();
    assert_eq!(best(&path, &under(1, FEW), QUESTION).unwrap(), ANSWER);
}
