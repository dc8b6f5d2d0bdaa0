//! What several topics need.
#![allow(dead_code, reason = "fewer features have fewer tests")]

#[cfg(feature = "evaluate")]
pub(crate) mod backwards;
#[cfg(feature = "cli")]
pub(crate) mod command;
#[cfg(feature = "evaluate")]
pub(crate) mod letters;
#[cfg(feature = "evaluate")]
pub(crate) mod lookup;
#[cfg(feature = "http")]
pub(crate) mod server;
#[cfg(all(feature = "cli", unix))]
pub(crate) mod sidecar;
pub(crate) mod words;

use std::path::PathBuf;
use std::process::Command;

/// Says that something was not checked, because a program is missing.
///
/// # Panics
/// If `EMBOSK_NO_SKIPS` is set, as `.ci/run` does where nothing is missing.
#[track_caller]
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("EMBOSK_NO_SKIPS").is_none(), "{why}, and EMBOSK_NO_SKIPS is set");
    eprintln!("NOT RUN: {why}");
}

/// The folder of all-MiniLM-L6-v2, fetched where it is missing.
///
/// # Panics
/// When it cannot be had, saying what to run.
pub(crate) fn minilm() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/fetch-minilm");
    let output =
        Command::new(script).output().expect("scripts/fetch-minilm cannot be run: it needs bash and python3");
    assert!(
        output.status.success(),
        "all-MiniLM-L6-v2 is missing; run scripts/fetch-minilm, or set EMBOSK_MINILM to its folder:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}
