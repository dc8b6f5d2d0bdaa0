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
use crate::evaluate::{Report, Row, Sweep, keys};
use crate::{Error, Stack};

/// Measure a sweep of strengths, and draw leak against retrieval.
///
/// A range in place of a number makes a sweep: gaussian(sigma=0.003..0.1/6log) is six strengths in even steps of the
/// logarithm, 0.1..0.5/5 is five in even steps, and quantization(bits=1..8) is every whole number that the defense
/// takes. Writes curve.json, curve.csv, curve.svg and index.html. Finished points are kept in the folder, and the
/// same command continues with them.
///
/// Exits with 1 if --find finds no strength, and with 3 if nothing can be concluded: the undefended attack is too weak,
/// there are too few texts, or --find is given and nobody attacks a key on the range.
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
    let is_attackless =
        |limit: &Limit| settings.attack.is_none() && limit.needs_attack(&session.names.metrics());
    let search =
        limit.map(|limit| Bisection::new(limit.clone(), &sweeps, is_attackless(&limit))).transpose()?;
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
    let advice = course.advise(&report.advice);
    write(args, session, &sweeps, (&report, &advice), search.as_ref())
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
    search: Option<&Bisection>,
) -> Result<ExitCode, CliError> {
    let found = search.and_then(|search| Some((search, search.answer(&report.rows)?)));
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
    Ok(verdict(report, advice, &curve, search))
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

fn verdict(report: &Report, advice: &str, curve: &Curve<'_>, search: Option<&Bisection>) -> ExitCode {
    if let Some(reason) = &report.reason {
        warn(format!("inconclusive: {reason}\n{advice}").trim_end());
        return ExitCode::from(3);
    }
    match (search, &curve.found) {
        (Some(search), None) => {
            let reason = search.unanswered(report);
            warn(format!("inconclusive: {reason}\n{advice}").trim_end());
            ExitCode::from(3)
        }
        (_, Some((_, answer))) if answer.strength.is_none() => ExitCode::from(1),
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
    fn new(limit: Limit, sweeps: &[Sweep], lacks_attack: bool) -> Result<Self, CliError> {
        let mut ranged = sweeps.iter().filter(|sweep| !sweep.ranges().is_empty());
        match (ranged.next(), ranged.next()) {
            _ if lacks_attack => Err(CliError::new(
                "the limit of --find needs an attack; leave out --attack none, or name another attack",
            )),
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

    /// Why there is no answer.
    fn unanswered(&self, report: &Report) -> String {
        let on_range = |defense: &str| points::strength(&self.sweep, defense).is_some();
        if let Some(key) = keys::unattacked(&report.rows).find(|key| on_range(key.defense)) {
            return format!("{} is not decided: {key}", self.limit);
        }
        let metric = &self.limit.metric().name;
        let strengths = report.strengths.iter().filter(|strength| !strength.is_conclusive());
        let reason = strengths
            .filter(|strength| strength.leak == *metric || strength.metric == *metric)
            .map(ToString::to_string)
            .next();
        let reason = reason.unwrap_or_else(|| "it was not measured for every adversary".into());
        format!("{} could not be read: {reason}", self.limit)
    }

    /// The answer; `None` if the limit's metric cannot be read, or if nobody attacks a key on the range.
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
            if keys::is_unattacked(&of_stack) {
                return None;
            }
            let (_, worst) = self.limit.worst(&of_stack)?;
            trials.push(Tried { strength, worst, ndcg: row.score(RETRIEVAL).map(|score| score.value) });
        }
        Some(trials)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::evaluate::metrics::built_in;

    /// The worst adversary of each strength reaches 0.5.
    fn report(metric: &str, key_attacked: Option<bool>) -> Report {
        let row = |sigma: &str| {
            let mut row = json!({
                "defense": format!("gaussian(sigma={sigma})"), "adversary": "naive", "n": 9, "map": null,
                "key_attacked": key_attacked,
            });
            row[metric] = json!({ "value": 0.5, "low": 0.5, "high": 0.5 });
            row
        };
        let rows: Vec<Value> = ["0.1", "0.2"].map(row).to_vec();
        let report = json!({
            "signature": {}, "rows": rows, "ceiling": {}, "floor": {}, "conclusive": [metric], "reason": null
        });
        Report::from_json(&report.to_string()).unwrap()
    }

    #[test]
    fn a_search_by_guesses_needs_no_attack() {
        let needs = |limit: &str| Limit::parse(limit, built_in()).unwrap().needs_attack(built_in());
        assert_eq!(["guess<=0.1", "guess_leak<=0.1", "leak<=0.1"].map(needs), [false, false, true]);
    }

    fn search(limit: &str) -> Bisection {
        let sweeps: [Sweep; 1] = ["gaussian(sigma=0.1..0.2/2)".parse().unwrap()];
        Bisection::new(Limit::parse(limit, built_in()).unwrap(), &sweeps, false).unwrap()
    }

    #[test]
    fn a_search_without_an_answer_is_inconclusive_and_says_why() {
        let verdict = |report: &Report, search: &Bisection| {
            let answer = search.answer(&report.rows);
            let curve = Curve::new(report, &[], None, answer.as_ref().map(|answer| (&search.limit, answer)));
            (answer.is_some(), verdict(report, "", &curve, Some(search)) == ExitCode::from(3))
        };
        let (kept, unread) = (search("leak<=0.6"), search("guess_leak<=0.6"));
        assert_eq!(verdict(&report("leak", None), &kept), (true, false));
        assert_eq!(verdict(&report("leak", Some(true)), &kept), (true, false));
        assert_eq!(verdict(&report("leak", Some(false)), &kept), (false, true));
        assert_eq!(verdict(&report("leak", None), &unread), (false, true));
        let said = unread.unanswered(&report("leak", None));
        assert!(said.starts_with("guess_leak<=0.6 could not be read: "), "{said}");
        let said = kept.unanswered(&report("leak", Some(false)));
        assert!(said.contains("tries to undo the key of gaussian(sigma=0.1)"), "{said}");
    }
}
