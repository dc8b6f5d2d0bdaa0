//! README and manual: links lead somewhere, snippets are run, and reference pages say what the code does.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod links;
mod pages;
mod reference;
mod snippets;
