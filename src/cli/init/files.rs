//! The files that are written.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::error::CliError;
use crate::cli::files::bad;
use crate::cli::gate;

use crate::Spec;
use crate::cli::names::Names;
use crate::cli::words::command;
use crate::defenses::spec::{Kind, Value};
use crate::embedder::Service;
use crate::partial::{self, Readers};

/// How many texts the budget attacks.
const SAMPLES: usize = 300;

/// What the files are made from.
pub(super) struct Plan {
    pub(super) embedder: String,
    pub(super) corpus: String,
    pub(super) spec: Spec,
    pub(super) has_queries: bool,
    /// The folder that they go to.
    pub(super) folder: PathBuf,
}

impl Plan {
    /// The text of `privacy-budget.toml`.
    pub(super) fn budget(&self, names: &Names) -> Result<String, CliError> {
        let retrieval = if self.has_queries {
            "ndcg_drop = 0.1                          # how far nDCG@10 may fall below the undefended one\n"
        } else {
            "# the texts have no queries, so retrieval is not measured\n"
        };
        let text = format!(
            "# What `embosk gate` measures, and what it holds it to. Paths are relative to this file's folder.\n\
             # The limits are a start: measure first, and then set them.\n\
             #   {evaluate}\n\
             embedder = {embedder}\n\
             corpus = {corpus}\n\
             # Of each stack, the worst counts.\n\
             adversaries = [\"naive\", \"informed(10000)\", \"leaked(768)\"]\n\
             samples = {SAMPLES}\n\
             seed = 0\n\n\
             [limits]\n\
             exact_match = 0.05                       # texts that come back word for word\n\
             word_leak = 0.6                          # words that come back, of those that can\n\
             {retrieval}\n\
             [[stack]]\n\
             defense = {defense}\n",
            evaluate = self.evaluate(),
            embedder = quoted(&self.path(&self.embedder)?),
            corpus = quoted(&self.path(&self.corpus)?),
            defense = quoted(&self.spec.to_string()),
        );
        // what is written can be read
        gate::check_budget(&self.folder.join("privacy-budget.toml"), &text, names)?;
        Ok(text)
    }

    /// The text of the workflow of GitHub Actions.
    pub(super) fn workflow(&self) -> String {
        let keys: Vec<&str> = self.variables();
        let secrets: String =
            keys.iter().map(|name| format!("      {name}: ${{{{ secrets.{name} }}}}\n")).collect();
        let note = if keys.is_empty() { "" } else { "    # pull requests from forks have no secrets\n" };
        WORKFLOW.replace("SECRETS", &format!("{note}    env:\n      CANDLE_NUM_THREADS: 1\n{secrets}"))
    }

    /// What to do after the files are written.
    pub(super) fn next(&self) -> String {
        let budget = self.folder.join("privacy-budget.toml");
        let gate = |more: &[&str]| {
            let named = budget.display().to_string();
            let words = if self.folder == Path::new(".") { vec![] } else { vec!["--budget", &named] };
            command(["gate"].iter().chain(&words).chain(more).copied())
        };
        format!(
            "next:\n  {}   # measure, and set the limits\n  {}   # check them\n  {}   # keep the scores to compare with\n",
            self.evaluate(),
            gate(&[]),
            gate(&["--baseline", "privacy-baseline.json", "--update-baseline"]),
        )
    }

    fn evaluate(&self) -> String {
        let (embedder, corpus, defense) = (&self.embedder, &self.corpus, self.spec.to_string());
        command([
            "evaluate",
            "--embedder",
            embedder,
            "--corpus",
            corpus,
            "--defense",
            "none",
            "--defense",
            &defense,
        ])
    }

    /// The variables that the stack's keys are in.
    fn variables(&self) -> Vec<&str> {
        let names: BTreeSet<&str> = self.spec.values().filter_map(variable).collect();
        names.into_iter().collect()
    }

    /// A name, or a path as it is read from the budget's folder.
    fn path(&self, name: &str) -> Result<String, CliError> {
        let path = Path::new(name);
        if Service::is_address(name) || !path.exists() || path.is_absolute() || self.folder == Path::new(".")
        {
            return Ok(name.to_owned());
        }
        let Ok(folder) = fs::canonicalize(&self.folder) else {
            // it is made later, and then holds nothing that was named
            return whole(path);
        };
        let whole = whole(path)?;
        Ok(Path::new(&whole)
            .strip_prefix(&folder)
            .map_or(whole.clone(), |inside| inside.display().to_string()))
    }
}

/// The variable that a value names.
fn variable(value: &Value) -> Option<&str> {
    match value.kind() {
        Kind::Env(name) => Some(name),
        _ => None,
    }
}

/// The absolute path of a file or folder.
fn whole(path: &Path) -> Result<String, CliError> {
    Ok(fs::canonicalize(path).map_err(|error| bad(path, error))?.display().to_string())
}

/// A string of TOML, which one of JSON is as well.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Writes a file, and makes its folder.
pub(super) fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let folder = partial::folder_of(path);
    fs::create_dir_all(folder).map_err(|error| bad(folder, error))?;
    partial::write(path, Readers::Usual, |file| std::io::Write::write_all(file, text.as_bytes()))
        .map_err(|error| bad(path, error))
}

/// Its placeholders are in capitals; `docs/start/gate.md` explains them.
const WORKFLOW: &str = include_str!("workflow.yml");
