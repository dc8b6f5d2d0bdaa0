use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::course::Course;
use super::error::CliError;
use super::models::Cache;
use super::session::Session;
use super::settings::EvaluationSettings;
use super::terminal::warn;
use super::{files, table};
use crate::evaluate::Report;

/// Measure what defenses do to the attack and to retrieval.
///
/// Exits with 3 where the attack does not work on undefended vectors, so that nothing can be concluded.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: EvaluationSettings,
    #[command(flatten)]
    cache: Cache,
    /// A folder for run files of trec_eval: what each defense leaves to be found, 100 documents a query.
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// How to print the report.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Where the report goes instead of stdout.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
    Markdown,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    let resolved = args.settings.resolve(&session.names)?;
    args.output.as_deref().map_or(Ok(()), files::check_output)?;
    let course = Course::new(session);
    course.say("loading");
    let mut evaluation = args.settings.prepare(session, &resolved, &args.cache)?.journal(course.clone());
    if let Some(folder) = &args.runs {
        evaluation = evaluation.trec_runs(folder);
    }
    let report = course.follow(evaluation)?;
    let text = render(&report, args.format)?;
    files::write_result(args.output.as_deref(), &text)?;
    Ok(verdict(&report, args))
}

fn render(report: &Report, format: Format) -> Result<String, CliError> {
    Ok(match format {
        Format::Table => table::terminal(report),
        Format::Json => report.to_json()? + "\n",
        Format::Csv => table::csv(report),
        Format::Markdown => table::markdown(report),
    })
}

/// The reason is in tables already; where it would be overlooked, it goes to stderr.
fn verdict(report: &Report, args: &Args) -> ExitCode {
    let Some(reason) = &report.reason else { return ExitCode::SUCCESS };
    if args.output.is_some() || matches!(args.format, Format::Json | Format::Csv) {
        warn(&format!("inconclusive: {reason}"));
    }
    ExitCode::from(3)
}
