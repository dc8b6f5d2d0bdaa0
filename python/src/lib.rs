//! `embosk._embosk`: what the Python package `embosk` takes from Rust.
//!
//! Each file has one class or one job. Python's side of the package is in `embosk/`: it adds what only Python has, such
//! as adapters for other packages. Errors become the exceptions of `embosk.errors`.
//!
//! No thread waits here while it holds Python's interpreter lock: whatever takes long is detached from it.

mod argument;
mod array;
mod codes;
mod command;
mod embedder;
mod error;
mod evaluate;
mod guarantee;
mod ids;
mod key;
mod patience;
mod retrieval;
mod stack;
mod threads;

use pyo3::prelude::*;

/// The Rust side of `embosk`; import `embosk` instead.
#[pymodule]
mod _embosk {
    #[pymodule_export]
    use super::codes::Codes;
    #[pymodule_export]
    use super::command::run_command;
    #[pymodule_export]
    use super::embedder::Embedder;
    #[pymodule_export]
    use super::evaluate::{RawReport, run_evaluation, run_inversion};
    #[pymodule_export]
    use super::guarantee::Guarantee;
    #[pymodule_export]
    use super::key::Key;
    #[pymodule_export]
    use super::retrieval::{ndcg_of, search_exactly};
    #[pymodule_export]
    use super::stack::{SeenNorms, Stack, check_norms, check_spec, protect_part, warnings_of};

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::threads::note_process();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// What Python's `norms` does with vectors of another norm than 1.
pub(crate) fn other_norms_of(name: &str) -> PyResult<embosk::defenses::OtherNorms> {
    use embosk::defenses::OtherNorms;
    match name {
        "warn" => Ok(OtherNorms::Accept),
        "refuse" => Ok(OtherNorms::Refuse),
        "normalize" => Ok(OtherNorms::Normalize),
        _ => Err(error::setting("norms must be \"warn\", \"refuse\" or \"normalize\"")),
    }
}

/// The role that Python calls `document` or `query`.
pub(crate) fn role_of(name: &str) -> PyResult<embosk::Role> {
    match name {
        "document" => Ok(embosk::Role::Document),
        "query" => Ok(embosk::Role::Query),
        _ => Err(error::setting("role must be \"document\" or \"query\"")),
    }
}
