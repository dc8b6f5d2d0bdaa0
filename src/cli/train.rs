//! `embosk train`: a whole attack by a recipe, or an inverter, a corrector or an embedder alone.

mod attack;
mod common;
mod defended;
mod embedder;
mod guesser;
mod held_out;
mod log;
mod manifest;
mod model;
mod options;
mod picture;
mod recipe;

use std::process::ExitCode;

use clap::Subcommand;

use self::attack::Attacking;
use self::embedder::Distilling;
use self::options::Correcting;
use self::recipe::Recipe;
use super::error::CliError;
use super::session::Session;

/// Train vec2text for an embedder: a whole attack by a recipe, or its inverter and its corrector one at a time; or
/// train an embedder.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    model: Model,
}

#[derive(Debug, Subcommand)]
enum Model {
    /// Train an attack for texts of one kind: an inverter and then a corrector, from the nearest shipped weights.
    Attack(Recipe),
    /// Train the inverter, which writes a first hypothesis of a text from its vector.
    Inverter(Attacking),
    /// Train the corrector, which improves a hypothesis.
    Corrector {
        /// The inverter whose hypotheses are corrected: a folder, its name on the hub, or the name of a shipped one
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
        Model::Attack(recipe) => recipe.run(session),
        Model::Inverter(attacking) => attack::run(attacking, None, session),
        Model::Corrector { inverter, correcting, attacking } => {
            attack::run(attacking, Some((inverter, correcting)), session)
        }
        Model::Embedder(distilling) => embedder::run(distilling, session.terminal),
    }
}
