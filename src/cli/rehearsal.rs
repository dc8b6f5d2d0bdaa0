//! `--dry-run`: what a run will send to embedders behind an address.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value};

use super::error::CliError;
use super::loaded::Loaded;
use super::settings::{EvaluationSettings, Prepared};
use super::terminal::print;
use crate::Error;
use crate::embedder::Volume;
use crate::evaluate::Journal;

/// Runs an evaluation up to where rows are measured, and says what it would send to `embedders` until then and, at most
/// `queries` a text and `words` in all, afterwards. Hypotheses are taken to be as long as the texts of `corpus`.
pub(crate) fn evaluation(
    evaluation: Prepared,
    embedders: &[Arc<Loaded>],
    corpus: Volume,
    (samples, queries, words): (usize, Option<usize>, usize),
) -> Result<ExitCode, CliError> {
    let rows = Arc::new(AtomicUsize::new(0));
    let begun = evaluation.journal(Stop(Arc::clone(&rows))).run();
    let rows = rows.load(Ordering::Relaxed);
    // rows are counted where the journal stopped the run
    if let Err(error) = begun
        && rows == 0
    {
        return Err(error.into());
    }
    let attacked = embedders.last();
    for embedder in embedders {
        tell(embedder)?;
    }
    if let (Some(attacked), Some(queries)) = (attacked, queries)
        && let Some(host) = attacked.host()
    {
        let texts = (rows + 1) * samples * queries;
        print(&format!(
            "{host}: then {} ({rows} rows and the undefended attack, {samples} texts each, {queries} hypotheses a text)\n",
            hypotheses(texts, words, corpus)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says that what was told of an attack counts anew for each setting of a search.
pub(crate) fn once_a_setting(settings: &EvaluationSettings) -> Result<(), CliError> {
    if settings.attack.is_none() {
        return Ok(());
    }
    print("the hypotheses are for one setting; the search attacks about ten settings\n")?;
    Ok(())
}

/// Says what would have been sent so far.
pub(crate) fn tell(embedder: &Loaded) -> Result<(), CliError> {
    if let (Some(host), Some(volume)) = (embedder.host(), embedder.rehearsed()) {
        print(&format!("{host}: {volume}\n"))?;
    }
    Ok(())
}

/// Says what an attack on some vectors may send; `texts` are as long as its hypotheses, where they are known.
pub(crate) fn tell_attack(
    embedder: &Loaded,
    texts: Volume,
    (vectors, queries, words): (usize, usize, usize),
) -> Result<(), CliError> {
    if let Some(host) = embedder.host() {
        print(&format!("{host}: then {}\n", hypotheses(vectors * queries, words, texts)))?;
    }
    Ok(())
}

fn hypotheses(most: usize, words: usize, texts: Volume) -> String {
    let words = if words == 0 { String::new() } else { format!("at most {words} single words, and ") };
    let count = format!("{words}at most {most} hypotheses of the attack");
    match (texts.tokens * most).checked_div(texts.texts) {
        Some(tokens) => format!("{count}, about {tokens} tokens if hypotheses are as long as the texts"),
        None => count,
    }
}

/// Stops an evaluation before its first row, and keeps how many it would have.
struct Stop(Arc<AtomicUsize>);

impl Journal for Stop {
    fn begin(&mut self, _: &Map<String, Value>, rows: usize) -> Result<(), Error> {
        self.0.store(rows, Ordering::Relaxed);
        Err(Error::Setting("a rehearsal ends here".into()))
    }
}
