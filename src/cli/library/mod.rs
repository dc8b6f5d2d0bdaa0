//! Evaluations for a host program, such as Python's package: with the settings and names of the command line, but in
//! the process of the host, on its embedder if it has one, and without a word on stderr but warnings.

mod inversion;
mod stoppable;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Map, Value};

use self::stoppable::Stoppable;
use super::error::CliError;
use super::gate;
use super::loaded::Loaded;
use super::models::{Cache, Opening};
use super::session::Session;
use super::settings::EvaluationSettings;
use super::terminal::Terminal;
use super::{Program, curve, table};
use crate::evaluate::{Budget, Corpus, Report};
use crate::{Embedder, Error, Stack};

/// What `samples` are: the floor is scored on another text.
const SAMPLES: &str = "a whole number of at least 2";

/// An evaluation that a host program asks for.
pub struct Request {
    settings: EvaluationSettings,
    stacks: Vec<Stack>,
    embedder: Option<Arc<dyn Embedder>>,
    corpus: Option<Corpus>,
    own_texts: Option<(String, Vec<String>)>,
    cache: Option<PathBuf>,
    stop: Arc<AtomicBool>,
    progress: Box<dyn Fn(&str) + Send>,
}

impl Request {
    /// Reads settings by the names that they have in a budget file. Defaults are those of `embosk evaluate`.
    ///
    /// # Errors
    /// [`Error::Setting`] with the name of a setting that does not exist, or has a value of the wrong kind. No message
    /// repeats a value.
    pub fn new(settings: Map<String, Value>) -> Result<Self, Error> {
        let mut named = Map::new();
        for (name, value) in settings {
            check(&name, &value)?;
            named.insert(name, value);
        }
        // as an argument that is not given
        named.entry("samples").or_insert(Value::Null);
        let read = serde_json::from_value(Value::Object(named));
        let settings = read.map_err(|_| Error::Setting("the settings contradict each other".into()))?;
        Ok(Self::with(settings, Vec::new()))
    }

    fn with(settings: EvaluationSettings, stacks: Vec<Stack>) -> Self {
        Self {
            settings,
            stacks,
            embedder: None,
            corpus: None,
            own_texts: None,
            cache: None,
            stop: Arc::default(),
            progress: Box::new(|_| ()),
        }
    }

    /// Sets the defenses. Default: those of `embosk evaluate`, or of the budget.
    pub fn defenses(self, stacks: Vec<Stack>) -> Self {
        Self { stacks, ..self }
    }

    /// Sets the host's own embedder, which states its dimension. Default: the one that the settings name.
    pub fn embedder(self, embedder: Arc<dyn Embedder>) -> Self {
        Self { embedder: Some(embedder), ..self }
    }

    /// Sets the corpus. Default: the one that the settings name.
    pub fn corpus(self, corpus: Corpus) -> Self {
        Self { corpus: Some(corpus), ..self }
    }

    /// Sets the attacker's own texts and their name. Default: those that the settings name.
    pub fn attacker_texts(self, name: &str, texts: Vec<String>) -> Self {
        Self { own_texts: Some((name.to_owned(), texts)), ..self }
    }

    /// Sets the folder that keeps embeddings between runs. Default: none is kept.
    pub fn cache(self, folder: impl Into<PathBuf>) -> Self {
        Self { cache: Some(folder.into()), ..self }
    }

    /// Ends the evaluation with an error, before the embedder is next asked, once `stop` is true.
    pub fn stop(self, stop: Arc<AtomicBool>) -> Self {
        Self { stop, ..self }
    }

    /// Calls `progress` with messages about the current step.
    pub fn progress(self, progress: impl Fn(&str) + Send + 'static) -> Self {
        Self { progress: Box::new(progress), ..self }
    }
}

impl Program {
    /// Runs an evaluation in this process.
    ///
    /// # Errors
    /// Those of `embosk evaluate`: settings that contradict each other, files and models that cannot be used, and an
    /// embedder that fails.
    pub fn evaluate(&self, request: Request) -> Result<Report, Error> {
        let temporary;
        let folder = if let Some(folder) = &request.cache {
            folder.clone()
        } else {
            temporary = tempfile::tempdir().map_err(|error| Error::file(std::env::temp_dir(), error))?;
            // the cache is a folder of its own in it, which only its owner can read
            temporary.path().join("cache")
        };
        let evaluation =
            self.prepared(&request, &Cache::at(folder)).map_err(|error| Error::Setting(error.to_string()))?;
        evaluation.progress(request.progress).run()
    }

