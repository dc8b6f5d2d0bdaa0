use std::path::PathBuf;
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;

use super::error::CliError;
use super::files;
use super::session::Session;
use super::terminal::print;

/// Print the manual page, or write one page per verb to a folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder for the pages of the command and of each verb. Default: the page of the command goes to stdout.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    let command = super::command(&session.names);
    let Some(folder) = &args.output else {
        print(&String::from_utf8_lossy(&page(command)?))?;
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(folder).map_err(|error| files::bad(folder, error))?;
    clap_mangen::generate_to(command, folder).map_err(|error| files::bad(folder, error))?;
    Ok(ExitCode::SUCCESS)
}

fn page(command: Command) -> Result<Vec<u8>, CliError> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}
