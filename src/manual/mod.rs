//! Three chapters of the manual. The manual is a book in `docs/`, and links from these chapters to others lead somewhere
//! in the book and in the repository, not here.

#[doc = include_str!("worth.md")]
pub mod worth {}

#[doc = include_str!("retrieval.md")]
pub mod retrieval {}

#[doc = include_str!("embedders.md")]
pub mod embedders {}
