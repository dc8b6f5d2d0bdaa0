//! The `embosk` command as a library. Each verb has one file or folder, with its arguments and its
//! implementation.
//!
//! Results go to stdout, progress to stderr. The exit code is 0 when all is well, 1 when a limit is broken, 2
//! on bad usage or input, and 3 when nothing can be concluded.
//!
//! A [`Program`] with your own defenses, adversaries and metrics makes your own command; all its verbs know
//! their names.

mod cache;
mod chart;
mod completions;
mod course;
mod curve;
mod device;
mod doctor;
mod embed;
mod error;
mod evaluate;
mod files;
mod fit;
mod gate;
mod init;
mod invert;
mod keygen;
mod library;
mod limit;
mod loaded;
mod man;
mod models;
mod names;
mod next;
mod notebook;
mod paced;
mod protect;
mod recommend;
mod rehearsal;
mod retrained;
mod rows;
mod score;
mod serve;
mod service;
mod session;
mod settings;
mod table;
mod tables;
mod terminal;
mod train;
mod unprotect;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use self::error::CliError;
pub use self::library::Request;
use self::names::Names;
use self::session::Session;
use self::terminal::{Terminal, warn};
use crate::evaluate::{Metric, adversaries};
use crate::{Error, Registry};

/// The `embosk` command, with the defenses, adversaries and metrics that it knows by name.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use embosk::cli::Program;
/// use embosk::evaluate::Metric;
///
/// fn main() -> ExitCode {
///     let length = |text: &str| text.chars().count() as f64;
///     let ratio = Metric::mean("length_ratio", move |pair| Some(length(pair.output) / length(pair.truth).max(1.0)));
///     Program::new().metric(ratio).main()
/// }
/// ```
#[derive(Debug, Default)]
pub struct Program {
    names: Names,
    code: Option<PathBuf>,
}

impl Program {
    /// Creates the command with the defenses, adversaries and metrics of this project.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the defenses that specs can name. Default: ours.
    pub fn defenses(mut self, registry: Registry) -> Self {
        self.names.defenses = registry;
        self
    }

    /// Sets the adversaries that can be named, and from which the defaults and `all` are taken. Default:
    /// ours.
    pub fn adversaries(mut self, registry: adversaries::Registry) -> Self {
        self.names.adversaries = registry;
        self
    }

    /// Adds a metric to the built-in ones. Reports show it, and budgets and searches may limit it.
    pub fn metric(mut self, metric: Metric) -> Self {
        self.names.own_metrics.push(metric);
        self
    }

    /// Sets the file that holds the program's code. Rows of interrupted runs are used again only by the same code.
    /// Default: the executable of the process, which a library in another program should replace.
    pub fn code(self, file: impl Into<PathBuf>) -> Self {
        Self { code: Some(file.into()), ..self }
    }

    /// Runs the command with the arguments of the process. Some libraries panic on damaged files; the panics become
    /// errors, and the process says nothing about them.
    ///
    /// Call it before the program starts a thread: it sets `CANDLE_NUM_THREADS` to 1 if it is not set, so that no threads
    /// of candle's spin while a model is trained.
    pub fn main(self) -> ExitCode {
        device::keep_candle_to_one_thread();
        tables::keep_silent();
        self.run(std::env::args_os())
    }

