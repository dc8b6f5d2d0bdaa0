mod print;
mod search;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueEnum;
use ndarray::Array2;

use self::search::{Arm, Setting, Step, Tried};
use self::stage::Stage;
use super::course::Course;
use super::error::CliError;
use super::files::{self, Readers};
use super::limit::Limit;
use super::loaded::Loaded;
use super::models::{Cache, Opening, REFERENCE};
use super::next::Next;
use super::notebook::{Notebook, Resuming};
use super::rehearsal;
use super::session::Session;
use super::settings::{EvaluationSettings, Resolved};
use super::terminal::{print, warn, warn_of};
use crate::evaluate::{Corpus, Report, Row, keys};
use crate::{Embedder as _, Error, GaussianNoise, Key, Projection, Rerank, Rng, Role, Rotation, Stack};

/// Find the cheapest setting of sealed re-ranking that stays within a limit and keeps the search.
///
/// Tries dimensions, noise, a rotation and numbers of candidates. For each number of dimensions, it looks for the weakest
/// noise under which the worst adversary stays within --limit. Of these settings, it recommends the one that keeps the
/// share --keep of the undefended nDCG@10 with the fewest candidates. Prints the defense, what it costs, what it leaks,
/// and the next commands. Without --attack, adversaries guess facts and recover no text.
///
/// Exits with 1 if no setting meets both conditions, and with 3 if the undefended attack is too weak to conclude
/// anything.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: EvaluationSettings,
    #[command(flatten)]
    cache: Cache,
    #[command(flatten)]
    resuming: Resuming,
    /// What the worst adversary may reach at most, such as "guess<=0.1"; may be given again.
    #[arg(long = "limit", value_name = "LIMIT", default_value = "guess<=0.1")]
    limits: Vec<String>,
    /// The share of the undefended nDCG@10 that the search must keep.
    #[arg(long, default_value_t = 0.95, value_name = "SHARE")]
    keep: f64,
    /// The most candidates that a query may open.
    #[arg(long, default_value_t = 1_000, value_name = "K")]
    candidates: usize,
    /// The numbers of dimensions to try; 0 means all of the embedder's dimensions.
    #[arg(long, value_delimiter = ',', default_values_t = [16, 32, 8, 64, 0], value_name = "N,…")]
    dims: Vec<usize>,
    /// The attacker to protect against.
    #[arg(long, value_enum, default_value_t = Threat::Operator)]
    threat: Threat,
    /// The file for the fitted components. If it exists already, it is used and not changed.
    #[arg(long, default_value = "projection.fit", value_name = "FILE")]
    output: PathBuf,
    /// How to print the result.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Who sees what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Threat {
    /// The store's operator, who sees documents and queries: noise on both.
    Operator,
    /// A thief of the store, who sees documents alone: noise on these.
    StolenStore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    let limits = args.limits.iter().map(|limit| Limit::parse(limit, &session.names.metrics()));
    let limits: Vec<Limit> = limits.collect::<Result<_, _>>().map_err(CliError::new)?;
    args.check()?;
    let settings = args.attacked_settings(&limits, session);
    let resolved = settings.resolve_with(&session.names, vec![Stack::new()])?;
    if let Some(done) = settings.rehearse(session, &resolved, &args.cache)? {
        rehearsal::once_a_setting(&settings)?;
        return Ok(done);
    }
    let course = Course::new(session, Next::new(session, &settings));
    course.say("loading");
    let corpus = settings.corpus()?;
    if corpus.queries().is_empty() {
        return Err(CliError::new(
            "the corpus has no judged queries, so what the search keeps cannot be measured; name a BEIR folder or records",
        ));
    }
    let name = settings.embedder_name().unwrap_or(REFERENCE);
    settings.address.check(&[name])?;
    let opening = Opening { services: &settings.address, cache: &args.cache, terminal: session.terminal };
    let embedder = Arc::new(opening.embedder(name)?);
    let vectors = embed(&embedder, &corpus, args, &course)?;
    let projection = args.projection(&vectors[0])?;
    course.say("searching without an attack");
    let similarity = embedder.similarity().unwrap_or_default();
    let stage = Stage::new(&corpus, (vectors, similarity), (args.keep, args.candidates), settings.seed)?;
    let finder = Finder {
        arms: arms(&args.dims),
        threat: args.threat,
        limits,
        projection,
        key: Key::from_bytes(drawn(settings.seed)),
        stage,
        measured: Vec::new(),
    };
    let attacked = Attacked { corpus, embedder, resolved, course };
    let report = attack(args, session, &settings, attacked, finder)?;
    warn_of(&report.0);
    conclude(args, session, &settings, report)
}

