//! A small search over texts of your own, as retrieval-augmented generation needs it, in one SQLite file that holds
//! neither text nor exact vector.
//!
//! The store searches coarse vectors with noise. Texts and exact vectors are sealed beside them. The application
//! opens the rows that the store finds, and orders them exactly: see [`embosk::Sealed`].
//!
//! - [`Document`]: files, in chunks.
//! - [`Collection`]: ingests documents and answers questions, under a key and [`Settings`].
//! - [`Store`](store::Store): what it asks of a store; [`SqliteStore`] is one.

mod collection;
mod documents;
mod error;
mod form;
mod settings;
mod sqlite;
pub mod store;

pub use collection::{Collection, HITS, Hit, Ingested};
pub use documents::Document;
pub use error::Error;
pub use settings::{Access, Settings};
pub use sqlite::SqliteStore;
