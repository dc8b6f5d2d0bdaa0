//! `embosk train`: an inverter or a corrector for an embedder, or an embedder.

mod attack;
mod common;
mod defended;
mod embedder;
mod held_out;
mod log;
mod manifest;
mod options;
mod picture;

use std::process::ExitCode;

use clap::Subcommand;

use self::attack::Attacking;
use self::embedder::Distilling;
use self::options::Correcting;
use super::error::CliError;
use super::session::Session;

/// Train vec2text for an embedder, first an inverter and then a corrector for it; or train an embedder.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    model: Model,
}

#[derive(Debug, Subcommand)]
enum Model {
    /// Train the model that guesses a text from its vector.
    Inverter(Attacking),
    /// Train the model that corrects a guess.
    Corrector {
        /// The inverter whose guesses are corrected: a folder, its name on the hub, or the name of a shipped one
        /// (reference or minilm).
        #[arg(long)]
        inverter: String,
        #[command(flatten)]
        correcting: Correcting,
        #[command(flatten)]
        attacking: Attacking,
    },
    /// Train a small embedder that gives the vectors of a large one: a folder of sentence-transformers.
    Embedder(Distilling),
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    match &args.model {
        Model::Inverter(attacking) => attack::run(attacking, None, session),
        Model::Corrector { inverter, correcting, attacking } => {
            attack::run(attacking, Some((inverter, correcting)), session)
        }
        Model::Embedder(distilling) => embedder::run(distilling, session.terminal),
    }
}
