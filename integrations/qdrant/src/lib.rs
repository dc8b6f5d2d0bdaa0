//! The store of [`embosk_rag`] in Qdrant's engine, which runs in the process and needs no server.
//!
//! The engine keeps the vectors that are searched, and beside each the sealed exact vector and the sealed text. Its
//! scalar and binary quantization and its HNSW index work on protected vectors as on any others: see [`QdrantStore`].

mod catalog;
mod shard;
mod store;

pub use store::QdrantStore;
