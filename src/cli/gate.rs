mod annotations;
mod budget_file;
mod junit;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Map, Value};

use self::budget_file::BudgetFile;
use super::course::Course;
use super::error::CliError;
use super::files;
use super::models::Cache;
use super::names::{AdversaryName, Names};
use super::next::Next;
use super::notebook::{Notebook, Resuming};
use super::session::Session;
use super::settings::{EvaluationSettings, Resolved};
use super::table::{Layout, Signature};
use super::terminal::{Terminal, warn, warn_of};
use crate::Stack;
use crate::evaluate::metrics::by_limit;
use crate::evaluate::{Baseline, Budget, Metric, Outcome, Report, Verdict};

/// A baseline is never larger than this: 64 MiB.
const LARGEST_BASELINE: usize = 64 << 20;

/// Check defenses against a budget: how much may leak, and how much retrieval may lose.
///
/// Exits with 0 if every limit is proved to hold, 1 if one is proved to be broken, and 3 if neither is
/// proved: there are too few texts or queries, the undefended attack is too weak, or no adversary tries to undo a key.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The budget: embedder, corpus, attack, stacks, adversaries and limits. Paths in it are relative to
    /// its folder.
    #[arg(long, default_value = "privacy-budget.toml", value_name = "FILE")]
    budget: PathBuf,
    /// The scores of an earlier run. The gate fails if a score is proved to be worse by more than its
    /// tolerance.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write this run's scores to --baseline instead of comparing with it.
    #[arg(long, requires = "baseline")]
    update_baseline: bool,
    /// Also write the findings as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// An embedder instead of the budget's: a sentence-transformers folder, its name on the hub, the shipped
    /// embedder, or an address.
    #[arg(long, value_name = "E")]
    embedder: Option<String>,
    /// Say how many texts and tokens would be sent to an embedder behind an address, and send none.
    #[arg(long)]
    dry_run: bool,
    /// The seed of records, samples, noise and bounds, instead of the budget's.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    #[command(flatten)]
    cache: Cache,
    #[command(flatten)]
    resuming: Resuming,
    /// How to print the verdict.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the verdict goes instead of stdout.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Checks the text of a budget that is to be written to `path`.
pub(super) fn check_budget(path: &Path, text: &str, names: &Names) -> Result<(), CliError> {
    BudgetFile::parse(path, text, names).map(drop)
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Scores with bounds, in 100 columns.
    Table,
    /// Scores alone, in 80 columns.
    Compact,
    /// The verdict, and the report that it judges.
    Json,
}

/// The verdict, and the report that it judges.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    verdict: &'a Verdict,
    report: &'a Report,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    let mut file = BudgetFile::read(&args.budget, &session.names)?;
    if let Some(embedder) = &args.embedder {
        file.settings.embedder = Some(embedder.clone());
    }
    file.settings.seed = args.seed.unwrap_or(file.settings.seed);
    file.settings.address.rehearse(args.dry_run);
    if let Some(done) = file.settings.rehearse(session, &file.resolved, &args.cache)? {
        return Ok(done);
    }
    let written = [&args.output, &args.junit, &args.baseline.clone().filter(|_| args.update_baseline)];
    written.into_iter().flatten().try_for_each(|path| files::check_output(path))?;
    let baseline = read_baseline(args)?;
    let next = Next::of_budget(session, &file.settings, &args.budget.display().to_string());
    let course = Course::new(session, next);
    course.say("loading");
    let notebook = Notebook::in_cache((&args.cache, &args.resuming), session, course.clone())?;
    let report = evaluate(args, session, &file, (baseline.clone(), &notebook))?;
    let budget = baseline.into_iter().fold(file.budget.clone(), Budget::baseline);
    let verdict = report.check(&budget)?;
    update_baseline(args, session.terminal, &report, &verdict)?;
    tell(args, session.terminal, &file, &report, &verdict)?;
    if verdict.outcome == Outcome::Inconclusive && !verdict.advice.is_empty() {
        warn(course.advise(&verdict.advice).trim_end());
    }
    notebook.close();
    Ok(match verdict.outcome {
        Outcome::Pass => ExitCode::SUCCESS,
        Outcome::Fail => ExitCode::from(1),
        Outcome::Inconclusive => ExitCode::from(3),
    })
}

/// Reads a budget from its text: the settings, the stacks and the limits. `path` is where it is from.
pub(crate) fn read(
    path: &Path,
    text: &str,
    names: &Names,
) -> Result<(EvaluationSettings, Vec<Stack>, Budget), CliError> {
    let BudgetFile { mut settings, resolved, budget, .. } = BudgetFile::parse(path, text, names)?;
    settings.adversaries = resolved.adversaries.iter().map(|name| format!("{name:?}")).collect();
    Ok((settings, resolved.stacks, budget))
}

