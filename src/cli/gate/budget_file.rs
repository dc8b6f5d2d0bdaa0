//! `privacy-budget.toml`: what is measured, and what it is held to.

mod attack;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use embosk::Stack;
use embosk::evaluate::metrics::{built_in, by_limit};
use embosk::evaluate::{Budget, Finding, Kind, Metric, SAMPLES};
use serde::Deserialize;
use toml::Spanned;

use self::attack::AttackTable;
use crate::cli::models::Search;
use crate::cli::settings::{AdversaryName, Settings};
use crate::cli::{CliError, files, models};

/// More than any budget has: 1 MiB.
const LARGEST: usize = 1 << 20;

/// A budget file, with its names read and its paths found.
#[derive(Debug)]
pub(super) struct BudgetFile {
    pub(super) settings: Settings,
    pub(super) budget: Budget,
    /// The lines of what is limited: of a stack, or of all, or of the canary.
    lines: Vec<(Table, &'static Metric, usize)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Table {
    Canary,
    Limits,
    Stack(String),
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    embedder: Option<String>,
    corpus: Option<String>,
    split: Option<String>,
    #[serde(default)]
    adversaries: Vec<Spanned<String>>,
    attacker_corpus: Option<String>,
    retrained: Option<String>,
    surrogate: Option<String>,
    samples: Option<usize>,
    seed: Option<u64>,
    confidence: Option<f64>,
    #[serde(default, deserialize_with = "attack::name_or_table")]
    attack: AttackTable,
    #[serde(default)]
    canary: Numbers,
    #[serde(default)]
    limits: Numbers,
    #[serde(default)]
    tolerance: Numbers,
    #[serde(default)]
    stack: Vec<StackTable>,
}

type Numbers = BTreeMap<String, Spanned<f64>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StackTable {
    defense: Spanned<String>,
    #[serde(default)]
    limits: Numbers,
}

impl BudgetFile {
    /// Reads a budget.
    ///
    /// An error has the file and the line, and says what is allowed there; it repeats no value, as one may be
    /// a key in the wrong place.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let missing = "there is no such budget; write one after examples/privacy-budget.toml, or name yours with --budget";
        let text = files::read_text(path, LARGEST, missing)?;
        let source = Source { path, text: &text };
        let written: Written = toml::from_str(&text).map_err(|error| {
            source.error(error.span().unwrap_or_default(), without_values(error.message()))
        })?;
        source.budget(written)
    }

    /// The line that a finding is about, counted from 1; the first where it is about none.
    pub(super) fn line_of(&self, finding: &Finding) -> usize {
        let in_table = |table: Table| {
            let here = |(other, metric, _): &&(Table, &Metric, usize)| {
                *other == table && metric.name == finding.metric.name
            };
            self.lines.iter().find(here).map(|(.., line)| *line)
        };
        let line = match finding.kind {
            Kind::Canary => in_table(Table::Canary),
            _ => in_table(Table::Stack(finding.defense.clone())).or_else(|| in_table(Table::Limits)),
        };
        line.unwrap_or(1)
    }
}

