//! A small search over texts of your own, as retrieval-augmented generation needs it, in a store that holds neither
//! text nor exact vector.
//!
//! The store searches coarse vectors with noise. Texts and exact vectors are sealed beside them. The application
//! opens the rows that the store finds, and orders them exactly: see [`embosk::Sealed`].
//!
//! - [`Document`]: files, in chunks.
//! - [`Collection`]: ingests documents and answers questions, under a key and [`Settings`].
//! - [`Store`](store::Store): what it asks of a store; [`SqliteStore`] and [`PostgresStore`] are two.

mod collection;
mod documents;
mod error;
mod form;
mod migration;
mod postgres;
mod settings;
mod sqlite;
pub mod store;

pub use collection::{Collection, HITS, Hit, Ingested};
pub use documents::Document;
pub use error::Error;
pub use postgres::PostgresStore;
pub use settings::{Access, Coarse, Settings};
pub use sqlite::SqliteStore;
