//! The tests of the library and the command line, by topic, in one program: it is linked once, and its tests share
//! the processor to the end.
#![allow(clippy::unwrap_used)]

mod common;

mod async_embedder;
#[cfg(feature = "cli")]
mod attack;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "evaluate")]
mod coarse;
#[cfg(feature = "evaluate")]
mod conclusive;
#[cfg(feature = "evaluate")]
mod contamination;
#[cfg(feature = "cli")]
mod curve;
#[cfg(feature = "vec2text")]
mod distilled;
#[cfg(feature = "evaluate")]
mod evaluation;
#[cfg(all(feature = "cli", target_os = "linux"))]
mod faults;
#[cfg(feature = "cli")]
mod files;
#[cfg(feature = "evaluate")]
mod gate;
#[cfg(feature = "evaluate")]
mod gate_evidence;
#[cfg(feature = "evaluate")]
mod guess;
#[cfg(feature = "cli")]
mod http_cli;
#[cfg(feature = "http")]
mod http_embedder;
#[cfg(feature = "evaluate")]
mod metrics;
#[cfg(feature = "cli")]
mod published;
#[cfg(all(feature = "cli", unix))]
mod recommend;
#[cfg(feature = "cli")]
mod reference;
#[cfg(feature = "evaluate")]
mod rerank;
#[cfg(feature = "cli")]
mod resume;
#[cfg(feature = "vec2text")]
mod sentence_transformer;
#[cfg(all(feature = "cli", unix))]
mod serve;
#[cfg(all(feature = "cli", unix))]
mod serve_tls;
#[cfg(feature = "cli")]
mod setup_cli;
#[cfg(feature = "evaluate")]
mod small_corpora;
#[cfg(feature = "evaluate")]
mod statistics;
#[cfg(feature = "evaluate")]
mod steady;
#[cfg(feature = "cli")]
mod train;
#[cfg(feature = "evaluate")]
mod vectors;
#[cfg(feature = "vec2text")]
mod white_box;
#[cfg(feature = "evaluate")]
mod words;