/// The file, for what is wrong with it.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn budget(&self, written: Written) -> Result<BudgetFile, CliError> {
        let mut lines = Vec::new();
        let mut budget = Budget::new();
        let mut table = |table: &Table, numbers: &Numbers| -> Result<Vec<(&'static str, f64)>, CliError> {
            let read = |(name, number): (&String, &Spanned<f64>)| {
                let metric = self.metric(name, number)?;
                lines.push((table.clone(), metric, self.line(number.span())));
                Ok((metric.limit_name(), *number.get_ref()))
            };
            numbers.iter().map(read).collect()
        };
        for (metric, at_least) in table(&Table::Canary, &written.canary)? {
            budget = budget.canary(metric, at_least);
        }
        for (metric, limit) in table(&Table::Limits, &written.limits)? {
            budget = budget.limit(metric, limit);
        }
        let mut stacks = Vec::new();
        for StackTable { defense, limits } in &written.stack {
            let stack = self.stack(defense)?;
            let name = stack.to_string();
            if stacks.iter().any(|other: &Stack| other.to_string() == name) {
                return Err(self.error(defense.span(), "this stack is there twice"));
            }
            for (metric, limit) in table(&Table::Stack(name.clone()), limits)? {
                budget = budget.limit_of(&name, metric, limit);
            }
            stacks.push(stack);
        }
        for (name, tolerance) in &written.tolerance {
            let metric = self.metric(name, tolerance)?;
            budget = budget.tolerance(metric.limit_name(), *tolerance.get_ref());
        }
        if stacks.is_empty() {
            return Err(self.error(0..0, "it names no stack; add [[stack]] with defense = \"…\""));
        }
        let budget = written.confidence.into_iter().fold(budget, Budget::confidence);
        budget.validate().map_err(|error| files::bad(self.path, error))?;
        let of_an_attack =
            |(table, metric, _): &&(Table, &Metric, usize)| *table != Table::Canary && !metric.is_retrieval();
        if let Some((_, metric, line)) =
            lines.iter().find(of_an_attack).filter(|_| written.attack.model.as_deref() == Some("none"))
        {
            return Err(
                self.error_in(*line, format!("{} is limited, but attack is \"none\"", metric.limit_name()))
            );
        }
        Ok(BudgetFile { settings: self.settings(&written, stacks)?, budget, lines })
    }

    fn settings(&self, written: &Written, stacks: Vec<Stack>) -> Result<Settings, CliError> {
        let AttackTable { model, steps, beam_width, local_queries } = &written.attack;
        let width = models::beam_width(*beam_width.get_ref());
        let width = width.map_err(|message| self.error(beam_width.span(), message))?;
        let adversary = |name: &Spanned<String>| -> Result<AdversaryName, CliError> {
            name.get_ref().parse().map_err(|error: embosk::Error| self.error(name.span(), error))
        };
        let folder = |name: &Option<String>| name.as_deref().map(|name| self.existing(name));
        let corpus = |name: &Option<String>| name.as_deref().map(|name| self.corpus(name));
        Ok(Settings {
            embedder: folder(&written.embedder).unwrap_or_else(|| models::REFERENCE.into()),
            corpus: corpus(&written.corpus).unwrap_or_else(|| "records".into()),
            split: written.split.clone(),
            attack: folder(model),
            search: Search { steps: *steps, beam_width: width, local_queries: *local_queries },
            stacks,
            adversaries: written.adversaries.iter().map(adversary).collect::<Result<_, _>>()?,
            attacker_corpus: corpus(&written.attacker_corpus),
            retrained: folder(&written.retrained),
            surrogate: folder(&written.surrogate),
            samples: written.samples.unwrap_or(SAMPLES),
            seed: written.seed.unwrap_or(0),
        })
    }

    /// The metric that is limited under this name.
    fn metric(&self, name: &str, number: &Spanned<f64>) -> Result<&'static Metric, CliError> {
        by_limit(built_in(), name).map_err(|error| self.error(number.span(), error))
    }

    /// A spec, with the files of its keys looked for beside the budget.
    fn stack(&self, spec: &Spanned<String>) -> Result<Stack, CliError> {
        let mut parts = spec.get_ref().split("file:");
        let mut found = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find([',', ')']).unwrap_or(part.len());
            let file = self.beside(part[..end].trim_end());
            found = format!("{found}file:{}{}", file.display(), &part[end..]);
        }
        models::stack(&found).map_err(|error| self.error(spec.span(), error))
    }

    /// A path where there is one, and else a name; of `INVERTER+CORRECTOR` each by itself.
    fn existing(&self, name: &str) -> String {
        let folder = |name: &str| {
            let path = self.beside(name);
            path.is_dir().then(|| path.display().to_string())
        };
        let part = |name: &str| folder(name).unwrap_or_else(|| name.to_owned());
        match models::two_where(name, |part| folder(part).is_some()) {
            Some((inverter, corrector)) => format!("{}+{}", part(inverter), part(corrector)),
            None => part(name),
        }
    }

    fn corpus(&self, spec: &str) -> String {
        let built_in = spec == "records" || spec.starts_with("records:");
        if built_in { spec.to_owned() } else { self.beside(spec).display().to_string() }
    }

    /// A path that is relative to the budget's folder.
    fn beside(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    fn error(&self, at: Range<usize>, message: impl std::fmt::Display) -> CliError {
        self.error_in(self.line(at), message)
    }

    fn error_in(&self, line: usize, message: impl std::fmt::Display) -> CliError {
        CliError::new(format!("{}, line {line}: {message}", self.path.display()))
    }

    fn line(&self, at: Range<usize>) -> usize {
        self.text.bytes().take(at.start).filter(|&byte| byte == b'\n').count() + 1
    }
}

