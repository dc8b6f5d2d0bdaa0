use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;

use super::error::CliError;
use super::files::{self, Readers};
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
    let mut command = command.disable_help_subcommand(true);
    command.build();
    write_pages(command, folder)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the pages of a command and of the verbs below it.
fn write_pages(command: Command, folder: &Path) -> Result<(), CliError> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        write_pages(verb.clone(), folder)?;
    }
    let path = folder.join(Man::new(command.clone()).get_filename());
    files::write_ours(Readers::Usual, &path, &String::from_utf8_lossy(&page(command)?))
}

fn page(command: Command) -> Result<Vec<u8>, CliError> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}