    fn prepared(&self, request: &Request, cache: &Cache) -> Result<super::settings::Prepared, CliError> {
        let session = self.session();
        let mut settings = request.settings.clone();
        let corpus = match &request.corpus {
            Some(corpus) => {
                corpus.name().clone_into(&mut settings.corpus);
                corpus.clone()
            }
            None => settings.corpus()?,
        };
        let resolved = settings.resolve_with(&session.names, request.stacks.clone())?;
        let embedder: Option<Arc<dyn Embedder>> = match (&request.embedder, settings.embedder_name()) {
            (Some(own), _) => Some(Arc::clone(own)),
            (None, None) => None,
            (None, Some(name)) => {
                let opening = Opening { services: &settings.address, cache, terminal: session.terminal };
                Some(Arc::new(opening.embedder(name)?))
            }
        };
        let opened = embedder.map(|embedder| {
            let stop = Arc::clone(&request.stop);
            Arc::new(Loaded::own(Self::stoppable(embedder, &stop)))
        });
        let (mut evaluation, ..) = settings.prepare_on((corpus, opened), &session, &resolved, cache)?;
        if let Some((name, texts)) = &request.own_texts {
            evaluation = evaluation.attacker_texts(name, texts.clone());
        }
        Ok(evaluation)
    }

    /// Reads a budget, as `embosk gate` does: what is to be measured, and its limits. Paths in it are relative to the
    /// folder of `path`, which is also what errors name.
    ///
    /// # Errors
    /// [`Error::Setting`] with the line, and what is allowed there.
    pub fn read_budget(&self, path: &Path, text: &str) -> Result<(Request, Budget), Error> {
        let (settings, stacks, budget) =
            gate::read(path, text, &self.names).map_err(|error| Error::Setting(error.to_string()))?;
        Ok((Request::with(settings, stacks), budget))
    }

    /// Opens an embedder by the name that the command line gives it: the shipped one, a folder, or one of the hub.
    ///
    /// # Errors
    /// [`Error::Setting`] if there is none of that name, or it cannot be loaded.
    pub fn open_embedder(&self, name: &str) -> Result<Arc<dyn Embedder>, Error> {
        let opened = super::models::local_embedder(name, &candle_core::Device::Cpu, Terminal::Quiet);
        Ok(Arc::new(opened.map_err(|error| Error::Setting(error.to_string()))?))
    }

    /// Returns an embedder that fails once `stop` is true, so that an attack with it ends.
    pub fn stoppable(embedder: Arc<dyn Embedder>, stop: &Arc<AtomicBool>) -> Arc<dyn Embedder> {
        Arc::new(Stoppable { embedder, stop: Arc::clone(stop) })
    }

    /// Returns the report as the table that `embosk evaluate` prints.
    pub fn table(report: &Report) -> String {
        table::terminal(report, table::Layout::Usual, table::Signature::Hash)
    }

    /// Draws what the worst adversary recovers against what is left of retrieval, as a self-contained SVG. `None` if
    /// there is nothing to draw.
    pub fn picture(report: &Report) -> Option<String> {
        curve::picture(report)
    }

    fn session(&self) -> Session {
        Session { names: self.names.clone(), terminal: Terminal::Quiet, ..Session::default() }
    }
}

/// Reads a setting by itself, so that an error names it, or the entry of its table that is wrong.
fn check(name: &str, value: &Value) -> Result<(), Error> {
    let read = |value: Value| {
        let one = Value::Object(Map::from_iter([(name.to_owned(), value)]));
        serde_json::from_value::<EvaluationSettings>(one).map(drop)
    };
    let Err(error) = read(value.clone()) else {
        let is_too_few = name == "samples" && value.as_u64().is_some_and(|samples| samples < 2);
        return if is_too_few { Err(of_wrong_kind(name, SAMPLES)) } else { Ok(()) };
    };
    let takes_tables = !error.to_string().starts_with("invalid type: map");
    for (part, value) in value.as_object().filter(|_| takes_tables).into_iter().flatten() {
        let entry = Value::Object(Map::from_iter([(part.clone(), value.clone())]));
        read(entry).map_err(|error| refused(&format!("{name}.{part}"), &error))?;
    }
    Err(refused(name, &error))
}

