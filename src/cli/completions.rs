use std::process::ExitCode;

use clap_complete::Shell;

use super::error::CliError;
use super::session::Session;
use super::terminal::print;

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    let mut command = super::command(&session.names);
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
