//! What each store must do, on Qdrant's engine.
#![allow(clippy::unwrap_used)]

#[path = "../../../examples/rag/tests/common/mod.rs"]
mod common;

use std::fs;
use std::path::Path;

use common::laws::{self, Place};
use common::{FEW, documents, letters, under};
use embosk_qdrant::QdrantStore;
use embosk_rag::store::{Index, Metric, Numbers, Source, Store};
use embosk_rag::{Access, Collection, Document, Error};

const INDEXES: [Index; 8] = [
    Index { numbers: Numbers::Float, metric: Metric::Cosine },
    Index { numbers: Numbers::Float, metric: Metric::InnerProduct },
    Index { numbers: Numbers::Float, metric: Metric::Euclid },
    Index { numbers: Numbers::Half, metric: Metric::Cosine },
    Index { numbers: Numbers::Int8, metric: Metric::Cosine },
    Index { numbers: Numbers::Int8, metric: Metric::Euclid },
    Index { numbers: Numbers::Bit, metric: Metric::Cosine },
    Index { numbers: Numbers::Bit, metric: Metric::InnerProduct },
];

struct Qdrant {
    store: QdrantStore,
    folder: tempfile::TempDir,
}

impl Place for Qdrant {
    type Store = QdrantStore;

    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: QdrantStore::open_or_create(folder.path().join("rag")).unwrap(), folder }
    }

    fn open(&self, index: Index) -> QdrantStore {
        self.store.clone().index(index)
    }

    fn limit(&self, _: Option<usize>) -> bool {
        false
    }
}

#[test]
fn hits_are_those_without_protection() {
    laws::hits_are_those_without_protection::<Qdrant>(&INDEXES);
}

#[test]
fn a_changed_file_replaces_its_chunks() {
    laws::a_changed_file_replaces_its_chunks::<Qdrant>();
}

#[test]
fn others_are_refused_with_what_to_do() {
    laws::others_are_refused_with_what_to_do::<Qdrant>();
}

#[test]
fn a_plain_collection_moves_to_a_key() {
    laws::a_plain_collection_moves_to_a_key::<Qdrant>();
}

#[test]
fn a_collection_moves_to_another_key() {
    laws::a_collection_moves_to_another_key::<Qdrant>(&INDEXES);
}

#[test]
fn what_qdrant_cannot_compare_is_refused() {
    laws::what_a_store_cannot_compare_is_refused::<Qdrant>(&[Index {
        numbers: Numbers::Bit,
        metric: Metric::Euclid,
    }]);
}

/// A space that was left is removed with all that is in it, the log included.
#[test]
fn no_text_stays_in_a_collection_that_moved_to_a_key() {
    let place = laws::moved_from_plain::<Qdrant>();
    // in Base64, the text begins at each of three places of a group
    let holds = |text: &str| files(place.folder.path()).iter().any(|bytes| has(bytes, text));
    assert!(!holds("Zagreb") && !holds("WmFncmVi") && !holds("phZ3JlY") && !holds("aYWdyZW"));
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![fs::read(path).unwrap()] }).collect()
}

#[test]
fn a_collection_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rag");
    assert!(matches!(QdrantStore::open(&path), Err(Error::NoCollection)));
    let store = QdrantStore::open_or_create(&path).unwrap();
    let (collection, _) = Collection::ingest(store, letters(), &under(1, FEW), &documents()).unwrap();
    let second = QdrantStore::open(&path).unwrap_err();
    assert!(second.to_string().contains("another process has the collection open"), "{second}");
    let before = collection.ask("When does the train to Zagreb leave?", 3).unwrap();
    drop(collection);

    let opened = Collection::open(QdrantStore::open(&path).unwrap(), letters(), &under(1, FEW)).unwrap();
    let after = opened.ask("When does the train to Zagreb leave?", 3).unwrap();
    assert_eq!(after.len(), 3);
    assert!(before.iter().zip(&after).all(|(a, b)| *a.text == *b.text));
    assert!(after[0].text.contains("Zagreb"));
}

