//! `privacy-budget.toml`: what is measured, and what it is held to.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::DeTable;

use crate::Stack;
use crate::cli::error::CliError;
use crate::cli::names::Names;
use crate::cli::settings::{EvaluationSettings, Resolved};
use crate::cli::{files, models};
use crate::defenses::spec::{Kind, Value};
use crate::evaluate::metrics::by_limit;
use crate::evaluate::{Budget, Finding, FindingKind, Metric};

/// A budget file, with its names read and its paths found.
#[derive(Debug)]
pub(super) struct BudgetFile {
    pub(super) settings: EvaluationSettings,
    pub(super) resolved: Resolved,
    pub(super) budget: Budget,
    /// The lines of what is limited: of a stack, or of all, or of the canary.
    lines: Vec<(Table, Metric, usize)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Table {
    Canary,
    Limits,
    Stack(String),
}

/// What a budget file has beside [`EvaluationSettings`].
#[derive(Default, Deserialize)]
#[serde(default)]
struct Limits {
    confidence: Option<f64>,
    canary: Numbers,
    limits: Numbers,
    tolerance: Numbers,
    stack: Vec<StackTable>,
}

/// The names of its fields.
const OF_LIMITS: [&str; 5] = ["confidence", "canary", "limits", "tolerance", "stack"];

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
    pub(super) fn read(path: &Path, names: &Names) -> Result<Self, CliError> {
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => files::bad(
                path,
                "there is no such budget; write one after examples/privacy-budget.toml, or name yours with --budget",
            ),
            _ => files::unreadable(path, &error),
        })?;
        Source { path, text: &text, names, metrics: names.metrics() }.read()
    }

    /// The line that a finding is about, counted from 1; the first where it is about none.
    pub(super) fn line_of(&self, finding: &Finding) -> usize {
        let in_table = |table: Table| {
            let here = |(other, metric, _): &&(Table, Metric, usize)| {
                *other == table && metric.name == finding.metric.name
            };
            self.lines.iter().find(here).map(|(.., line)| *line)
        };
        let line = match finding.kind {
            FindingKind::Canary => in_table(Table::Canary),
            _ => in_table(Table::Stack(finding.defense.clone())).or_else(|| in_table(Table::Limits)),
        };
        line.unwrap_or(1)
    }
}

/// The file, with what its names are read by, and for what is wrong with it.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
    names: &'a Names,
    metrics: Vec<Metric>,
}