    /// Runs the command with these arguments, the program's name first. An error prints one line on stderr
    /// and gives exit code 2.
    pub fn run(self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> ExitCode {
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let matches = match command(&self.names).try_get_matches_from(&arguments) {
            Ok(matches) => matches,
            Err(error) => {
                let _ = error.print();
                return ExitCode::from(error.exit_code() as u8);
            }
        };
        self.run_with(&matches, &arguments).unwrap_or_else(|error| {
            warn(&format!("error: {error}"));
            ExitCode::from(2)
        })
    }

    /// Runs the command as [`run`](Self::run) does, but returns an error instead of printing it.
    ///
    /// # Errors
    /// [`Error::Setting`] with what `run` prints.
    pub fn try_run(
        self,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<ExitCode, Error> {
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let matches = command(&self.names).try_get_matches_from(&arguments);
        let matches = matches.map_err(|error| Error::Setting(error.to_string()))?;
        self.run_with(&matches, &arguments).map_err(|error| Error::Setting(error.to_string()))
    }

    fn run_with(self, matches: &ArgMatches, arguments: &[OsString]) -> Result<ExitCode, CliError> {
        let cli = Cli::from_arg_matches(matches)?;
        let words = arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        let terminal = Terminal::new(cli.quiet, cli.verbose);
        cli.verb.run(&Session { names: self.names, terminal, words, code: self.code })
    }
}

/// Returns the arguments; their help lists the adversaries of the registry.
fn command(names: &Names) -> Command {
    let with_adversaries = |verb| settings::with_adversaries(verb, names);
    let command = Cli::command();
    let verbs = ["evaluate", "curve", "recommend"];
    verbs.into_iter().fold(command, |command, verb| command.mut_subcommand(verb, with_adversaries))
}

/// Wrap text embeddings with privacy defenses, and measure with the full vec2text attack what the
/// defenses are worth.
#[derive(Debug, Parser)]
#[command(name = "embosk", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// Print only results, warnings and errors.
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print a line for each finished step, and print signatures in full.
    #[arg(long, short, global = true)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(
        after_help = "Example:\n  embosk evaluate --corpus my-texts.txt --defense \"gaussian(sigma=0.05)\""
    )]
    Evaluate(Box<evaluate::Args>),
    #[command(
        after_help = "Example:\n  embosk curve --output my-curve --defense \"gaussian(sigma=0.003..0.1/6log)\""
    )]
    Curve(Box<curve::Args>),
    #[command(after_help = "Example:\n  embosk gate --budget privacy-budget.toml")]
    Gate(gate::Args),
    #[command(after_help = "Example:\n  embosk train attack --corpus mine.txt --minutes 30 --out my-attack")]
    Train(train::Args),
    #[command(after_help = "Example:\n  embosk invert --input texts.txt --format text")]
    Invert(invert::Args),
    #[command(after_help = "Example:\n  embosk embed --input texts.txt --output vectors.npy")]
    Embed(embed::Args),
    #[command(
        after_help = "Example:\n  embosk fit projection --corpus my-texts.txt --dims 16 --output components.fit"
    )]
    Fit(fit::Args),
    #[command(after_help = "Example:\n  embosk score --input pairs.jsonl")]
    Score(score::Args),
    #[command(
        after_help = "Example:\n  embosk protect --defense \"rotation(key=file:key)\" --role document passages.parquet stored.parquet"
    )]
    Protect(Box<protect::Args>),
    #[command(
        after_help = "Example:\n  embosk unprotect --defense \"rotation(key=file:key)\" stored.parquet clean.parquet"
    )]
    Unprotect(unprotect::Args),
    #[command(
        after_help = "Example:\n  embosk recommend --corpus my-corpus --limit \"guess<=0.1\" --keep 0.95"
    )]
    Recommend(Box<recommend::Args>),
    #[command(
        after_help = "Example:\n  embosk serve --defense \"rotation(key=file:key)\" --upstream http://127.0.0.1:8080/v1"
    )]
    Serve(serve::Args),
    #[command(after_help = "Example:\n  embosk keygen --output key")]
    Keygen(keygen::Args),
    #[command(after_help = "Example:\n  embosk init --corpus my-texts.txt")]
    Init(init::Args),
    #[command(after_help = "Example:\n  embosk doctor --corpus my-texts.txt")]
    Doctor(doctor::Args),
    #[command(after_help = "Example:\n  embosk cache list")]
    Cache(cache::Args),
    #[command(
        after_help = "Example:\n  embosk completions bash > ~/.local/share/bash-completion/completions/embosk"
    )]
    Completions(completions::Args),
    #[command(after_help = "Example:\n  embosk man --output man")]
    Man(man::Args),
}

impl Verb {
    fn run(&self, session: &Session) -> Result<ExitCode, CliError> {
        match self {
            Self::Evaluate(args) => evaluate::run(args, session),
            Self::Curve(args) => curve::run(args, session),
            Self::Gate(args) => gate::run(args, session),
            Self::Train(args) => train::run(args, session),
            Self::Invert(args) => invert::run(args, session),
            Self::Embed(args) => embed::run(args, session),
            Self::Fit(args) => fit::run(args, session),
            Self::Score(args) => score::run(args, session),
            Self::Protect(args) => protect::run(args, session),
            Self::Unprotect(args) => unprotect::run(args, session),
            Self::Recommend(args) => recommend::run(args, session),
            Self::Serve(args) => serve::run(args, session),
            Self::Keygen(args) => keygen::run(args, session),
            Self::Init(args) => init::run(args, session),
            Self::Doctor(args) => doctor::run(args, session),
            Self::Cache(args) => cache::run(args, session),
            Self::Completions(args) => completions::run(args, session),
            Self::Man(args) => man::run(args, session),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent_and_list_the_adversaries() {
        let mut command = command(&Names::default());
        command.build();
        command.clone().debug_assert();
        let help = command.find_subcommand_mut("curve").expect("the verb").render_long_help().to_string();
        assert!(help.contains("`leaked(k)`") && help.contains("--adversary <A>"), "{help}");
    }

    /// Each verb's help ends with a command that can be read.
    #[test]
    fn each_verb_has_an_example() {
        let mut command = command(&Names::default());
        command.build();
        let verbs: Vec<String> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
        for verb in verbs.iter().filter(|verb| *verb != "help") {
            let help = command.find_subcommand_mut(verb).expect("the verb").render_long_help().to_string();
            let example = help.rsplit_once("Example:\n  ").expect(verb).1.trim_end();
            let words = example.split(" > ").next().unwrap_or_default().split(' ');
            let words = words.map(|word| word.trim_matches('"'));
            let read = command.clone().try_get_matches_from(words);
            assert!(read.is_ok(), "{example}: {:?}", read.err());
        }
    }
}
