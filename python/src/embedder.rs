//! Embedders: those of Rust for Python (`embosk.Embedder`), and Python's callables for Rust.

use std::sync::{Arc, Mutex, PoisonError};

use embosk::embedder::{Described, Identity, Normalizer};
use embosk::{BoxError, Embedder as _, Role};
use ndarray::Array2;
use numpy::PyArray;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::argument::texts;
use crate::array::Vectors;
use crate::error::{of, raise, setting};
use crate::role_of;
use crate::threads::with_threads;

/// An embedder that embosk runs itself: `"reference"`, which is in the package, a folder of sentence-transformers, or
/// the name of one on the hub whose files are in the local cache.
///
/// Raises `SettingError` if there is none of that name, or it cannot be loaded.
#[pyclass(frozen, module = "embosk", name = "Embedder")]
pub(crate) struct Embedder {
    name: String,
    pub(crate) embedder: Arc<dyn embosk::Embedder>,
}

#[pymethods]
impl Embedder {
    #[new]
    #[pyo3(signature = (name = "reference"))]
    fn new(py: Python<'_>, name: &str) -> PyResult<Self> {
        let opened = py.detach(|| with_threads(|| embosk::cli::Program::new().open_embedder(name)));
        Ok(Self { name: name.to_owned(), embedder: opened.map_err(|error| of(&error))? })
    }

    /// Embeds texts, and returns `[texts, dim]` of float32.
    #[pyo3(signature = (texts, role = "document"))]
    fn embed<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = texts)] texts: Vec<String>,
        role: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let role = role_of(role)?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let embedded = py.detach(|| with_threads(|| self.embedder.embed(role, &texts)));
        let vectors = embedded.map_err(|error| raise("EmbedderError", error.to_string()))?;
        Ok(PyArray::from_owned_array(py, vectors).into_any())
    }

    #[pyo3(signature = (texts, role = "document"))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = texts)] texts: Vec<String>,
        role: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.embed(py, texts, role)
    }

    /// The dimension of the vectors.
    #[getter]
    fn dimension(&self) -> Option<usize> {
        self.embedder.dimension()
    }

    /// Whether all vectors have norm 1.
    #[getter]
    fn has_unit_norm(&self) -> bool {
        self.embedder.has_unit_norm() == Some(true)
    }

    /// The name of how the embedder reads texts, as signatures of reports show it.
    #[getter]
    fn normalizer_name(&self) -> Option<String> {
        self.embedder.normalizer().map(|normalizer| normalizer.name().to_owned())
    }

    /// Returns a text as the embedder reads it, which is how attacks are scored.
    fn normalize(&self, text: &str) -> String {
        self.embedder.normalizer().map_or_else(|| text.to_owned(), |normalizer| normalizer.apply(text))
    }

    /// It is pickled as its name.
    fn __getnewargs__(&self) -> (&str,) {
        (&self.name,)
    }

    fn __repr__(&self) -> String {
        format!("Embedder({:?})", self.name)
    }
}

/// The first exception that Python's code raised, which is then raised in place of the failure that it led to.
pub(crate) type Raised = Arc<Mutex<Option<PyErr>>>;

/// A callable `(texts, role) -> array`.
struct OfPython {
    call: Py<PyAny>,
    has_roles: bool,
    raised: Raised,
}

impl embosk::Embedder for OfPython {
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        let name = if role == Role::Query { "query" } else { "document" };
        // an interpreter that is shutting down lets nobody in
        let called = Python::try_attach(|py| {
            let made = self.call.bind(py).call1((texts.to_vec(), name))?;
            Vectors::read(&made).map(|vectors| vectors.values).map_err(|error| {
                let message = format!("the embedder did not return vectors: {}", error.value(py));
                raise("EmbedderError", message)
            })
        });
        match called {
            Some(Ok(vectors)) => Ok(vectors),
            Some(Err(error)) => {
                let mut first = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(error);
                Err("Python's code raised an exception".into())
            }
            None => Err("Python is shutting down".into()),
        }
    }

    fn has_roles(&self) -> bool {
        self.has_roles
    }
}

/// What Python says about a callable, as keywords.
#[derive(FromPyObject)]
pub(crate) struct Description {
    #[pyo3(item)]
    call: Py<PyAny>,
    #[pyo3(item)]
    has_roles: bool,
    #[pyo3(item)]
    name: Option<String>,
    #[pyo3(item)]
    identity: Option<String>,
    #[pyo3(item)]
    unit_norm: Option<bool>,
    #[pyo3(item)]
    normalizer: Option<(String, Py<PyAny>)>,
}

/// The embedder that an evaluation is asked for: one of Rust, or a described callable of Python.
pub(crate) fn asked(embedder: &Bound<'_, PyAny>, raised: &Raised) -> PyResult<Arc<dyn embosk::Embedder>> {
    if let Ok(ours) = embedder.cast::<Embedder>() {
        return Ok(Arc::clone(&ours.get().embedder));
    }
    let described = embedder.cast::<PyDict>().map_err(|_| setting("an embedder is described by a dict"))?;
    let Description { call, has_roles, name, identity, unit_norm, normalizer } = described.extract()?;
    let plain = OfPython { call, has_roles, raised: Arc::clone(raised) };
    let dimension = embedder.py().detach(|| probe(&plain))?;
    let mut described = Described::new(plain).dimension(dimension);
    if let Some(name) = name {
        let hash = identity.unwrap_or_else(|| name.clone());
        described = described.identity(Identity::new(name, hash));
    }
    if let Some(unit_norm) = unit_norm {
        described = described.unit_norm(unit_norm);
    }
    if let Some((name, apply)) = normalizer {
        described = described.normalizer(normalizer_of(&name, apply, raised));
    }
    Ok(Arc::new(described))
}

/// The dimension of a callable's vectors.
fn probe(embedder: &OfPython) -> PyResult<usize> {
    match embedder.embed(Role::Document, &["a text"]) {
        Ok(vectors) if vectors.nrows() == 1 => Ok(vectors.ncols()),
        Ok(vectors) => Err(raise(
            "EmbedderError",
            format!("the embedder was given 1 text and returned {} rows", vectors.nrows()),
        )),
        Err(error) => Err(failed(&error.to_string(), &embedder.raised)),
    }
}

fn normalizer_of(name: &str, apply: Py<PyAny>, raised: &Raised) -> Normalizer {
    let raised = Arc::clone(raised);
    Normalizer::new(name, move |text| {
        let applied = Python::try_attach(|py| apply.call1(py, (text,))?.extract::<String>(py));
        match applied {
            Some(Ok(text)) => text,
            Some(Err(error)) => {
                raised.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                text.to_owned()
            }
            None => text.to_owned(),
        }
    })
}

/// The failure of an evaluation: what Python's code raised, if it did. `embosk/_adapt.py` makes it an exception of embosk
/// that says what failed, with the original as its cause.
pub(crate) fn failed(message: &str, raised: &Raised) -> PyErr {
    let first = raised.lock().unwrap_or_else(PoisonError::into_inner).take();
    first.unwrap_or_else(|| raise("EmbedderError", message))
}