fn evaluate(
    args: &Args,
    session: &Session,
    file: &BudgetFile,
    (baseline, notebook): (Option<Baseline>, &Notebook),
) -> Result<Report, CliError> {
    let corpus = file.settings.corpus()?;
    let metrics = session.names.metrics();
    let of_retrieval = |name: &&str| by_limit(&metrics, name).is_ok_and(Metric::is_retrieval);
    if let Some(metric) = file.budget.limited().find(of_retrieval).filter(|_| corpus.queries().is_empty()) {
        return Err(CliError::new(format!(
            "the budget limits {metric}, but the corpus has no queries; remove the limit, or name a corpus with queries"
        )));
    }
    let named = named(file);
    // before anything is attacked
    let journal = notebook.checking(move |settings| {
        let Some(baseline) = &baseline else { return Ok(()) };
        let known = settings.iter().chain(&named);
        baseline.check(&known.map(|(name, value)| (name.clone(), value.clone())).collect())
    });
    let (evaluation, stages, _) =
        file.settings.prepare_on((corpus, None), session, &file.resolved, &args.cache)?;
    let report = notebook.follow(evaluation.journal(journal), stages)?;
    warn_of(&report);
    Ok(report)
}

fn read_baseline(args: &Args) -> Result<Option<Baseline>, CliError> {
    let Some(path) = args.baseline.as_deref().filter(|_| !args.update_baseline) else { return Ok(None) };
    let missing = "there is no such baseline yet; add --update-baseline to write it";
    let text = files::read_text(path, LARGEST_BASELINE, missing)?;
    Baseline::from_json(&text).map(Some).map_err(|error| files::bad(path, error))
}

/// The settings that a journal is not given: the stacks, and the adversaries if they are named.
fn named(file: &BudgetFile) -> Map<String, Value> {
    let Resolved { stacks, adversaries } = &file.resolved;
    let mut named = Map::new();
    named.insert("defenses".into(), stacks.iter().map(ToString::to_string).collect());
    let name = |name: &AdversaryName| match name {
        AdversaryName::One(adversary) => Some(adversary.to_string()),
        AdversaryName::All => None,
    };
    let adversaries: Option<Vec<String>> = adversaries.iter().map(name).collect();
    if let Some(adversaries) = adversaries.filter(|adversaries| !adversaries.is_empty()) {
        named.insert("adversaries".into(), adversaries.into());
    }
    named
}

/// Updates the baseline, unless the attack does not work: later runs must not be compared with it.
fn update_baseline(
    args: &Args,
    terminal: Terminal,
    report: &Report,
    verdict: &Verdict,
) -> Result<(), CliError> {
    let Some(path) = args.baseline.as_deref().filter(|_| args.update_baseline) else { return Ok(()) };
    if let Some(reason) = &verdict.reason {
        terminal.remark(&format!("{}: the baseline was not updated: {reason}", path.display()));
        return Ok(());
    }
    files::write_text(Some(path), &Baseline::of(report).to_json())
}

/// Reports the verdict to people, files and services.
fn tell(
    args: &Args,
    terminal: Terminal,
    file: &BudgetFile,
    report: &Report,
    verdict: &Verdict,
) -> Result<(), CliError> {
    if let Some(path) = &args.junit {
        files::write_text(Some(path), &junit::xml(verdict)?)?;
    }
    if std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        warn(annotations::lines(verdict, file, &args.budget).trim_end());
        step_summary(terminal, verdict, report);
    }
    let signature = if terminal.is_verbose() { Signature::Whole } else { Signature::Hash };
    let text = match args.format {
        Format::Table => summary::terminal(verdict, report, Layout::Usual, signature),
        Format::Compact => summary::terminal(verdict, report, Layout::Compact, signature),
        Format::Json => serde_json::to_string_pretty(&Printed { verdict, report })? + "\n",
    };
    files::write_result(args.output.as_deref(), &text)?;
    if args.output.is_some() {
        terminal.remark(&verdict.to_string());
    }
    Ok(())
}

/// Writes what GitHub shows on the run's page. If that fails, the verdict does not.
fn step_summary(terminal: Terminal, verdict: &Verdict, report: &Report) {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return };
    let text = summary::markdown(verdict, report);
    let append = |path: &Path| -> std::io::Result<()> {
        use std::io::Write as _;
        fs::File::options().append(true).create(true).open(path)?.write_all(text.as_bytes())
    };
    if let Err(error) = append(Path::new(&path)) {
        terminal.remark(&format!("the step summary cannot be written: {error}"));
    }
}
