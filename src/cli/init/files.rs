//! The files that are written.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf, absolute};

use crate::Spec;
use crate::cli::error::CliError;
use crate::cli::files::{self, bad};
use crate::cli::gate;
use crate::cli::models::records;
use crate::cli::names::Names;
use crate::cli::settings;
use crate::cli::words::command;
use crate::defenses::spec::{Kind, Value};
use crate::embedder::Service;
use crate::evaluate::statistics::proportion_bounds;
use crate::evaluate::{CONFIDENCE, Threat};
use crate::models::hub::Hub;
use crate::partial;

/// How many texts the budget attacks, and how many pairs its adversaries have, if there are enough.
const SAMPLES: usize = 300;
const PAIRS: usize = 768;

/// The limit on the share of texts that are recovered word for word.
const EXACT_MATCH: f64 = 0.05;

/// The name that `gate` looks for.
pub(super) const BUDGET: &str = "privacy-budget.toml";

/// Where GitHub looks for workflows, from the root of a repository.
pub(super) const WORKFLOW: &str = ".github/workflows/privacy.yml";

/// Its placeholders are in capitals; `docs/start/gate.md` explains those that stay.
const TEMPLATE: &str = include_str!("workflow.yml");

/// What the files are made from.
pub(super) struct Plan {
    pub(super) embedder: String,
    pub(super) corpus: String,
    pub(super) spec: Spec,
    /// What its noise is meant for.
    pub(super) threat: Option<Threat>,
    /// How many texts the corpus has.
    pub(super) texts: usize,
    pub(super) has_queries: bool,
    /// The folder that the budget goes to.
    pub(super) folder: PathBuf,
}

impl Plan {
    /// The text of the budget.
    pub(super) fn budget(&self, names: &Names) -> Result<String, CliError> {
        let retrieval = if self.has_queries {
            "ndcg_drop = 0.1                          # how much lower nDCG@10 may be than without a defense\n"
        } else {
            "# the texts have no queries, so retrieval is not measured\n"
        };
        let attackers = if self.texts < SAMPLES + PAIRS {
            "# There are few texts, so the gate chooses the adversaries that they suffice for.\n".to_owned()
        } else {
            format!("adversaries = [\"naive\", \"informed(10000)\", \"leaked({PAIRS})\"]\n")
        };
        let threat = match self.threat {
            Some(Threat::StolenStore) => {
                "# Against a stolen store: queries, which the store's operator sees too, have less noise than documents, or none.\n"
            }
            Some(Threat::Operator) => {
                "# Against the store's operator, who sees documents and queries: noise is on both.\n"
            }
            None => "",
        };
        let text = format!(
            "# What `embosk gate` measures, and the limits that it enforces. Paths are relative to this file's folder.\n\
             # The limits are placeholders: measure first, then set them.\n\
             #   {evaluate}\n\
             embedder = {embedder}\n\
             corpus = {corpus}\n\
             # The worst adversary counts for each stack.\n\
             {attackers}\
             samples = {samples}\n\
             seed = 0\n\n\
             [limits]\n\
             exact_match = {EXACT_MATCH}                       # share of texts that are recovered word for word\n\
             word_leak = 0.6                          # share of the recoverable words that are recovered\n\
             guess_leak = 0.8                         # share of the guessable facts that are guessed\n\
             {retrieval}\n\
             [[stack]]\n\
             {threat}\
             defense = {defense}\n",
            samples = self.samples(SAMPLES),
            evaluate = self.evaluate(),
            embedder = quoted(&self.embedder_beside()?),
            corpus = quoted(&self.corpus_beside()?),
            defense = quoted(&self.spec_beside()?.to_string()),
        );
        // what is written can be read
        gate::check_budget(&self.folder.join(BUDGET), &text, names)?;
        Ok(text)
    }

    /// As many samples as `wanted`, or half of the texts: adversaries need the others.
    fn samples(&self, wanted: usize) -> usize {
        wanted.min(self.texts / 2).max(2)
    }

    /// The text of the workflow of GitHub Actions.
    pub(super) fn workflow(&self) -> String {
        let secrets: String = self
            .variables()
            .iter()
            .map(|name| {
                format!(
                    "      {name}: ${{{{ secrets.{name} }}}}   # pull requests from forks have no secrets\n"
                )
            })
            .collect();
        let is_on_hub = Hub::is_name(&self.embedder) && !Path::new(&self.embedder).is_dir();
        TEMPLATE
            .replace("RUST", env!("CARGO_PKG_RUST_VERSION"))
            .replace("FEATURES", if is_on_hub { "cli,hub" } else { "cli" })
            .replace("GATE", &self.gate(&["--junit", "gate.xml"]))
            .replace("SECRETS", &secrets)
    }

    /// What to do once the files are written.
    pub(super) fn next(&self, has_workflow: bool) -> String {
        let replace = if has_workflow {
            format!("  # in {WORKFLOW}, replace REPOSITORY and REVISION\n")
        } else {
            String::new()
        };
        format!(
            "next:\n{replace}  {}   # measure, and set the limits\n  {}   # check them\n  {}   # store the scores as the baseline\n",
            self.evaluate(),
            self.gate(&[]),
            self.gate(&["--baseline", "privacy-baseline.json", "--update-baseline"]),
        )
    }

