//! The `embosk` command: results to stdout, progress to stderr.
//!
//! It exits with 0 when all is well, 1 when a limit is broken, 2 on bad usage or input, and 3 when
//! nothing can be concluded.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