/// Documents and queries as the embedder makes them, from the cache where they are there.
fn embed(
    embedder: &Loaded,
    corpus: &Corpus,
    args: &Args,
    course: &Course,
) -> Result<[Array2<f32>; 2], CliError> {
    let cache = args.cache.embeddings()?;
    let vectors = |role, what: &str, texts: &[String]| {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        cache.embed(embedder, role, &texts, |done| {
            course.say(&format!("embedding {what}: {done} of {}", texts.len()));
        })
    };
    let documents = vectors(Role::Document, "documents", corpus.texts())?;
    Ok([documents, vectors(Role::Query, "queries", corpus.queries())?])
}

/// Numbers of dimensions, without a rotation first: it needs a key that the application must have to search.
fn arms(dims: &[usize]) -> Vec<Arm> {
    let dims = || dims.iter().map(|&dims| (dims > 0).then_some(dims));
    let arm = |rotated| move |dims| Arm { dims, rotated };
    dims().map(arm(false)).chain(dims().map(arm(true))).collect()
}

/// The key of rotations, for this search only: anyone can draw it from the seed again.
fn drawn(seed: u64) -> [u8; 32] {
    let mut rng = Rng::seeded(seed);
    std::array::from_fn(|_| rng.below(256) as u8)
}

impl Args {
    fn check(&self) -> Result<(), CliError> {
        if !self.settings.defenses.is_empty() {
            return Err(CliError::new(
                "`embosk recommend` makes the defenses that it measures; leave --defense out",
            ));
        }
        if self.settings.existing.is_there() {
            return Err(CliError::new(
                "`embosk recommend` embeds the corpus by itself; name the embedder, and leave --vectors out",
            ));
        }
        if !(self.keep > 0.0 && self.keep <= 1.0) {
            return Err(CliError::new("--keep must be above 0 and at most 1"));
        }
        if self.candidates == 0 || self.dims.is_empty() {
            return Err(CliError::new(
                "--candidates must be above 0, and --dims must name at least one number",
            ));
        }
        files::check_output(&self.output)
    }

    /// The settings with the usual adversaries, and without an attack where no limit is on what it recovers.
    fn attacked_settings(&self, limits: &[Limit], session: &Session) -> EvaluationSettings {
        let mut settings = EvaluationSettings { usual_adversaries: true, ..self.settings.clone() };
        let metrics = session.names.metrics();
        if settings.attack.model.is_none() && !limits.iter().any(|limit| limit.needs_attack(&metrics)) {
            settings.attack.model = Some("none".into());
        }
        settings
    }

    /// The components of the file, or of the documents where there is no file yet. `None` where all dimensions are kept.
    fn projection(&self, documents: &Array2<f32>) -> Result<Option<Projection>, CliError> {
        let Some(most) = self.dims.iter().copied().max().filter(|most| *most > 0) else { return Ok(None) };
        if self.output.exists() {
            let projection = Projection::load(&self.output)?;
            if projection.dims() < most {
                return Err(files::bad(
                    &self.output,
                    format!(
                        "it has {} components, and --dims asks for {most}; lower --dims, or name another file with \
                         --output",
                        projection.dims()
                    ),
                ));
            }
            return Ok(Some(projection));
        }
        Ok(Some(Projection::fit(documents.view(), most)?))
    }

    /// Writes the components, if they were fitted now.
    fn keep_fit(&self, projection: Option<&Projection>) -> Result<(), CliError> {
        match projection.and_then(Projection::to_bytes) {
            Some(bytes) if !self.output.exists() => {
                files::write_atomically(&self.output, Readers::Usual, |file| {
                    std::io::Write::write_all(file, &bytes)
                })
            }
            _ => Ok(()),
        }
    }
}

/// What is searched, and what was found so far.
struct Finder {
    arms: Vec<Arm>,
    threat: Threat,
    limits: Vec<Limit>,
    projection: Option<Projection>,
    key: Key,
    stage: Stage,
    /// Each setting that was handed out, with its stack as a report prints it.
    measured: Vec<(String, Setting, usize)>,
}

impl Finder {
    /// The next setting, by what the rows so far say.
    fn next(&mut self, rows: &[Row]) -> Result<Option<Stack>, Error> {
        match self.step(rows)? {
            Step::Done(_) => Ok(None),
            Step::Measure(setting, candidates) => {
                let stack = self.coarse(setting)?.with(Rerank::new(candidates)?);
                self.measured.push((stack.to_string(), setting, candidates));
                Ok(Some(stack))
            }
        }
    }