/// What a process wrote and did not finish is not believed: rows of a source that the catalog does not have, and a space.
#[test]
fn what_was_interrupted_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rag");
    let store = QdrantStore::open_or_create(&path).unwrap();
    let (collection, _) = Collection::ingest(store, letters(), &under(1, FEW), &documents()).unwrap();
    drop(collection);
    let catalog = fs::read(path.join("collection.json")).unwrap();

    let new = [Document::new("trips.md", "The train to Zagreb is cancelled, so take the bus at noon.")];
    let store = QdrantStore::open(&path).unwrap();
    let (collection, done) = Collection::ingest(store, letters(), &under(1, FEW), &new).unwrap();
    assert_eq!(done.replaced, 1);
    drop(collection);
    let replaced = fs::read(path.join("collection.json")).unwrap();

    // as if it had died before the catalog was written: the new rows are not there
    fs::write(path.join("collection.json"), &catalog).unwrap();
    fs::create_dir(path.join("space-7")).unwrap();
    let store = QdrantStore::open(&path).unwrap();
    assert!(!path.join("space-7").exists());
    let space = store.spaces().unwrap().remove(0);
    let count = |store: &QdrantStore, sources: &[Source]| -> usize {
        sources.iter().map(|source| store.rows(&space, &source.id).unwrap().len()).sum()
    };
    let sources = store.sources(&space).unwrap();
    let rows = count(&store, &sources);
    assert_eq!(store.nearest(&space, &[0.1; 4], 100).unwrap().len(), rows);
    drop(store);
    fs::write(path.join("collection.json"), &replaced).unwrap();
    let store = QdrantStore::open(&path).unwrap();
    let of_new = store.sources(&space).unwrap().into_iter().find(|source| !sources.contains(source)).unwrap();
    assert_eq!(store.rows(&space, &of_new.id).unwrap(), [], "they were removed, not hidden");

    fs::write(path.join("collection.json"), "{}").unwrap();
    drop(store);
    assert!(matches!(QdrantStore::open(&path), Err(Error::NotOurs)));
    fs::write(path.join("collection.json"), r#"{"embosk_rag_qdrant": 9, "spaces": []}"#).unwrap();
    assert!(matches!(QdrantStore::open(&path), Err(Error::Format { found: 9 })));
    fs::remove_file(path.join("collection.json")).unwrap();
    assert!(matches!(QdrantStore::open_or_create(&path), Err(Error::NotOurs)));
}

/// With an HNSW index and quantized vectors, nearly all of the nearest are found.
#[test]
fn an_index_finds_nearly_all() {
    for numbers in [Numbers::Float, Numbers::Int8, Numbers::Bit] {
        let folder = tempfile::tempdir().unwrap();
        let index = Index { numbers, metric: Metric::Cosine };
        let store = QdrantStore::open_or_create(folder.path()).unwrap().index(index).indexed_from(64);
        let text = |n: usize| format!("Order {n} of {} is for {} in {}.", n * 7919 % 997, n % 83, n * 31 % 211);
        let documents: Vec<Document> = (0..3000)
            .map(|n| Document::new(format!("{n}.txt"), &text(n)))
            .collect();
        let access = under(1, embosk_rag::Settings { coarse: embosk_rag::Coarse::Rotated, candidates: 200 });
        let (found, _) = Collection::ingest(store, letters(), &access, &documents).unwrap();
        let plain = tempfile::tempdir().unwrap();
        let exact = QdrantStore::open_or_create(plain.path()).unwrap().indexed_from(1_000_000);
        let (exact, _) = Collection::ingest(exact, letters(), &Access::Plain, &documents).unwrap();
        let mut same = 0;
        for n in 0..50 {
            let question = text(n * 59);
            let names = |hits: Vec<embosk_rag::Hit>| hits.iter().map(|hit| hit.name.to_string()).collect::<Vec<_>>();
            let (a, b) = (names(found.ask(&question, 10).unwrap()), names(exact.ask(&question, 10).unwrap()));
            same += a.iter().filter(|name| b.contains(name)).count();
        }
        assert!(same >= 480, "{numbers:?}: {same} of 500");
    }
}
