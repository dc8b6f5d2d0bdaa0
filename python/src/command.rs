//! The command line, for the console script `embosk`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use embosk::cli::Program;
use pyo3::prelude::*;

/// Runs the `embosk` command with these arguments, the program's name first, and returns its exit code.
/// `code` is the file of this library: rows of interrupted runs are used again only by the same code.
#[pyfunction]
pub(crate) fn run_command(py: Python<'_>, arguments: Vec<OsString>, code: PathBuf) -> u8 {
    let code = py.detach(|| Program::new().code(code).run(arguments));
    // an exit code can be compared, but not read
    (0..=u8::MAX).find(|&number| ExitCode::from(number) == code).unwrap_or(2)
}