/// A setting that cannot be read, with what it should be. serde's own message may repeat the value.
fn refused(name: &str, error: &serde_json::Error) -> Error {
    let message = error.to_string();
    if message.starts_with("unknown field") {
        return Error::Setting(match name.rsplit_once('.') {
            Some((table, _)) => format!("the setting `{table}`: {message}"),
            None => message,
        });
    }
    let Some((_, expected)) = message.rsplit_once(", expected ") else {
        return Error::Setting(format!("the setting `{name}`: {message}"));
    };
    let expected = match expected {
        "usize" if name == "samples" => SAMPLES,
        "usize" | "u64" => "a whole number of at least 0",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a string" => "a text",
        of_rust if of_rust.starts_with("struct ") => "a table",
        other => other,
    };
    of_wrong_kind(name, expected)
}

fn of_wrong_kind(name: &str, expected: &str) -> Error {
    Error::Setting(format!("the setting `{name}` has a value of the wrong kind; it should be {expected}"))
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ndarray::Array2;
    use serde_json::json;

    use super::*;
    use crate::BoxError;
    use crate::embedder::Described;

    fn request(settings: Value) -> Result<Request, Error> {
        let Value::Object(settings) = settings else { unreachable!("an object") };
        Request::new(settings)
    }

    #[test]
    fn settings_are_read_or_refused_by_name() {
        let read = request(json!({"samples": 4, "attack": {"model": "reference", "steps": 2}})).unwrap();
        assert_eq!((read.settings.samples(), read.settings.attack.search.steps), (4, 2));
        assert_eq!(request(json!({})).unwrap().settings.samples, None);
        for (settings, part) in [
            (json!({"sample": 4}), "unknown field `sample`"),
            (
                json!({"samples": "a secret"}),
                "the setting `samples` has a value of the wrong kind; it should be a whole",
            ),
            (json!({"samples": ", expected secret"}), "should be a whole number of at least 2"),
            (
                json!({"samples": 1}),
                "the setting `samples` has a value of the wrong kind; it should be a whole",
            ),
            (json!({"seed": -1}), "should be a whole number of at least 0"),
            (
                json!({"address": 7}),
                "the setting `address` has a value of the wrong kind; it should be a table",
            ),
            (json!({"samples": {"secret": 1}}), "the setting `samples` has"),
            (json!({"keep_contaminated": "secret"}), "should be true or false"),
            (
                json!({"attack": {"beam_width": 0}}),
                "`attack.beam_width`: a beam width is a whole number from 1",
            ),
            (json!({"attack": {"steps": -1}}), "`attack.steps` has a value of the wrong kind"),
            (json!({"attack": {"step": "secret"}}), "the setting `attack`: unknown field `step`"),
            (
                json!({"attack": 7}),
                "`attack` has a value of the wrong kind; it should be an attack's name or a table",
            ),
        ] {
            let message = request(settings).unwrap_err().to_string();
            assert!(message.contains(part) && !message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn an_embedder_of_the_host_is_measured() {
        let letters = |texts: &[&str]| -> Result<Array2<f32>, BoxError> {
            let count = |text: &str, letter| text.bytes().filter(|&byte| byte == letter).count() as f32;
            Ok(Array2::from_shape_fn((texts.len(), 26), |(row, at)| count(texts[row], b'a' + at as u8)))
        };
        let asked = request(json!({"attack": "none", "corpus": "records:300"})).unwrap();
        let asked = asked.defenses(vec!["gaussian(sigma=0.5)".parse().unwrap()]);
        let report =
            Program::new().evaluate(asked.embedder(Arc::new(Described::new(letters).dimension(26)))).unwrap();
        assert_eq!(report.rows.len(), 1);
        assert!(report.signature.get("embedder").is_none());
    }

    #[test]
    fn a_budget_is_read_from_its_text() {
        let text =
            "attack = \"none\"\n[limits]\nndcg_drop = 0.1\n[[stack]]\ndefense = \"quantization(bits=8)\"\n";
        let (request, _) = Program::new().read_budget(Path::new("budget.toml"), text).unwrap();
        assert_eq!(request.stacks.len(), 1);
        let refused = Program::new().read_budget(Path::new("budget.toml"), "sample = 3\n").unwrap_err();
        assert!(refused.to_string().contains("budget.toml, line 1"), "{refused}");
    }
}
