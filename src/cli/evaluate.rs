use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::course::Course;
use super::error::CliError;
use super::models::Cache;
use super::next::Next;
use super::notebook::{Notebook, Resuming};
use super::session::Session;
use super::settings::EvaluationSettings;
use super::table::{Layout, Signature};
use super::terminal::{warn, warn_of};
use super::{files, table};
use crate::evaluate::Report;

/// Measure what defenses do to the attack and to retrieval.
///
/// Exits with 3 if nothing can be concluded: the undefended attack is too weak, or there are too few texts.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: EvaluationSettings,
    #[command(flatten)]
    cache: Cache,
    #[command(flatten)]
    resuming: Resuming,
    /// A folder for run files of trec_eval: what is found under each defense, 100 documents per query.
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    runs: Option<PathBuf>,
    /// A file for the guesses: each attacked text around its fact, the candidates, and what each adversary picked,
    /// one JSON object per line. It holds the texts, so only its owner may read it.
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    guesses: Option<PathBuf>,
    /// How to print the report. Tables for a terminal show the most important scores; the other formats have all.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the report goes instead of stdout.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// The most important scores with intervals, in 100 columns.
    Table,
    /// The most important scores, in 80 columns.
    Compact,
    Json,
    Csv,
    Markdown,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    let resolved = args.settings.resolve(&session.names)?;
    for file in args.output.iter().chain(&args.guesses) {
        files::check_output(file)?;
    }
    if let Some(done) = args.settings.rehearse(session, &resolved, &args.cache)? {
        return Ok(done);
    }
    let course = Course::new(session, Next::new(session, &args.settings));
    course.say("loading");
    let notebook = Notebook::in_cache((&args.cache, &args.resuming), session, course.clone())?;
    let (evaluation, stages) = args.settings.prepare(session, &resolved, &args.cache)?;
    let mut evaluation = evaluation.journal(notebook.clone());
    if let Some(folder) = &args.runs {
        evaluation = evaluation.trec_runs(folder);
    }
    if let Some(file) = &args.guesses {
        evaluation = evaluation.guesses(file);
    }
    let report = notebook.follow(evaluation, stages)?;
    if args.output.is_some() || !matches!(args.format, Format::Table | Format::Compact) {
        warn_of(&report);
    }
    let signature = if session.terminal.is_verbose() { Signature::Whole } else { Signature::Hash };
    let text = render(&report, args.format, signature)?;
    files::write_result(args.output.as_deref(), &text)?;
    notebook.close();
    Ok(verdict(&report, args, &course))
}

fn render(report: &Report, format: Format, signature: Signature) -> Result<String, CliError> {
    Ok(match format {
        Format::Table => table::terminal(report, Layout::Usual, signature),
        Format::Compact => table::terminal(report, Layout::Compact, signature),
        Format::Json => report.to_json()? + "\n",
        Format::Csv => table::csv(report)?,
        Format::Markdown => table::markdown(report),
    })
}

/// Tables already contain the reason; in other formats it would be overlooked, so it goes to stderr. What to run next
/// always does.
fn verdict(report: &Report, args: &Args, course: &Course) -> ExitCode {
    let Some(reason) = &report.reason else { return ExitCode::SUCCESS };
    if args.output.is_some() || matches!(args.format, Format::Json | Format::Csv) {
        warn(&format!("inconclusive: {reason}"));
    }
    if !report.advice.is_empty() {
        warn(course.advise(&report.advice).trim_end());
    }
    ExitCode::from(3)
}