    /// Warns of what CI will not have, and of a limit that cannot be proved.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if Service::new(&self.embedder).is_ok_and(|service| service.is_local()) {
            warnings.push(format!(
                "{} is on this machine, which CI cannot reach; name an address that it can reach, or start the service in \
                 a step of the workflow before the gate",
                self.embedder
            ));
        }
        let paths = [&self.embedder, &self.corpus].into_iter().filter(|name| Path::new(name).exists());
        warnings.extend(paths.filter(|path| leads_out(Path::new(path))).map(|path| {
            format!(
                "{path} is outside this folder, so CI will not have it; copy it here, commit it and use its new path, or \
                 fetch it in a step of the workflow before the gate"
            )
        }));
        let samples = self.samples(SAMPLES);
        let proves = |samples: usize| proportion_bounds(0, samples, CONFIDENCE).1 < EXACT_MATCH;
        if !proves(samples)
            && let Some(least) = (samples..SAMPLES).find(|&samples| proves(samples))
        {
            warnings.push(format!(
                "{samples} of the {} texts are attacked, but exact_match = {EXACT_MATCH} cannot be proved by fewer than {least}, \
                 even if none is recovered; use a corpus of at least {} texts, or raise the limit",
                self.texts,
                2 * least
            ));
        }
        warnings
    }

    /// The files with keys, which are not in a repository.
    pub(super) fn key_files(&self) -> Vec<&str> {
        let keys = self.spec.parts().iter().filter_map(|part| part.find("key"));
        keys.filter_map(|key| match key.kind() {
            Kind::File(path) => Some(path),
            _ => None,
        })
        .collect()
    }

    fn evaluate(&self) -> String {
        let (none, defense) = (Spec::default().to_string(), self.spec.to_string());
        let mut words =
            vec!["evaluate", "--embedder", &self.embedder, "--corpus", &self.corpus, "--defense", &none];
        if defense != none {
            words.extend(["--defense", &defense]);
        }
        let samples = self.samples(settings::SAMPLES).to_string();
        if self.texts < 2 * settings::SAMPLES {
            words.extend(["--samples", &samples]);
        }
        command(words)
    }

    fn gate(&self, more: &[&str]) -> String {
        let named = self.folder.join(BUDGET).display().to_string();
        let words = if self.folder == Path::new(".") { vec![] } else { vec!["--budget", named.as_str()] };
        command(["gate"].iter().chain(&words).chain(more).copied())
    }

    /// The variables that the workflow needs: those of keys, and of the embedder's address.
    fn variables(&self) -> BTreeSet<&str> {
        let of_address = Service::is_address(&self.embedder).then_some("EMBOSK_API_KEY");
        self.spec.values().filter_map(variable).chain(of_address).collect()
    }

    /// The embedder as the budget names it.
    fn embedder_beside(&self) -> Result<String, CliError> {
        let is_folder = Path::new(&self.embedder).is_dir();
        if is_folder { self.beside(&self.embedder) } else { Ok(self.embedder.clone()) }
    }

    fn corpus_beside(&self) -> Result<String, CliError> {
        if records(&self.corpus)?.is_some() { Ok(self.corpus.clone()) } else { self.beside(&self.corpus) }
    }

    /// The spec, with the files that it names.
    fn spec_beside(&self) -> Result<Spec, CliError> {
        let mut spec = self.spec.clone();
        for value in spec.values_mut() {
            if let Kind::File(path) = value.kind()
                && !path.starts_with("~/")
            {
                let path = self.beside(path)?;
                value.replace(Value::file(&path));
            }
        }
        Ok(spec)
    }

    /// A path as it is read from the budget's folder.
    fn beside(&self, path: &str) -> Result<String, CliError> {
        if Path::new(path).is_absolute() || self.folder == Path::new(".") {
            return Ok(path.to_owned());
        }
        let whole = |path: &Path| absolute(path).map_err(|error| bad(path, error));
        let path = relative(&whole(Path::new(path))?, &whole(&self.folder)?);
        Ok(path.display().to_string())
    }
}

/// An absolute path as seen from an absolute folder; the path itself if one of them leads upwards.
fn relative(path: &Path, folder: &Path) -> PathBuf {
    let leads_up = |path: &Path| path.components().any(|part| part == Component::ParentDir);
    if leads_up(path) || leads_up(folder) {
        return path.to_owned();
    }
    let shared = path.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(path.components().skip(shared)).collect()
}

/// Whether a path is absolute or leads out of the current folder.
fn leads_out(path: &Path) -> bool {
    let mut depth = 0_i32;
    path.is_absolute()
        || path.components().any(|part| {
            match part {
                Component::ParentDir => depth -= 1,
                Component::Normal(_) => depth += 1,
                _ => (),
            }
            depth < 0
        })
}

/// The variable that a value names.
fn variable(value: &Value) -> Option<&str> {
    match value.kind() {
        Kind::Env(name) => Some(name),
        _ => None,
    }
}

/// A string of TOML, which one of JSON is as well.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Writes a file, and makes its folder.
pub(super) fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let folder = partial::folder_of(path);
    fs::create_dir_all(folder).map_err(|error| bad(folder, error))?;
    files::write_text(Some(path), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_ci_lacks_is_told_apart() {
        for (path, expected) in [
            ("notes.txt", false),
            ("./data/../notes.txt", false),
            ("/a/notes.txt", true),
            ("../notes.txt", true),
            ("data/../../notes.txt", true),
        ] {
            assert_eq!(leads_out(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_path_leads_from_the_folder_to_the_file() {
        for (path, folder, expected) in [
            ("/a/b/notes.txt", "/a/b/ci", "../notes.txt"),
            ("/a/b/notes.txt", "/a/b", "notes.txt"),
            ("/a/notes.txt", "/b/c", "../../a/notes.txt"),
            ("/a/../notes.txt", "/b", "/a/../notes.txt"),
        ] {
            assert_eq!(relative(Path::new(path), Path::new(folder)), Path::new(expected), "{path}, {folder}");
        }
    }
}
