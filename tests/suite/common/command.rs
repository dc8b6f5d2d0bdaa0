//! The `embosk` command from outside.

use std::path::Path;
use std::process::{Command, Output};

/// `embosk` in `folder`; the arguments are separated by white space. It sees no settings of the machine.
pub(crate) fn embosk(folder: impl AsRef<Path>, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embosk"));
    command.current_dir(folder).args(line.split_whitespace()).env("CANDLE_NUM_THREADS", "1");
    for name in ["EMBOSK_CACHE", "EMBOSK_KEY", "GITHUB_ACTIONS", "GITHUB_WORKSPACE"] {
        command.env_remove(name);
    }
    command
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Exit code `code`.
#[track_caller]
pub(crate) fn exits(folder: impl AsRef<Path>, line: &str, code: i32) -> Output {
    let output = embosk(folder, line).output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{line}: {}", stderr(&output));
    output
}

/// Exit code 2, nothing on stdout, and on stderr one or two lines that name the problem, or a problem and the usage.
#[track_caller]
pub(crate) fn refused(folder: impl AsRef<Path>, line: &str, part: &str) {
    let output = exits(folder, line, 2);
    let message = stderr(&output);
    assert!(message.starts_with("error: ") && message.contains(part), "{line}: {message} has no {part}");
    assert!(message.lines().count() <= 2 || message.contains("\nUsage: "), "{message}");
    assert!(output.stdout.is_empty());
}
