//! The `embosk` command: [`embosk::cli`] unchanged, with the defenses, adversaries and metrics of the project.

use std::process::ExitCode;

fn main() -> ExitCode {
    embosk::cli::Program::new().main()
}
