//! What each store must do, on PostgreSQL: scripts/postgres starts a server of its own.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/places.rs"]
mod places;

use std::thread;

use common::laws::{self, Place as _};
use common::{FEW, documents, key, letters, under};
use embosk_rag::store::{Index, Metric, Numbers, Store as _};
use embosk_rag::{Access, Collection, Error, PostgresStore};
use places::Postgres;

const INDEXES: [Index; 5] = [
    Index { numbers: Numbers::Float, metric: Metric::Cosine },
    Index { numbers: Numbers::Float, metric: Metric::InnerProduct },
    Index { numbers: Numbers::Float, metric: Metric::Euclid },
    Index { numbers: Numbers::Half, metric: Metric::Cosine },
    Index { numbers: Numbers::Bit, metric: Metric::Cosine },
];

#[test]
fn hits_are_those_without_protection() {
    laws::hits_are_those_without_protection::<Postgres>(&INDEXES);
}

#[test]
fn the_same_files_from_two_processes_are_stored_once() {
    laws::the_same_files_from_two_processes_are_stored_once::<Postgres>();
}

#[test]
fn a_changed_file_replaces_its_chunks() {
    laws::a_changed_file_replaces_its_chunks::<Postgres>();
}

#[test]
fn others_are_refused_with_what_to_do() {
    laws::others_are_refused_with_what_to_do::<Postgres>();
}

#[test]
fn a_plain_collection_moves_to_a_key() {
    laws::a_plain_collection_moves_to_a_key::<Postgres>();
}

#[test]
fn a_collection_moves_to_another_key() {
    laws::a_collection_moves_to_another_key::<Postgres>(&[INDEXES[0], INDEXES[4]]);
}

#[test]
fn what_pgvector_cannot_compare_is_refused() {
    laws::what_a_store_cannot_compare_is_refused::<Postgres>(&[Index {
        numbers: Numbers::Int8,
        metric: Metric::Cosine,
    }]);
}

/// Each file moves once, however many processes move files.
#[test]
fn two_processes_move_a_collection_together() {
    let place = Postgres::new();
    let documents: Vec<_> = (0..20)
        .flat_map(|copy| {
            documents().into_iter().map(move |mut document| {
                document.name = format!("{copy}/{}", document.name);
                document
            })
        })
        .collect();
    Collection::ingest(place.open(Index::default()), letters(), &Access::Plain, &documents).unwrap();
    let migrate =
        || Collection::migrate(place.open(Index::default()), letters(), &Access::Plain, &under(1, FEW));
    drop(migrate().unwrap());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut moving = migrate().unwrap();
                while moving.advance(1).unwrap() > 0 {}
            });
        }
    });
    let store = place.open(Index::default());
    let spaces = store.spaces().unwrap();
    assert_eq!((spaces.len(), spaces[0].id), (1, 2));
    let sources = store.sources(&spaces[0]).unwrap();
    let rows: usize = sources.iter().map(|source| store.rows(&spaces[0], &source.id).unwrap().len()).sum();
    assert_eq!((sources.len(), rows), (80, 240));
}

/// A table that is left shows nothing of the plain rows.
#[test]
fn a_space_that_rows_moved_from_is_gone() {
    let place = laws::moved_from_plain::<Postgres>();
    let sql = "DO $$ BEGIN ASSERT to_regclass('embosk_chunks_1') IS NULL
                   AND to_regclass('embosk_sources_1') IS NULL
                   AND (SELECT count(*) FROM embosk_chunks_2 WHERE position('Zagreb'::bytea IN text) > 0) = 0;
               END $$";
    place.execute(sql);
}

#[test]
fn errors_name_neither_address_nor_rows() {
    let refused = PostgresStore::connect("postgres://me:hunter2@localhost:1/none").unwrap_err().to_string();
    assert!(refused.starts_with("PostgreSQL: ") && !refused.contains("hunter2"), "{refused}");
    let malformed =
        PostgresStore::connect("postgres://me:hunter2@localhost:port/none").unwrap_err().to_string();
    assert!(!malformed.contains("hunter2"), "{malformed}");

    let place = Postgres::new();
    Collection::ingest(place.open(Index::default()), letters(), &Access::Plain, &documents()).unwrap();
    place.execute("ALTER TABLE embosk_chunks_1 ADD CHECK (length(exact) > 0) NOT VALID");
    let new = [embosk_rag::Document::new("new.txt", "Wilhelmina hid the key.")];
    let failed =
        Collection::ingest(place.open(Index::default()), letters(), &Access::Plain, &new).unwrap_err();
    assert!(matches!(failed, Error::Store(_)) && !failed.to_string().contains("Wilhelmina"), "{failed}");
    assert!(!format!("{failed:?}").contains("57696c68"), "{failed:?}");

    place.execute("UPDATE embosk_spaces SET format = 2");
    let newer = Collection::open(place.open(Index::default()), letters(), &Access::Plain).unwrap_err();
    assert!(matches!(newer, Error::Format { found: 2 }), "{newer:?}");
    assert!(!newer.to_string().contains(&*key(1).to_text()));
}
