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
use super::names::AdversaryName;
use super::session::Session;
use super::settings::Resolved;
use super::terminal::{Terminal, warn, warn_of};
use crate::Error;
use crate::evaluate::metrics::by_limit;
use crate::evaluate::{Baseline, Budget, Journal, Metric, Outcome, Report, Row, Undefended, Verdict};

/// More than any baseline has: 64 MiB.
const LARGEST_BASELINE: usize = 64 << 20;

/// Hold defenses to a budget: what may leak at most, and what retrieval may lose.
///
/// Exits with 0 where every limit is proved to be kept, 1 where one is proved to be broken, and 3 where
/// the sample is too small to say, or the undefended attack does not reach its stated strength.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The budget: embedder, corpus, attack, stacks, adversaries and limits. Paths in it are relative to
    /// its folder.
    #[arg(long, default_value = "privacy-budget.toml", value_name = "FILE")]
    budget: PathBuf,
    /// Scores of a former run; what became worse since fails.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write this run's scores to --baseline instead of comparing with it.
    #[arg(long, requires = "baseline")]
    update_baseline: bool,
    /// Also write the findings as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// A sentence-transformers folder instead of the budget's.
    #[arg(long, value_name = "E")]
    embedder: Option<String>,
    /// What records, samples, noise and bounds are drawn from, instead of the budget's.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    #[command(flatten)]
    cache: Cache,
    /// How to print the verdict.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the verdict goes instead of stdout.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// The verdict, and the report it is of.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    verdict: &'a Verdict,
    report: &'a Report,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    let mut file = BudgetFile::read(&args.budget, &session.names)?;
    if let Some(embedder) = &args.embedder {
        file.settings.embedder.clone_from(embedder);
    }
    file.settings.seed = args.seed.unwrap_or(file.settings.seed);
    let written = [&args.output, &args.junit, &args.baseline.clone().filter(|_| args.update_baseline)];
    written.into_iter().flatten().try_for_each(|path| files::check_output(path))?;
    let baseline = read_baseline(args)?;
    let report = evaluate(args, session, &file, baseline.clone())?;
    let budget = baseline.into_iter().fold(file.budget.clone(), Budget::baseline);
    let verdict = report.check(&budget)?;
    update_baseline(args, session.terminal, &report, &verdict)?;
    tell(args, session.terminal, &file, &report, &verdict)?;
    Ok(match verdict.outcome {
        Outcome::Pass => ExitCode::SUCCESS,
        Outcome::Fail => ExitCode::from(1),
        Outcome::Inconclusive => ExitCode::from(3),
    })
}

fn evaluate(
    args: &Args,
    session: &Session,
    file: &BudgetFile,
    baseline: Option<Baseline>,
) -> Result<Report, CliError> {
    let corpus = file.settings.corpus()?;
    let metrics = session.names.metrics();
    let of_retrieval = |name: &&str| by_limit(&metrics, name).is_ok_and(Metric::is_retrieval);
    if let Some(metric) = file.budget.limited().find(of_retrieval).filter(|_| corpus.queries().is_empty()) {
        return Err(CliError::new(format!("the budget limits {metric}, but the corpus has no queries")));
    }
    let course = Course::new(session);
    course.say("loading");
    let watch = Watch::new(file, baseline, course.clone());
    let evaluation = file.settings.prepare_on(corpus, session, &file.resolved, &args.cache)?;
    let report = course.follow(evaluation.journal(watch))?;
    warn_of(&report);
    Ok(report)
}

fn read_baseline(args: &Args) -> Result<Option<Baseline>, CliError> {
    let Some(path) = args.baseline.as_deref().filter(|_| !args.update_baseline) else { return Ok(None) };
    let missing = "there is no such baseline yet; --update-baseline writes it";
    let text = files::read_text(path, LARGEST_BASELINE, missing)?;
    Baseline::from_json(&text).map(Some).map_err(|error| files::bad(path, error))
}

/// Refuses a baseline of other settings before anything is attacked, and shows the course.
struct Watch {
    baseline: Option<Baseline>,
    /// The settings that a journal is not told: which stacks, and where they are named, which adversaries.
    named: Map<String, Value>,
    course: Course,
}

impl Watch {
    fn new(file: &BudgetFile, baseline: Option<Baseline>, course: Course) -> Self {
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
        Self { baseline, named, course }
    }
}

impl Journal for Watch {
    fn begin(&mut self, settings: &Map<String, Value>, rows: usize) -> Result<(), Error> {
        if let Some(baseline) = &self.baseline {
            let known = settings.iter().chain(&self.named);
            baseline.check(&known.map(|(name, value)| (name.clone(), value.clone())).collect())?;
        }
        self.course.begin(settings, rows)
    }

    fn finished_undefended(&mut self, undefended: &Undefended) -> Result<(), Error> {
        self.course.finished_undefended(undefended)
    }

    fn finished(&mut self, row: &Row) -> Result<(), Error> {
        self.course.finished(row)
    }
}

/// An attack that does not work must not become what later ones are measured by.
fn update_baseline(
    args: &Args,
    terminal: Terminal,
    report: &Report,
    verdict: &Verdict,
) -> Result<(), CliError> {
    let Some(path) = args.baseline.as_deref().filter(|_| args.update_baseline) else { return Ok(()) };
    if verdict.reason.is_some() {
        terminal.remark(&format!("{}: it was left as it is, as the attack does not work", path.display()));
        return Ok(());
    }
    files::write_text(Some(path), &Baseline::of(report).to_json())
}

/// To people, files and services.
fn tell(
    args: &Args,
    terminal: Terminal,
    file: &BudgetFile,
    report: &Report,
    verdict: &Verdict,
) -> Result<(), CliError> {
    if let Some(path) = &args.junit {
        files::write_text(Some(path), &junit::xml(verdict))?;
    }
    if std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        warn(annotations::lines(verdict, file, &args.budget).trim_end());
        step_summary(terminal, verdict, report);
    }
    let text = match args.format {
        Format::Table => summary::terminal(verdict, report),
        Format::Json => serde_json::to_string_pretty(&Printed { verdict, report })? + "\n",
    };
    files::write_result(args.output.as_deref(), &text)?;
    if args.output.is_some() {
        terminal.remark(&verdict.to_string());
    }
    Ok(())
}

/// What GitHub shows on the run's page. A verdict does not fail for it.
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
