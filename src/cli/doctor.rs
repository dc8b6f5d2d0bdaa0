use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use super::cache;
use super::error::CliError;
use super::loaded::Loaded;
use super::models::{Cache, REFERENCE, local_embedder, records};
use super::session::Session;
use super::terminal::print;
use super::words::command;
use crate::Embedder;
use crate::attacks::vec2text::{SHIPPED, shipped_for};
use crate::embedder::Service;
use crate::evaluate::Corpus;
use crate::{BoxError, Role};

/// How many texts are embedded to see how fast that is.
const TIMED: usize = 32;

/// An evaluation needs this many documents besides those that it attacks, for the attacker to learn from.
const OWN: usize = 1_000;

/// Stands for a file that only the user can name.
const SIMILAR: &str = "SIMILAR-TEXTS.txt";

/// Report the setup, and suggest the next command.
///
/// Shows the features of this program and the attacks that it ships, the speed of the embedder, the attack for it, what
/// can be measured on the corpus, and the content of the cache. Sends nothing to an embedder behind an address.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The embedder: `reference` (the shipped one), a sentence-transformers folder, a model on the Hugging Face hub
    /// (owner/model), or an address (http(s)://host[:port]/v1#model).
    #[arg(long, default_value = REFERENCE, value_name = "E")]
    embedder: String,
    /// The corpus: `records` or `records:N` (built in), a BEIR folder, or a text file with one passage per line.
    #[arg(long, default_value = "records", value_name = "C")]
    corpus: String,
    #[command(flatten)]
    cache: Cache,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<ExitCode, CliError> {
    let corpus = Corpus::load(&args.corpus, 0)?;
    // one behind an address is not asked
    let embedder = if Service::is_address(&args.embedder) {
        None
    } else {
        let local = local_embedder(&args.embedder, &candle_core::Device::Cpu, session.terminal)?;
        Some(Loaded::local(local))
    };
    let attack = embedder.as_ref().and_then(|embedder| shipped_for(embedder.hash()));
    let mut text = String::new();
    let mut line = |what: &str, is: &str| writeln!(text, "{what:<9} {is}").unwrap_or_default();
    line("program", &program());
    line("features", &features());
    line("shipped", &shipped());
    line("embedder", &described_embedder(embedder.as_ref(), &args.embedder, &corpus)?);
    line("attack", &described_attack(attack));
    line("corpus", &described_corpus(&corpus, &args.corpus)?);
    for (index, part) in cache::list(&args.cache)?.lines().enumerate() {
        line(if index == 0 { "cache" } else { "" }, part);
    }
    for (index, next) in next(args, attack.is_some()).iter().enumerate() {
        line(if index == 0 { "next" } else { "" }, next);
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn program() -> String {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    format!("embosk {}, {threads} threads", env!("CARGO_PKG_VERSION"))
}

/// The command always has the others.
fn features() -> String {
    let optional = [
        ("hub", cfg!(feature = "hub")),
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
        ("mkl", cfg!(feature = "mkl")),
        ("accelerate", cfg!(feature = "accelerate")),
    ];
    let (with, without): (Vec<_>, Vec<_>) = optional.into_iter().partition(|(_, is_there)| *is_there);
    let names =
        |features: &[(&str, bool)]| features.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let all = if with.is_empty() { "cli".into() } else { format!("cli, {}", names(&with)) };
    if without.is_empty() { all } else { format!("{all} (not built in: {})", names(&without)) }
}

fn shipped() -> String {
    format!("embedder {REFERENCE}; attacks on {REFERENCE} and all-MiniLM-L6-v2 ({})", SHIPPED.join(", "))
}

fn described_embedder(embedder: Option<&Loaded>, name: &str, corpus: &Corpus) -> Result<String, CliError> {
    let Some(embedder) = embedder else {
        return Ok(format!("{name}: behind an address; `--dry-run` says what an evaluation would send"));
    };
    let dimension = embedder.dimension();
    let norm = if embedder.is_normalized() { "norm 1" } else { "any norm" };
    let speed = texts_per_second(embedder, corpus).map_err(|error| CliError::new(error.to_string()))?;
    Ok(format!("{name}: {dimension} dimensions, {norm}; {speed:.0} of the corpus's texts per second"))
}

/// How fast texts like those of the corpus are embedded.
fn texts_per_second(embedder: &Loaded, corpus: &Corpus) -> Result<f64, BoxError> {
    let texts: Vec<&str> = corpus.texts().iter().take(TIMED).map(String::as_str).collect();
    let start = Instant::now();
    embedder.embed(Role::Document, &texts)?;
    Ok(texts.len() as f64 / start.elapsed().as_secs_f64().max(1e-9))
}

fn described_attack(attack: Option<&str>) -> String {
    match attack {
        Some(name) => format!("{name}, trained on this embedder, then guided search"),
        None => "guided search; no shipped attack was trained on this embedder".into(),
    }
}

fn described_corpus(corpus: &Corpus, name: &str) -> Result<String, CliError> {
    let documents = corpus.texts().len();
    let words: usize = corpus.texts().iter().map(|text| text.split_whitespace().count()).sum();
    let mean = words as f64 / documents.max(1) as f64;
    let questions = match corpus.queries().len() {
        0 => "no queries, so retrieval is not measured".into(),
        queries => format!("{queries} queries"),
    };
    let few = documents < OWN && records(name)?.is_none();
    let hint = if few { "; give the attacker more texts of this kind with --attacker-corpus" } else { "" };
    Ok(format!("{name}: {documents} texts of {mean:.0} words on average, {questions}{hint}"))
}

/// What to run next, the first thing first.
fn next(args: &Args, has_attack: bool) -> Vec<String> {
    let mut named = Vec::new();
    if args.embedder != REFERENCE {
        named.extend(["--embedder", &args.embedder]);
    }
    if args.corpus != "records" {
        named.extend(["--corpus", &args.corpus]);
    }
    let with = |verb: &[&str], named: &[&str]| command(verb.iter().chain(named).copied());
    let mut lines = vec![with(&["evaluate"], &named) + "   # measure the defenses"];
    if !has_attack && !Service::is_address(&args.embedder) {
        let training = ["train", "attack", "--init", "auto", "--minutes", "30"];
        // texts that the attack was trained on are not attacked
        let others = ["--embedder", &args.embedder, "--corpus", SIMILAR, "--out", "my-attack"];
        lines.push(with(&training, &others) + "   # train a stronger attack");
    }
    if Path::new("privacy-budget.toml").exists() {
        lines.push(with(&["gate"], &[]) + "   # check privacy-budget.toml");
    } else {
        lines.push(with(&["init"], &named) + "   # write a budget and a workflow for CI");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_commands_name_what_was_named() {
        let args = |embedder: &str, corpus: &str| Args {
            embedder: embedder.into(),
            corpus: corpus.into(),
            cache: Cache::at("cache".into()),
        };
        let usual = next(&args("reference", "records"), true);
        assert!(
            usual[0].starts_with("embosk evaluate  ") && usual[1].starts_with("embosk init  "),
            "{usual:?}"
        );
        let own = next(&args("my model", "notes.txt"), false);
        let named = "--embedder 'my model' --corpus notes.txt";
        assert!(own[0].starts_with(&format!("embosk evaluate {named}")), "{own:?}");
        assert!(
            own[1].contains("--embedder 'my model' --corpus SIMILAR-TEXTS.txt --out my-attack"),
            "{own:?}"
        );
        let remote = next(&args("https://example.org/v1#model", "notes.txt"), false);
        assert_eq!(remote.len(), 2, "training would send every text: {remote:?}");
    }
}
