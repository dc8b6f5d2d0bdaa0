use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::error::CliError;
use super::files;
use super::session::Session;
use super::terminal::print;
use crate::Key;

/// Draw a new key for the defenses that take one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the key goes: a new file that only you can read. Default: stdout.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    let key = Key::generate()?;
    let text = key.to_text();
    if let Some(path) = &args.output {
        store(path, text.as_bytes()).map_err(|error| files::bad(path, explain(&error)))?;
    } else {
        print(&text)?;
        print("\n")?;
    }
    session.terminal.remark(&format!("fingerprint: {}", key.fingerprint()));
    Ok(ExitCode::SUCCESS)
}

fn store(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all()).inspect_err(
        |_| {
            let _ = fs::remove_file(path);
        },
    )
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            "it exists, and a key is not overwritten: vectors under the old one would be lost".into()
        }
        io::ErrorKind::NotFound => "there is no folder to write it to; make it first".into(),
        _ => error.to_string(),
    }
}
