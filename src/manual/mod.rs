//! The manual: pages that say more than one function's documentation can.

#[doc = include_str!("worth.md")]
pub mod worth {}

#[doc = include_str!("retrieval.md")]
pub mod retrieval {}

#[doc = include_str!("embedders.md")]
pub mod embedders {}
