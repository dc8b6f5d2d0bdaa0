mod command;
mod find;
mod json;
mod page;
mod points;
mod summary;
mod svg;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use self::find::{Answer, Step, Tried};
use self::points::{Curve, RETRIEVAL};
use super::chart::Size;
use super::course::Course;
use super::error::CliError;
use super::files;
use super::limit::Limit;
use super::models::Cache;
use super::next::Next;
use super::notebook::Notebook;
use super::rows::{self, RowStore};
use super::session::Session;
use super::settings::{EvaluationSettings, Resolved, usual_stacks};
use super::table::Layout;
use super::terminal::{print, warn, warn_of};
use crate::evaluate::{Report, Row, Sweep};
use crate::{Error, Stack};

/// Measure a sweep of strengths, and draw leak against retrieval.
///
/// A range in place of a number makes a sweep: gaussian(sigma=0.003..0.1/6log) is six strengths in even steps of the
/// logarithm, 0.1..0.5/5 is five in even steps, and quantization(bits=1..8) is every whole number that the defense
/// takes. Writes curve.json, curve.csv, curve.svg and index.html. Finished points are kept in the folder, and the
/// same command continues with them.
///
/// Exits with 1 if --find finds no strength, and with 3 if nothing can be concluded: the undefended attack is too weak,
/// or there are too few texts.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: EvaluationSettings,
    #[command(flatten)]
    cache: Cache,
    /// The folder to write, created if it is missing.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Find the weakest strength whose worst adversary stays within a limit, such as "leak<=0.1", by bisection
    /// between the sweep's values. Takes one range in one defense.
    #[arg(long, value_name = "LIMIT")]
    find: Option<String>,
    /// Show this many of the attacked texts, and what was recovered of them at each strength. The corpus must be
    /// records or --public. The files are then readable only by you.
    #[arg(long, default_value_t = 0, value_name = "N")]
    examples: usize,
    /// The corpus's texts are public, so that --examples may show them.
    #[arg(long)]
    public: bool,
    /// How to print the table. The files have everything.
    #[arg(long, value_enum, default_value = "table")]
    format: Layout,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    let Args { settings, .. } = args;
    let sweeps = settings.defenses.iter().map(|spec| session.names.sweep(spec));
    let sweeps: Vec<Sweep> = sweeps.collect::<Result<_, _>>()?;
    let limit = args.find.as_deref().map(|limit| Limit::parse(limit, &session.names.metrics()));
    let limit = limit.transpose().map_err(CliError::new)?;
    let search = limit.map(|limit| Bisection::new(limit, &sweeps, settings.attack.is_none())).transpose()?;
    let resolved = settings.resolve_with(&session.names, stacks(&sweeps))?;
    if let Some(done) = settings.rehearse(session, &resolved, &args.cache)? {
        return Ok(done);
    }
    if args.output.exists() && !args.output.is_dir() {
        return Err(files::bad(&args.output, "it is a file; name a folder for the curve"));
    }
    if args.examples > 0 && !args.public && !settings.is_of_records()? {
        return Err(CliError::new(
            "--examples would write texts of the corpus to a page; add --public if anyone may read them",
        ));
    }
    let course = Course::new(session, Next::new(session, settings));
    course.say("loading");
    let (evaluation, stages) = settings.prepare(session, &resolved, &args.cache)?;
    let store = RowStore::of_curve(&args.output, args.examples, session.code.as_deref())?;
    if sweeps.iter().all(|sweep| sweep.ranges().is_empty()) {
        tell_fixed(session, settings, &resolved)?;
    }
    let notebook = Notebook::of_curve(store, course.clone());
    let asked = search.clone();
    let journal = notebook.asking(move |rows| asked.as_ref().map_or(Ok(None), |search| search.next(rows)));
    let report = notebook.follow(evaluation.examples(args.examples).journal(journal), stages)?;
    warn_of(&report);
    let answer = search.as_ref().and_then(|search| search.answer(&report.rows));
    let advice = course.advise(&report.advice);
    write(args, session, &sweeps, (&report, &advice), search.as_ref().zip(answer))
}

/// What is measured: the stack without defenses, for comparison, and those of all sweeps. Without a sweep, the list
/// is empty and the usual stacks are measured.
fn stacks(sweeps: &[Sweep]) -> Vec<Stack> {
    if sweeps.is_empty() {
        return Vec::new();
    }
    let mut stacks = vec![Stack::new()];
    for point in sweeps.iter().flat_map(Sweep::points) {
        if !stacks.iter().any(|stack| stack.to_string() == point.stack.to_string()) {
            stacks.push(point.stack.clone());
        }
    }
    stacks
}

