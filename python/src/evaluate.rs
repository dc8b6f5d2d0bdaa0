//! Evaluations and attacks, for `embosk.evaluate` and `embosk.attacks`.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};

use embosk::cli::{Program, Request};
use embosk::evaluate::{Corpus, Report};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::{Map, Value, json};

use crate::argument::{some_texts, text, texts};
use crate::array::Vectors;
use crate::embedder::{Raised, asked, failed};
use crate::error::{of, raise, setting};
use crate::patience::beside;
use crate::stack::Stack;
use crate::threads::with_threads;

/// What was measured. Python's `embosk.Report` wraps it.
#[pyclass(frozen, module = "embosk._embosk", name = "RawReport")]
pub(crate) struct RawReport(Arc<Report>);

#[pymethods]
impl RawReport {
    /// Reads what `json` or `full_json` returned.
    #[staticmethod]
    fn from_json(#[pyo3(from_py_with = json_of_report)] text: String) -> PyResult<Self> {
        Report::from_json(&text).map(|report| Self(Arc::new(report))).map_err(|error| of(&error))
    }

    fn json(&self) -> PyResult<String> {
        self.0.to_json().map_err(|error| raise("EvaluationError", error.to_string()))
    }

    fn full_json(&self) -> PyResult<String> {
        self.0.to_json_full().map_err(|error| raise("EvaluationError", error.to_string()))
    }

    fn table(&self) -> String {
        Program::table(&self.0)
    }

    fn picture(&self) -> Option<String> {
        Program::picture(&self.0)
    }

    /// Checks the report against a budget, and returns the verdict as JSON.
    fn verdict(&self, py: Python<'_>, path: PathBuf, text: &str) -> PyResult<String> {
        let check = || {
            let (_, budget) = Program::new().read_budget(&path, text)?;
            self.0.check(&budget)
        };
        let verdict = py.detach(|| with_threads(check)).map_err(|error| of(&error))?;
        let message = verdict.to_string();
        Ok(json!({"verdict": verdict, "message": message}).to_string())
    }
}

fn json_of_report(any: &Bound<'_, PyAny>) -> PyResult<String> {
    text(any, "SettingError", "a report's JSON")
}

/// Runs an evaluation. `asked_for` is a dict, which `embosk/_evaluate.py` makes.
#[pyfunction]
pub(crate) fn run_evaluation(py: Python<'_>, asked_for: &Bound<'_, PyDict>) -> PyResult<RawReport> {
    let item = |name: &str| Ok::<_, PyErr>(asked_for.get_item(name)?.filter(|value| !value.is_none()));
    let (raised, stop) = (Raised::default(), Arc::new(AtomicBool::new(false)));
    let mut request = if let Some(budget) = item("budget")? {
        let (path, text): (PathBuf, String) = budget.extract()?;
        let read = py.detach(|| Program::new().read_budget(Path::new(&path), &text));
        read.map_err(|error| of(&error))?.0
    } else {
        let settings: String = item("settings")?.map_or_else(|| Ok("{}".into()), |text| text.extract())?;
        Request::new(object(&settings)?).map_err(|error| of(&error))?
    };
    if let Some(stacks) = item("defenses")? {
        let stacks: Vec<Py<Stack>> = stacks.extract()?;
        request = request.defenses(stacks.iter().map(|stack| stack.get().rust().clone()).collect());
    }
    if let Some(embedder) = item("embedder")? {
        request = request.embedder(asked(&embedder, &raised)?);
    }
    if let Some(corpus) = item("corpus")? {
        request = request.corpus(Corpus::passages("texts", texts(&corpus)?));
    }
    if let Some(own) = item("attacker_texts")? {
        request = request.attacker_texts("texts", texts(&own)?);
    }
    if let Some(folder) = item("cache")? {
        request = request.cache(folder.extract::<PathBuf>()?);
    }
    if let Some(progress) = item("progress")? {
        request = request.progress(telling(progress.unbind(), &raised));
    }
    request = request.stop(Arc::clone(&stop));
    let done = beside(py, &stop, move || Program::new().evaluate(request))?;
    finished(done, &raised).map(|report| RawReport(Arc::new(report)))
}

/// Turns vectors back into texts. Returns one JSON object per vector.
#[pyfunction]
pub(crate) fn run_inversion(
    py: Python<'_>,
    vectors: &Bound<'_, PyAny>,
    embedder: &Bound<'_, PyAny>,
    attack: &str,
    #[pyo3(from_py_with = some_texts)] own_texts: Option<Vec<String>>,
) -> PyResult<Vec<String>> {
    let (raised, stop) = (Raised::default(), Arc::new(AtomicBool::new(false)));
    let (attack, vectors) = (object(attack)?, Vectors::read(vectors)?.values);
    let embedder = Program::stoppable(asked(embedder, &raised)?, &stop);
    let work = move || Program::new().invert(embedder, vectors, attack, own_texts);
    let found = finished(beside(py, &stop, work)?, &raised)?;
    let line = |one: embosk::attacks::Inversion| {
        json!({
            "steps": one.steps, "output": one.output, "cosine": one.cosine, "queries": one.queries,
            "local_gain": one.local_gain,
        })
    };
    Ok(found.into_iter().map(|one| line(one).to_string()).collect())
}

fn object(text: &str) -> PyResult<Map<String, Value>> {
    serde_json::from_str(text).map_err(|_| setting("the settings are not an object"))
}

/// The result, unless Python's code raised something on the way.
fn finished<T>(done: Result<T, embosk::Error>, raised: &Raised) -> PyResult<T> {
    let has_raised = raised.lock().unwrap_or_else(PoisonError::into_inner).is_some();
    match done {
        Ok(done) if !has_raised => Ok(done),
        Ok(_) => Err(failed("Python's code raised an exception", raised)),
        Err(error) if has_raised => Err(failed(&error.to_string(), raised)),
        Err(error) => Err(of(&error)),
    }
}

/// Tells Python's callable what is being done.
fn telling(progress: Py<PyAny>, raised: &Raised) -> impl Fn(&str) + Send + 'static {
    let raised = Arc::clone(raised);
    move |message| {
        let told = Python::try_attach(|py| progress.call1(py, (message,)).map(drop));
        if let Some(Err(error)) = told {
            raised.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }
}
