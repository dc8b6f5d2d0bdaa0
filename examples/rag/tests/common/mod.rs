//! A small collection, under a key and without.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod laws;

use std::path::Path;
use std::sync::Arc;

use embosk::embedder::{Described, Identity};
use embosk::ndarray::Array2;
use embosk::{BoxError, Embedder, Key};
use embosk_rag::{Access, Coarse, Collection, Document, Error, Ingested, Settings, SqliteStore};

pub(crate) fn key(byte: u8) -> Key {
    Key::from_bytes([byte; 32])
}

pub(crate) fn under(byte: u8, settings: Settings) -> Access {
    Access::Protected { key: key(byte), settings }
}

/// Fewer coordinates than a collection of a few chunks has chunks.
pub(crate) const FEW: Settings = few(4, 0.05);

pub(crate) const fn few(dims: usize, sigma: f64) -> Settings {
    Settings { coarse: Coarse::Components { dims, sigma }, candidates: 50 }
}

/// Counts pairs of letters in 64 bins: quick, and alike for texts that are alike.
pub(crate) fn letters() -> Arc<dyn Embedder> {
    named("letters")
}

pub(crate) fn named(name: &str) -> Arc<dyn Embedder> {
    let embed = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
        let mut rows = Array2::<f32>::zeros((texts.len(), 64));
        for (mut row, text) in rows.rows_mut().into_iter().zip(texts) {
            for pair in text.as_bytes().windows(2) {
                row[(usize::from(pair[0]) * 31 + usize::from(pair[1])) % 64] += 1.0;
            }
        }
        for mut row in rows.rows_mut() {
            let length = row.dot(&row).sqrt();
            row /= length.max(1.0);
        }
        Ok(rows)
    };
    Arc::new(Described::new(embed).identity(Identity::new(name, "1")).unit_norm(true))
}

/// Four files with twelve chunks.
pub(crate) fn documents() -> Vec<Document> {
    let file = |name: &str, text: &str| Document::new(name, text);
    vec![
        file(
            "house.txt",
            "The rent of the flat in Alder Street is due on the third.\n\n\
             The roof above the kitchen leaks when it rains for long.\n\n\
             A plumber will look at the boiler in the cellar on Monday.",
        ),
        file(
            "letters/ann.txt",
            "Ann Lee owes four hundred and twenty euros to the club.\n\n\
             She asked if she may pay the sum back in small parts.\n\n\
             Her brother Quentin wrote that he would vouch for her.",
        ),
        file(
            "trips.md",
            "The train to Zagreb leaves at nine from the main station.\n\n\
             We booked two rooms with a view over the old harbour.\n\n\
             Do not forget the passports and the jacket for the boat.",
        ),
        file(
            "garden.md",
            "Tomatoes want much water and more sun than the north side has.\n\n\
             The quince bore so much fruit that we gave half of it away.\n\n\
             Next year we will plant beans where the potatoes were before.",
        ),
    ]
}

/// One more file.
pub(crate) fn few_words() -> Document {
    Document::new("new.txt", "Wilhelmina hid the key under the third flower pot.")
}

pub(crate) fn ingest(path: &Path, access: &Access, documents: &[Document]) -> Result<Ingested, Error> {
    let store = SqliteStore::open_or_create(path)?;
    Collection::ingest(store, letters(), access, documents).map(|(_, ingested)| ingested)
}

pub(crate) fn open(path: &Path, access: &Access) -> Result<Collection<SqliteStore>, Error> {
    Collection::open(SqliteStore::open(path)?, letters(), access)
}

/// The best hit's text.
pub(crate) fn best(path: &Path, access: &Access, question: &str) -> Result<String, Error> {
    Ok(open(path, access)?.ask(question, 3)?[0].text.to_string())
}
