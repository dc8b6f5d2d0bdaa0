//! The command line, one file a verb: its arguments, and what it does with them.

mod arguments;
mod curve;
mod device;
mod embed;
mod error;
mod evaluate;
mod files;
mod gate;
mod invert;
mod keygen;
mod models;
mod progress;
mod protect;
mod retrained;
mod score;
mod settings;
mod table;
mod train;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
pub(crate) use error::CliError;

/// Wrap text embeddings with privacy defenses, and measure with the full vec2text attack what the
/// defenses are worth.
#[derive(Debug, Parser)]
#[command(name = "embosk", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// Say nothing but results, warnings and errors.
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say what is finished, line by line.
    #[arg(long, short, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Evaluate(evaluate::Args),
    Curve(Box<curve::Args>),
    Gate(gate::Args),
    Train(train::Args),
    Invert(invert::Args),
    Embed(embed::Args),
    Score(score::Args),
    Protect(protect::Args),
    Keygen(keygen::Args),
}

/// Reads the arguments and runs the verb. Whatever fails is one line on stderr and exit code 2.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    progress::set_level(cli.quiet, cli.verbose);
    run(&cli.verb).unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "error: {error}");
        ExitCode::from(2)
    })
}

fn run(verb: &Verb) -> Result<ExitCode, CliError> {
    match verb {
        Verb::Evaluate(args) => evaluate::run(args),
        Verb::Curve(args) => curve::run(args),
        Verb::Gate(args) => gate::run(args),
        Verb::Train(args) => train::run(args),
        Verb::Invert(args) => invert::run(args),
        Verb::Embed(args) => embed::run(args),
        Verb::Score(args) => score::run(args),
        Verb::Protect(args) => protect::run(args),
        Verb::Keygen(args) => keygen::run(args),
    }
}

/// Writes to stdout. `false` when nobody reads it any more, which is no error: `embosk … | head`.
fn print(text: &str) -> Result<bool, CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::new(format!("stdout cannot be written: {error}"))),
    }
}

/// A line for the person at the terminal, beside the results. Not with `--quiet`.
fn remark(text: &str) {
    if progress::level() != progress::Level::Quiet {
        warn(text);
    }
}

/// A line that is not to be overlooked.
fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