impl Source<'_> {
    /// Tells limits from settings, so that each is a type that knows nothing of the other.
    fn read(&self) -> Result<BudgetFile, CliError> {
        let document = DeTable::parse(self.text).map_err(|error| self.toml_error(&error))?;
        let span = document.span();
        let is_of_limits =
            |(name, _): &(Spanned<_>, _)| OF_LIMITS.contains(&AsRef::<str>::as_ref(name.get_ref()));
        let (limits, settings): (DeTable<'_>, DeTable<'_>) =
            document.into_inner().into_iter().partition(is_of_limits);
        let places = Places::of(&settings);
        let settings = deserialized(span.clone(), settings).map_err(|error| self.unknown(&places, &error))?;
        let limits: Limits = deserialized(span, limits).map_err(|error| self.toml_error(&error))?;
        let settings = self.found(settings, &places);
        let (budget, stacks, lines) = self.budget(&limits, settings.attack.is_none())?;
        let resolved = self.resolved(&settings, stacks, &places)?;
        Ok(BudgetFile { settings, resolved, budget, lines })
    }

    fn budget(&self, written: &Limits, without_attack: bool) -> Result<Limited, CliError> {
        let mut lines = Vec::new();
        let mut budget = Budget::new();
        let mut table = |table: &Table, numbers: &Numbers| -> Result<Vec<(String, f64)>, CliError> {
            let read = |(name, number): (&String, &Spanned<f64>)| {
                let metric = self.metric(name, number)?;
                lines.push((table.clone(), metric.clone(), self.line(number.span())));
                Ok((metric.limit_name().to_owned(), *number.get_ref()))
            };
            numbers.iter().map(read).collect()
        };
        for (metric, at_least) in table(&Table::Canary, &written.canary)? {
            budget = budget.canary(&metric, at_least);
        }
        for (metric, limit) in table(&Table::Limits, &written.limits)? {
            budget = budget.limit(&metric, limit);
        }
        let mut stacks = Vec::new();
        for StackTable { defense, limits } in &written.stack {
            let stack = self.stack(defense)?;
            let name = stack.to_string();
            if stacks.iter().any(|other: &Stack| other.to_string() == name) {
                return Err(self.error(defense.span(), "this stack is there twice"));
            }
            for (metric, limit) in table(&Table::Stack(name.clone()), limits)? {
                budget = budget.limit_of(&name, &metric, limit);
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
        budget.validate_for(&self.metrics).map_err(|error| files::bad(self.path, error))?;
        let of_an_attack =
            |(table, metric, _): &&(Table, Metric, usize)| *table != Table::Canary && !metric.is_retrieval();
        match lines.iter().find(of_an_attack).filter(|_| without_attack) {
            Some((_, metric, line)) => {
                Err(self
                    .error_in(*line, format!("{} is limited, but attack is \"none\"", metric.limit_name())))
            }
            None => Ok((budget, stacks, lines)),
        }
    }

    /// The settings, with the files and folders that they name looked for beside the budget.
    fn found(&self, written: EvaluationSettings, places: &Places) -> EvaluationSettings {
        let mut settings = written;
        if places.names_embedder {
            settings.embedder = self.existing(&settings.embedder);
        }
        for folder in [&mut settings.attack.model, &mut settings.retrained, &mut settings.surrogate] {
            *folder = folder.as_deref().map(|name| self.existing(name));
        }
        settings.corpus = self.corpus(&settings.corpus);
        settings.attacker_corpus = settings.attacker_corpus.as_deref().map(|name| self.corpus(name));
        settings
    }

    fn resolved(
        &self,
        settings: &EvaluationSettings,
        stacks: Vec<Stack>,
        places: &Places,
    ) -> Result<Resolved, CliError> {
        let adversary = |(at, name): (usize, &String)| {
            let place = places.adversaries.get(at).cloned().unwrap_or_default();
            self.names.adversary(name).map_err(|error| self.error(place, error))
        };
        let adversaries: Vec<_> =
            settings.adversaries.iter().enumerate().map(adversary).collect::<Result<_, _>>()?;
        settings.check(&adversaries)?;
        Ok(Resolved { stacks, adversaries })
    }

    /// The metric that is limited under this name.
    fn metric(&self, name: &str, number: &Spanned<f64>) -> Result<&Metric, CliError> {
        by_limit(&self.metrics, name).map_err(|error| self.error(number.span(), error))
    }

    /// A defense, with the files of its keys and fits looked for beside the budget.
    fn stack(&self, text: &Spanned<String>) -> Result<Stack, CliError> {
        let here = |error: CliError| self.error(text.span(), error);
        let mut spec = self.names.defenses.spec(text.get_ref()).map_err(|error| here(error.into()))?;
        for value in spec.values_mut() {
            if let Kind::File(path) = value.kind() {
                let path = self.beside(path).display().to_string();
                value.replace(Value::file(&path));
            }
        }
        self.names.stack_of(&spec).map_err(here)
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

    /// An error in the settings. Where it is about an unknown name at the top of the file, it lists the tables of
    /// limits as well.
    fn unknown(&self, places: &Places, error: &toml::de::Error) -> CliError {
        match error.span() {
            Some(at) if places.names.contains(&at) => {
                let limits = OF_LIMITS.map(|name| format!(", `{name}`")).concat();
                self.error(at, without_values(error.message()) + &limits)
            }
            _ => self.toml_error(error),
        }
    }

    fn toml_error(&self, error: &toml::de::Error) -> CliError {
        self.error(error.span().unwrap_or_default(), without_values(error.message()))
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

/// A budget, the stacks that it is for, and the lines of its limits.
type Limited = (Budget, Vec<Stack>, Vec<(Table, Metric, usize)>);

/// Where settings stand in the file, as their type has no room for it.
struct Places {
    names: Vec<Range<usize>>,
    adversaries: Vec<Range<usize>>,
    /// The default embedder is not looked for beside the budget.
    names_embedder: bool,
}

impl Places {
    fn of(settings: &DeTable<'_>) -> Self {
        let adversaries = settings.get("adversaries").and_then(|value| value.get_ref().as_array());
        Self {
            names: settings.keys().map(Spanned::span).collect(),
            adversaries: adversaries.into_iter().flat_map(|names| names.iter().map(Spanned::span)).collect(),
            names_embedder: settings.contains_key("embedder"),
        }
    }
}

fn deserialized<T: DeserializeOwned>(span: Range<usize>, table: DeTable<'_>) -> Result<T, toml::de::Error> {
    T::deserialize(toml::Deserializer::from(Spanned::new(span, table)))
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
    use super::*;
    use crate::cli::models::Search;
    use crate::cli::names::AdversaryName;
    use crate::cli::settings::NamedAttack;

    fn read(text: &str) -> Result<BudgetFile, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budget.toml");
        fs::write(&path, text).unwrap();
        fs::create_dir(folder.path().join("model")).unwrap();
        let key = crate::Key::from_bytes([7; 32]);
        let key_file = folder.path().join("a.key");
        fs::write(&key_file, key.to_text().as_str()).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        BudgetFile::read(&path, &Names::default())
    }

    #[test]
    fn each_model_of_a_pair_is_looked_for_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("model")).unwrap();
        let path = &folder.path().join("budget.toml");
        let source = Source { path, text: "", names: &Names::default(), metrics: Vec::new() };
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
        let EvaluationSettings { embedder, corpus, attack, .. } = &file.settings;
        let (search, stacks) = (attack.search, &file.resolved.stacks);
        assert!(embedder.ends_with("model") && Path::new(embedder).is_absolute());
        assert_eq!((file.settings.samples, search.local_queries, search.steps), (300, 0, 20));
        assert_eq!((corpus.as_str(), attack.model.as_deref()), ("records", None));
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
        assert_eq!((file.settings.samples, file.resolved.stacks.len()), (300, 3));
        let is_informed =
            |name: &AdversaryName| matches!(name, AdversaryName::One(it) if it.knows_the_defense());
        assert!(file.resolved.adversaries.iter().any(is_informed));
        assert!(file.budget.limited().any(|metric| metric == "leak"));
    }

    #[test]
    fn a_budget_names_what_an_evaluation_does() {
        let rest = "[limits]\nndcg_drop = 0.1\n[[stack]]\ndefense = \"none\"\n";
        let file = read(&format!(
            "adversaries = [\"all\"]\nretrained = \"model\"\nsurrogate = \"model\"\n\
             attacker_corpus = \"own.txt\"\nattack = \"model\"\n{rest}"
        ));
        let file = file.unwrap();
        assert!(matches!(file.resolved.adversaries[..], [AdversaryName::All]));
        let EvaluationSettings { attack, attacker_corpus, retrained, surrogate, .. } = file.settings;
        let NamedAttack { model: attack, search } = attack;
        let own = attacker_corpus.unwrap();
        for (path, name) in [(attack.unwrap(), "model"), (own, "own.txt"), (retrained.unwrap(), "model")] {
            assert!(Path::new(&path).is_absolute() && path.ends_with(name), "{path}");
        }
        assert_eq!((surrogate.is_some(), search.steps), (true, Search::default().steps));
        let file = read(&format!("attack = \"none\"\nattacker_corpus = \"records:9\"\n{rest}")).unwrap();
        assert_eq!(
            (file.settings.attack.model.as_deref(), file.resolved.adversaries.len()),
            (Some("none"), 0)
        );
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