/// Says what is measured if no defense has a range.
fn tell_fixed(
    session: &Session,
    settings: &EvaluationSettings,
    Resolved { stacks, .. }: &Resolved,
) -> Result<(), CliError> {
    // a name says nothing of the dimension
    let usual = if stacks.is_empty() { usual_stacks(settings.seed, 1)? } else { Vec::new() };
    let names: Vec<String> = stacks.iter().chain(&usual).map(ToString::to_string).collect();
    session.terminal.remark(&format!(
        "no --defense has a range, such as \"gaussian(sigma=0.003..0.1/6log)\", so only these are measured: {}",
        names.join(", ")
    ));
    Ok(())
}

fn write(
    args: &Args,
    session: &Session,
    sweeps: &[Sweep],
    (report, advice): (&Report, &str),
    found: Option<(&Bisection, Answer)>,
) -> Result<ExitCode, CliError> {
    let searched = found.as_ref().map(|(search, _)| &search.sweep);
    let curve =
        Curve::new(report, sweeps, searched, found.as_ref().map(|(search, answer)| (&search.limit, answer)));
    let command = command::shown(session.words.iter().cloned(), &args.settings.defenses);
    for (name, text) in [
        ("curve.json", json::json(&curve, &command)?),
        ("curve.csv", json::csv(&curve)?),
        ("curve.svg", svg::file(&curve)),
        ("index.html", page::page(&curve, &command)),
    ] {
        files::write_ours(rows::readers(args.examples), &args.output.join(name), &text)?;
    }
    print(&summary(&curve, args.format, &args.output))?;
    Ok(verdict(report, advice, &curve))
}

/// A picture of a report without sweeps. `None` if there is nothing to draw.
pub(crate) fn picture(report: &Report) -> Option<String> {
    let curve = Curve::new(report, &[], None, None);
    (!svg::figures(&curve, Size::Wide).is_empty()).then(|| svg::file(&curve))
}

fn summary(curve: &Curve<'_>, layout: Layout, output: &Path) -> String {
    let page = output.join("index.html");
    format!("{}{}\n", summary::table(curve, layout), page.display())
}

fn verdict(report: &Report, advice: &str, curve: &Curve<'_>) -> ExitCode {
    if let Some(reason) = &report.reason {
        warn(format!("inconclusive: {reason}\n{advice}").trim_end());
        return ExitCode::from(3);
    }
    match &curve.found {
        Some((_, answer)) if answer.strength.is_none() => ExitCode::from(1),
        _ => ExitCode::SUCCESS,
    }
}

/// A search for a strength, over the one range of a sweep.
#[derive(Clone)]
struct Bisection {
    limit: Limit,
    sweep: Sweep,
}

impl Bisection {
    fn new(limit: Limit, sweeps: &[Sweep], without_attack: bool) -> Result<Self, CliError> {
        let mut ranged = sweeps.iter().filter(|sweep| !sweep.ranges().is_empty());
        match (ranged.next(), ranged.next()) {
            _ if without_attack => {
                Err(CliError::new("--find needs an attack; leave out --attack none, or name another attack"))
            }
            (Some(sweep), None) if sweep.ranges().len() == 1 => Ok(Self { limit, sweep: sweep.clone() }),
            _ => Err(CliError::new(
                "--find takes one range in one --defense, such as \"gaussian(sigma=0.003..0.1/4log)\"",
            )),
        }
    }

    /// The stack to measure next, if the search continues.
    fn next(&self, rows: &[Row]) -> Result<Option<Stack>, Error> {
        match self.step(rows) {
            Some(Step::Measure(strength)) => self.sweep.at(&[strength]).map(Some),
            _ => Ok(None),
        }
    }

    fn step(&self, rows: &[Row]) -> Option<Step> {
        let trials = self.trials(rows)?;
        let range = &self.sweep.ranges()[0];
        Some(find::step(&trials, self.limit.most, range.log, range.whole))
    }

    /// The answer; `None` if the attack does not work undefended, so that there is no leak.
    fn answer(&self, rows: &[Row]) -> Option<Answer> {
        match self.step(rows)? {
            Step::Done(answer) => Some(answer),
            Step::Measure(_) => None,
        }
    }

    fn trials(&self, rows: &[Row]) -> Option<Vec<Tried>> {
        let mut trials: Vec<Tried> = Vec::new();
        for row in rows {
            let Some(strength) = points::strength(&self.sweep, &row.defense) else { continue };
            if trials.iter().any(|trial| trial.strength.to_bits() == strength.to_bits()) {
                continue;
            }
            let of_stack: Vec<&Row> = rows.iter().filter(|other| other.defense == row.defense).collect();
            let (_, worst) = self.limit.worst(&of_stack)?;
            trials.push(Tried { strength, worst, ndcg: row.score(RETRIEVAL).map(|score| score.value) });
        }
        Some(trials)
    }
}
