mod files;
mod questions;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use self::files::Plan;
use self::questions::Questions;
use super::error::CliError;
use super::files::bad;
use super::models::local_embedder;
use super::session::Session;
use super::terminal::{print, warn};
use crate::embedder::Service;
use crate::evaluate::{Corpus, Threat};
use crate::models::hub::Hub;

/// Write a privacy budget, and a workflow that checks it in CI.
///
/// Asks for the embedder, the texts and the defense unless options name them. The limits in the budget are
/// placeholders: measure first, then set them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The embedder: `reference` (the shipped one), a sentence-transformers folder, a model on the Hugging Face hub
    /// (owner/model), or an address (http(s)://host[:port]/v1#model).
    #[arg(long, value_name = "E")]
    embedder: Option<String>,
    /// The corpus: `records` or `records:N` (built in), a BEIR folder, or a text file with one passage per line.
    #[arg(long, value_name = "C")]
    corpus: Option<String>,
    /// The defense, such as "gaussian(sigma=0.1, on=documents) | quantization(bits=8)". Noise on documents alone is
    /// against a stolen store; without `on`, it is also against the store's operator, who sees queries.
    #[arg(long, value_name = "SPEC")]
    defense: Option<String>,
    /// The service that a workflow is written for.
    #[arg(long, value_enum, default_value_t = Ci::Github)]
    ci: Ci,
    /// The folder that the budget goes to.
    #[arg(long, default_value = ".", value_name = "DIR")]
    output: PathBuf,
    /// Replace existing files.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Ci {
    /// GitHub Actions: `.github/workflows/privacy.yml` in the current folder, the root of a repository.
    Github,
    /// No workflow.
    None,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    if args.output.exists() && !args.output.is_dir() {
        return Err(bad(&args.output, "it is a file; name a folder for the budget"));
    }
    let mut questions = Questions::at_the_terminal();
    let (embedder, ()) = questions.answer(
        args.embedder.as_deref(),
        ("--embedder", "Embedder (a folder, an address, or reference)", "reference"),
        |name| check_embedder(name, session),
    )?;
    let (corpus, (texts, has_queries)) = questions.answer(
        args.corpus.as_deref(),
        ("--corpus", "Texts (a BEIR folder, a file with one text per line, or records)", "records"),
        |name| {
            let loaded = Corpus::load(name, 0)?;
            Ok((loaded.texts().len(), !loaded.queries().is_empty()))
        },
    )?;
    let (_, (spec, threat)) = questions.answer(
        args.defense.as_deref(),
        (
            "--defense",
            "Defense (against a stolen store; without on=documents, also against the store's operator)",
            "gaussian(sigma=0.1, on=documents) | quantization(bits=8)",
        ),
        |defense| {
            // whether it can be built; what is written names its keys, and does not contain them
            let threat = Threat::of(&session.names.stack(defense)?);
            Ok((session.names.defenses.spec(defense)?, threat))
        },
    )?;
    let plan = Plan { embedder, corpus, spec, threat, texts, has_queries, folder: args.output.clone() };
    let mut files = vec![(args.output.join(files::BUDGET), plan.budget(&session.names)?)];
    if args.ci == Ci::Github {
        files.push((files::WORKFLOW.into(), plan.workflow()));
    }
    if let Some((path, _)) = files.iter().find(|(path, _)| !args.force && path.exists()) {
        return Err(bad(path, "it already exists; --force replaces it"));
    }
    for (path, text) in &files {
        files::write(path, text)?;
        session.terminal.remark(&format!("wrote {}", path.display()));
    }
    for key in plan.key_files() {
        warn(&format!(
            "warning: keys do not belong in the repository, so CI will not have {key}; run init again with \
             key=env:NAME, and store the key as the secret NAME"
        ));
    }
    plan.warnings().iter().for_each(|warning| warn(&format!("warning: {warning}")));
    print(&plan.next(args.ci == Ci::Github))?;
    Ok(ExitCode::SUCCESS)
}

/// Checks that there is such an embedder. One on the hub is left to CI if this program cannot fetch models.
fn check_embedder(name: &str, session: &Session) -> Result<(), CliError> {
    if Service::is_address(name) {
        // whether it can be read, and holds no password
        return Ok(Service::new(name).map(drop)?);
    }
    let opened = local_embedder(name, &candle_core::Device::Cpu, session.terminal);
    match opened {
        Err(error) if cfg!(not(feature = "hub")) && Hub::is_name(name) && !Path::new(name).exists() => {
            warn(&format!("warning: {error}; the workflow will fetch it from the hub"));
            Ok(())
        }
        opened => opened.map(drop),
    }
}