    fn step(&mut self, rows: &[Row]) -> Result<Step, Error> {
        let tried = self.tried(rows);
        let mut failed = None;
        let (stage, arms) = (&mut self.stage, &self.arms);
        let parts = (self.projection.as_ref(), &self.key, self.threat);
        let needed = |setting| {
            let needed =
                coarse(Setting { rotated: false, ..setting }, parts).and_then(|stack| stage.needed(&stack));
            needed.unwrap_or_else(|error| {
                failed.get_or_insert(error);
                None
            })
        };
        let step = search::step(arms, &tried, needed);
        failed.map_or(Ok(step), Err)
    }

    /// The settings that were attacked. One whose key nobody attacks keeps no limit, because what it leaks is not known.
    fn tried(&self, rows: &[Row]) -> Vec<Tried> {
        let tried = |(stack, setting, candidates): &(String, Setting, usize)| {
            let rows: Vec<&Row> = rows.iter().filter(|row| row.defense == *stack).collect();
            let decided = !rows.is_empty() && !keys::is_unattacked(&rows);
            let keeps = decided && self.limits.iter().all(|limit| limit.is_kept(&rows));
            Tried { setting: *setting, candidates: *candidates, keeps }
        };
        self.measured.iter().map(tried).collect()
    }

    fn coarse(&self, setting: Setting) -> Result<Stack, Error> {
        coarse(setting, (self.projection.as_ref(), &self.key, self.threat))
    }
}

/// The stack that makes coarse vectors.
fn coarse(
    setting: Setting,
    (projection, key, threat): (Option<&Projection>, &Key, Threat),
) -> Result<Stack, Error> {
    let mut stack = Stack::new();
    if let (Some(dims), Some(projection)) = (setting.dims, projection) {
        stack.push(projection.first(dims)?);
    }
    if setting.rotated {
        stack.push(Rotation::deferred(key));
    }
    let noise = GaussianNoise::new(setting.sigma())?;
    Ok(stack.with(match threat {
        Threat::Operator => noise,
        Threat::StolenStore => noise.on(Role::Document),
    }))
}

/// What the settings are attacked on.
struct Attacked {
    corpus: Corpus,
    embedder: Arc<Loaded>,
    resolved: Resolved,
    course: Course,
}

/// Attacks one setting after the other, all in one evaluation, so that nothing is embedded twice.
fn attack(
    args: &Args,
    session: &Session,
    settings: &EvaluationSettings,
    Attacked { corpus, embedder, mut resolved, course }: Attacked,
    mut finder: Finder,
) -> Result<(Report, Finder), CliError> {
    let Some(first) = finder.next(&[])? else {
        return Err(CliError::new(format!(
            "no setting keeps {} of the undefended nDCG@10 with {} candidates, even with the weakest noise; allow more \
             with --candidates, or lower --keep",
            args.keep, args.candidates
        )));
    };
    resolved.stacks = vec![first];
    let (evaluation, stages, _) =
        settings.prepare_on((corpus, Some(embedder)), session, &resolved, &args.cache)?;
    let notebook = Notebook::in_cache((&args.cache, &args.resuming), session, course)?;
    let finder = Arc::new(Mutex::new(finder));
    let asked = Arc::clone(&finder);
    let journal =
        notebook.asking(move |rows| asked.lock().unwrap_or_else(PoisonError::into_inner).next(rows));
    let report = notebook.follow(evaluation.journal(journal), stages)?;
    notebook.close();
    let finder = Arc::into_inner(finder).ok_or_else(|| CliError::new("the search has not ended"))?;
    Ok((report, finder.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

fn conclude(
    args: &Args,
    session: &Session,
    settings: &EvaluationSettings,
    (report, mut finder): (Report, Finder),
) -> Result<ExitCode, CliError> {
    let Step::Done(best) = finder.step(&report.rows)? else {
        return Err(CliError::new("the search ended before it was done"));
    };
    if best.is_some() {
        args.keep_fit(finder.projection.as_ref())?;
    }
    let found =
        print::Found { args, words: &session.words, settings, report: &report, finder: &finder, best };
    print(&match args.format {
        Format::Text => found.text(),
        Format::Json => found.json()?,
    })?;
    if let Some(reason) = &report.reason {
        warn(&format!("inconclusive: {reason}"));
        return Ok(ExitCode::from(3));
    }
    Ok(if best.is_some() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
