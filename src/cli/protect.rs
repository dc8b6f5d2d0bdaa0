use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use embosk::{Defense, Rng, Stack};

use super::{CliError, files, models, progress};

/// Put a file of vectors through a defense.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The defense, such as "rotation(key=env:EMBOSK_KEY) | gaussian(sigma=0.01)".
    #[arg(long, value_name = "SPEC")]
    defense: String,
    /// Whether the vectors are stored and searched, or search.
    #[arg(long, value_enum)]
    role: Role,
    /// The vectors: a matrix of float32, one a row.
    #[arg(value_name = "IN.npy")]
    input: PathBuf,
    /// Where the protected vectors go; not where they come from.
    #[arg(value_name = "OUT.npy")]
    output: PathBuf,
}

/// What vectors are for, as it is written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    Document,
    Query,
}

impl From<Role> for embosk::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Document => Self::Document,
            Role::Query => Self::Query,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, CliError> {
    // not clap's to read: its errors repeat what was written, and that may hold a key
    let stack = models::stack(&args.defense)?;
    if same_file(&args.input, &args.output) {
        return Err(files::bad(&args.output, "the clean vectors would be overwritten; name another file"));
    }
    files::check_output(&args.output)?;
    let spinner = progress::spinner();
    let done = protect(args, &stack, &|what| spinner.set_message(what));
    spinner.finish_and_clear();
    done.map(|()| ExitCode::SUCCESS)
}

/// Gigabytes take as long to read and to write as to protect.
fn protect(args: &Args, stack: &Stack, say: &dyn Fn(&'static str)) -> Result<(), CliError> {
    say("reading");
    let mut vectors = files::read_npy(&args.input)?;
    if vectors.is_empty() {
        return Err(files::bad(&args.input, "it has no rows; there is nothing to protect"));
    }
    say("protecting");
    let protected = stack.protect(args.role.into(), vectors.view_mut(), &mut Rng::from_os()?);
    protected.map_err(|error| files::bad(&args.input, error))?;
    say("writing");
    files::write_npy(&args.output, &vectors)
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((fs::canonicalize(a), fs::canonicalize(b)), (Ok(a), Ok(b)) if a == b)
}
