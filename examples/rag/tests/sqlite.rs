//! What each store must do, on SQLite.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/places.rs"]
mod places;

use common::laws;
use embosk_rag::store::{Index, Metric, Numbers};
use places::Sqlite;

const INDEXES: [Index; 4] = [
    Index { numbers: Numbers::Float, metric: Metric::Cosine },
    Index { numbers: Numbers::Float, metric: Metric::Euclid },
    Index { numbers: Numbers::Int8, metric: Metric::Cosine },
    Index { numbers: Numbers::Bit, metric: Metric::Cosine },
];

#[test]
fn hits_are_those_without_protection() {
    laws::hits_are_those_without_protection::<Sqlite>(&INDEXES);
}

#[test]
fn the_same_files_from_two_processes_are_stored_once() {
    laws::the_same_files_from_two_processes_are_stored_once::<Sqlite>();
}

#[test]
fn a_changed_file_replaces_its_chunks() {
    laws::a_changed_file_replaces_its_chunks::<Sqlite>();
}

#[test]
fn others_are_refused_with_what_to_do() {
    laws::others_are_refused_with_what_to_do::<Sqlite>();
}

#[test]
fn a_plain_collection_moves_to_a_key() {
    laws::a_plain_collection_moves_to_a_key::<Sqlite>();
}

#[test]
fn a_collection_moves_to_another_key() {
    laws::a_collection_moves_to_another_key::<Sqlite>(&INDEXES);
}

#[test]
fn what_sqlite_cannot_compare_is_refused() {
    laws::what_a_store_cannot_compare_is_refused::<Sqlite>(&[
        Index { numbers: Numbers::Float, metric: Metric::InnerProduct },
        Index { numbers: Numbers::Half, metric: Metric::Cosine },
        Index { numbers: Numbers::Int8, metric: Metric::Euclid },
    ]);
}

/// What moved away is overwritten, so that no text stays in the file.
#[test]
fn no_text_stays_in_a_file_that_moved_to_a_key() {
    let place = laws::moved_from_plain::<Sqlite>();
    let bytes = std::fs::read(place.path()).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(!holds("Zagreb") && !holds("Quentin") && !holds("garden.md"));
}
