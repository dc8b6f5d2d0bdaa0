mod annotations;
mod budget_file;
mod junit;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;
use embosk::attacks::vec2text::Vec2Text;
use embosk::embedder::SentenceTransformer;
use embosk::evaluate::{Baseline, Corpus, Metric, Outcome, Report, Verdict};
use serde::Serialize;
use serde_json::{Map, json};

use self::budget_file::BudgetFile;
use super::arguments::measured;
use super::{CliError, files, models, progress, remark, warn};

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
struct Outputs<'a> {
    #[serde(flatten)]
    verdict: &'a Verdict,
    report: &'a Report,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, CliError> {
    let mut file = BudgetFile::read(&args.budget)?;
    if let Some(embedder) = &args.embedder {
        file.embedder.clone_from(embedder);
    }
    file.seed = args.seed.unwrap_or(file.seed);
    let written = [&args.output, &args.junit, &args.baseline.clone().filter(|_| args.update_baseline)];
    written.into_iter().flatten().try_for_each(|path| files::check_output(path))?;
    let baseline = read_baseline(args)?;
    let things = Things::load(&file)?;
    if let Some(baseline) = &baseline {
        baseline.check(&things.settings(&file))?;
    }
    let report = evaluate(&file, things)?;
    let mut budget = file.budget.clone();
    if let Some(baseline) = baseline {
        budget = budget.baseline(baseline);
    }
    let verdict = report.check(&budget)?;
    update_baseline(args, &report, &verdict)?;
    tell(args, &file, &report, &verdict)?;
    Ok(match verdict.outcome {
        Outcome::Pass => ExitCode::SUCCESS,
        Outcome::Fail => ExitCode::from(1),
        Outcome::Inconclusive => ExitCode::from(3),
    })
}

fn read_baseline(args: &Args) -> Result<Option<Baseline>, CliError> {
    let Some(path) = args.baseline.as_deref().filter(|_| !args.update_baseline) else { return Ok(None) };
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            files::bad(path, "there is no such baseline yet; --update-baseline writes it")
        }
        _ => files::bad(path, error),
    })?;
    Baseline::from_json(&text).map(Some).map_err(|error| files::bad(path, error))
}

/// What the budget names, loaded.
struct Things {
    corpus: Corpus,
    embedder: SentenceTransformer,
    attack: Option<Vec2Text>,
}

impl Things {
    fn load(file: &BudgetFile) -> Result<Self, CliError> {
        let corpus = Corpus::load(&file.corpus, file.seed)?;
        let limited = |of: fn(Metric) -> bool| file.budget.limited().find(|&metric| of(metric));
        if let Some(metric) = limited(Metric::is_retrieval).filter(|_| corpus.queries().is_empty()) {
            return Err(CliError::new(format!("the budget limits {metric}, but the corpus has no queries")));
        }
        let attacked = |metric: Metric| !metric.is_retrieval();
        let attack = match file.attack.model.as_str() {
            "none" => match limited(attacked) {
                Some(metric) => {
                    return Err(CliError::new(format!("the budget limits {metric}, but names no attack")));
                }
                None => None,
            },
            name => Some(file.attack.apply(models::attack(name)?)),
        };
        let embedder = models::embedder(&file.embedder)?;
        if let Some(attack) = &attack {
            models::fit(attack, &embedder)?;
        }
        Ok(Self { corpus, embedder, attack })
    }

    /// The settings that a report's signature will have, as far as they are known before the work: a
    /// baseline of others is refused at once.
    fn settings(&self, file: &BudgetFile) -> Map<String, serde_json::Value> {
        let mut settings = Map::new();
        let mut set = |name: &str, value: serde_json::Value| settings.insert(name.to_owned(), value);
        set("corpus_sha256", json!(self.corpus.hash()));
        set("embedder_sha256", json!(self.embedder.hash()));
        set("seed", json!(file.seed));
        set("defenses", file.stacks.iter().map(ToString::to_string).collect());
        if let Some(attack) = &self.attack {
            set("attack_sha256", json!(attack.hash()));
            set("attack", json!(attack.to_string()));
            set("samples", json!(file.samples));
            if !file.adversaries.is_empty() {
                set("adversaries", file.adversaries.iter().map(ToString::to_string).collect());
            }
        }
        settings
    }
}

fn evaluate(file: &BudgetFile, things: Things) -> Result<Report, CliError> {
    let embedder = Arc::new(things.embedder);
    let spinner = progress::spinner();
    let shown = spinner.clone();
    let mut evaluation = measured(things.corpus, &embedder, &embedder)
        .samples(file.samples)
        .seed(file.seed)
        .progress(move |message| shown.set_message(message.to_owned()));
    for stack in &file.stacks {
        evaluation = evaluation.defense(stack.clone());
    }
    if let Some(attack) = things.attack {
        for &adversary in &file.adversaries {
            evaluation = evaluation.adversary(adversary);
        }
        evaluation = evaluation.note("attack_sha256", attack.hash()).attack(attack);
    }
    let report = evaluation.run();
    spinner.finish_and_clear();
    Ok(report?)
}

/// An attack that does not work must not become what later ones are measured by.
fn update_baseline(args: &Args, report: &Report, verdict: &Verdict) -> Result<(), CliError> {
    let Some(path) = args.baseline.as_deref().filter(|_| args.update_baseline) else { return Ok(()) };
    if verdict.reason.is_some() {
        remark(&format!("{}: it was left as it is, as the attack does not work", path.display()));
        return Ok(());
    }
    files::write_text(Some(path), &Baseline::of(report).to_json())
}

/// To people, files and services.
fn tell(args: &Args, file: &BudgetFile, report: &Report, verdict: &Verdict) -> Result<(), CliError> {
    if let Some(path) = &args.junit {
        files::write_text(Some(path), &junit::xml(verdict))?;
    }
    if std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        warn(annotations::lines(verdict, file, &args.budget).trim_end());
        step_summary(verdict, report);
    }
    let text = match args.format {
        Format::Table => summary::terminal(verdict, report),
        Format::Json => serde_json::to_string_pretty(&Outputs { verdict, report })? + "\n",
    };
    files::write_result(args.output.as_deref(), &text)?;
    if args.output.is_some() {
        remark(&verdict.to_string());
    }
    Ok(())
}

/// What GitHub shows on the run's page. A verdict does not fail for it.
fn step_summary(verdict: &Verdict, report: &Report) {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return };
    let text = summary::markdown(verdict, report);
    let append = |path: &Path| -> std::io::Result<()> {
        use std::io::Write as _;
        fs::File::options().append(true).create(true).open(path)?.write_all(text.as_bytes())
    };
    if let Err(error) = append(Path::new(&path)) {
        remark(&format!("the step summary cannot be written: {error}"));
    }
}