/// serde repeats a value of the wrong type, within quotation marks.
fn without_values(message: &str) -> String {
    let mut pieces = message.split('"');
    let before = pieces.next().unwrap_or_default();
    match pieces.next_back() {
        Some(after) => format!("{before}…{after}"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &str) -> Result<BudgetFile, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budget.toml");
        fs::write(&path, text).unwrap();
        fs::create_dir(folder.path().join("model")).unwrap();
        let key = embosk::Key::from_bytes([7; 32]);
        let key_file = folder.path().join("a.key");
        fs::write(&key_file, key.to_text().as_str()).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        BudgetFile::read(&path)
    }

    #[test]
    fn each_model_of_a_pair_is_looked_for_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("model")).unwrap();
        let source = Source { path: &folder.path().join("budget.toml"), text: "" };
        let expected = format!("{}+owner/corrector", folder.path().join("model").display());
        assert_eq!(source.existing("model+owner/corrector"), expected);
    }

    #[test]
    fn a_budget_is_read_with_its_paths_and_lines() {
        let file = read(
            "embedder = \"model\"\nsamples = 300\nadversaries = [\"naive\", \"leaked(768)\"]\n\
             [attack]\nlocal_queries = 0\n[canary]\nbleu = 90\n[limits]\nleak = 0.5\n\
             [[stack]]\ndefense = \"gaussian(sigma=0.1)\"\n[stack.limits]\nexact_match = 0.01\n\
             [[stack]]\ndefense = \"rotation(key=file:a.key) | gaussian(sigma=0.2)\"\n",
        )
        .unwrap();
        let Settings { embedder, corpus, attack, search, stacks, .. } = &file.settings;
        assert!(embedder.ends_with("model") && Path::new(embedder).is_absolute());
        assert_eq!((file.settings.samples, search.local_queries, search.steps), (300, 0, 20));
        assert_eq!((corpus.as_str(), attack.as_deref()), ("records", None));
        let names: Vec<String> = stacks.iter().map(ToString::to_string).collect();
        assert!(names[1].starts_with("rotation(key=fingerprint:"), "{names:?}");
        let stack = Table::Stack("gaussian(sigma=0.1)".into());
        let line = |table: &Table, name: &str| {
            let here = file.lines.iter().find(|(other, metric, _)| other == table && metric.name == name);
            here.map(|(.., line)| *line)
        };
        assert_eq!((line(&stack, "exact_match"), line(&Table::Limits, "leak")), (Some(13), Some(9)));
        let limited: Vec<&str> = file.budget.limited().collect();
        assert_eq!(limited, ["leak", "exact_match"]);
    }

    #[test]
    fn the_example_can_be_read() {
        let file = read(include_str!("../../../examples/privacy-budget.toml")).unwrap();
        assert_eq!((file.settings.samples, file.settings.stacks.len()), (300, 3));
        let is_informed =
            |name: &AdversaryName| matches!(name, AdversaryName::One(it) if it.knows_the_defense());
        assert!(file.settings.adversaries.iter().any(is_informed));
        assert!(file.budget.limited().any(|metric| metric == "leak"));
    }

    #[test]
    fn a_budget_names_what_an_evaluation_does() {
        let rest = "[limits]\nndcg_drop = 0.1\n[[stack]]\ndefense = \"none\"\n";
        let file = read(&format!(
            "adversaries = [\"all\"]\nretrained = \"model\"\nsurrogate = \"model\"\n\
             attacker_corpus = \"own.txt\"\nattack = \"model\"\n{rest}"
        ));
        let Settings { attack, search, adversaries, attacker_corpus, retrained, surrogate, .. } =
            file.unwrap().settings;
        assert!(matches!(adversaries[..], [AdversaryName::All]));
        let own = attacker_corpus.unwrap();
        for (path, name) in [(attack.unwrap(), "model"), (own, "own.txt"), (retrained.unwrap(), "model")] {
            assert!(Path::new(&path).is_absolute() && path.ends_with(name), "{path}");
        }
        assert_eq!((surrogate.is_some(), search.steps), (true, Search::default().steps));
        let file = read(&format!("attack = \"none\"\nattacker_corpus = \"records:9\"\n{rest}")).unwrap();
        assert_eq!((file.settings.attack.as_deref(), file.settings.adversaries.len()), (Some("none"), 0));
        assert_eq!(file.settings.attacker_corpus.as_deref(), Some("records:9"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_what_is_allowed() {
        let stack = "[[stack]]\ndefense = \"none\"\n";
        let secret = "ab".repeat(32);
        for (text, line, part) in [
            (format!("sample = 3\n{stack}"), 1, "expected one of `embedder`, `corpus`"),
            (format!("{stack}limit = 3\n"), 3, "expected `defense` or `limits`"),
            (format!("[limits]\nblue = 3\n{stack}"), 2, "there are exact_match, bleu, token_f1"),
            (format!("[limits]\nbleu = \"{secret}\"\n{stack}"), 2, "invalid type: string …, expected f64"),
            (format!("[limits]\nbleu = 3\n\n{stack}defense = 3"), 6, "duplicate key"),
            ("[limits]\nbleu = 3\n[[stack]]\ndefense = \"gauss(1)\"".into(), 4, "unknown defense"),
            (
                format!("[limits]\nbleu = 3\n[[stack]]\ndefense = \"rotation(key={secret})\""),
                4,
                "a key does not belong in a spec",
            ),
            (
                format!("adversaries = [\n\"naive\",\n\"nobody\"]\n[limits]\nbleu = 3\n{stack}"),
                3,
                "no such adversary",
            ),
            (format!("[attack]\nbeam_width = 0\n[limits]\nbleu = 3\n{stack}"), 2, "from 1 to 256"),
            (format!("[limits]\nbleu = 3\n{stack}{stack}"), 6, "twice"),
            ("[limits]\nbleu = 3\n".into(), 1, "no stack"),
            (format!("attack = \"none\"\n[limits]\nbleu = 3\n{stack}"), 3, "bleu is limited, but attack is"),
            (format!("attack = 3\n[limits]\nbleu = 3\n{stack}"), 1, "expected an attack's name or a table"),
            (format!("attack = {{ step = 3 }}\n{stack}"), 1, "unknown field `step`, expected one of `model`"),
            (
                "[limits]\nbleu = 3\n[[stack]]\ndefense = \"gaussian(sigma=0.1..0.3/3)\"".into(),
                4,
                "only `embosk curve` takes ranges",
            ),
        ] {
            let message = read(&text).unwrap_err().to_string();
            assert!(message.contains(&format!("budget.toml, line {line}: ")), "{text}: {message}");
            assert!(message.contains(part) && !message.contains(&secret), "{text}: {message}");
        }
        for (text, part) in [
            (stack.to_owned(), "limits nothing"),
            (format!("[limits]\nbleu = 300\n{stack}"), "between 0 and 100"),
            (format!("[limits]\nbleu = nan\n{stack}"), "between 0 and 100"),
            (format!("confidence = 1\n[limits]\nbleu = 3\n{stack}"), "below 1"),
            (format!("[canary]\nleak = 1\n[limits]\nbleu = 3\n{stack}"), "no canary"),
            (format!("[tolerance]\nbleu = -1\n[limits]\nbleu = 3\n{stack}"), "0 or more"),
        ] {
            let message = read(&text).unwrap_err().to_string();
            assert!(message.contains("budget.toml: ") && message.contains(part), "{text}: {message}");
        }
    }
}
