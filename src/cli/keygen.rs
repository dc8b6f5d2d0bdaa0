use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::error::CliError;
use super::files;
use super::session::Session;
use super::terminal::print;
use crate::Key;
use crate::partial::{self, Readers};

/// Draw a new key for the defenses that take one.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the key goes: a new file that only you can read. Default: stdout.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    if let Some(path) = &args.output {
        files::check_output(path)?;
    }
    let key = Key::generate()?;
    let text = key.to_text();
    if let Some(path) = &args.output {
        // past the buffer, which is not wiped
        partial::write_new(path, Readers::Owner, |file| writeln!(file.get_mut(), "{}", *text))
            .map_err(|error| files::bad(path, explain(&error)))?;
    } else {
        print(&text)?;
        print("\n")?;
    }
    session.terminal.remark(&format!("fingerprint: {}", key.fingerprint()));
    Ok(ExitCode::SUCCESS)
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            "it exists, and a key is not overwritten: vectors under the old one would be lost".into()
        }
        _ => error.to_string(),
    }
}
