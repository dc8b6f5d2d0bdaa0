//! `embosk.Stack`.

mod build;
mod checks;

pub(crate) use self::checks::{SeenNorms, check_norms, check_spec, warnings_of};

use std::sync::atomic::{AtomicBool, Ordering};

use embosk::defenses::{Norms, OtherNorms, Packing};
use embosk::{Defense, Rng, Role};
use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString};

use crate::argument::{self, kind_of};
use crate::array::Vectors;
use crate::codes::Codes;
use crate::error::{of_defense, raise, setting};
use crate::guarantee::Guarantee;
use crate::ids::{Ids, is_uuid};
use crate::threads::{on_threads, with_threads};
use crate::{other_norms_of, role_of};

/// A stack of defenses, as a spec writes it: `Stack("rotation(key=env:K) | gaussian(sigma=0.01)")`.
///
/// Arguments:
///     spec: the defenses, in the order in which they change a vector; `"none"` is the empty stack. A spec names keys as
///         `env:NAME` or `file:PATH` and never contains one. They are read now.
///     dim: the dimension of the vectors. Without it, a rotation or a permutation takes that of the first array.
///     keys: keys by name, each for `env:NAME` in the spec. The variable is then not read, and the stack refuses to be
///         pickled.
///
/// Raises `SpecError` with the position of what is wrong, `SettingError` for a value out of range, `InvalidKeyError` and
/// `FitError` for keys and fits that cannot be used.
#[pyclass(frozen, module = "embosk", name = "Stack")]
pub(crate) struct Stack {
    spec: String,
    dim: Option<usize>,
    /// The names of keys that were given, rather than read by the spec.
    given: Vec<String>,
    defenses: embosk::Stack,
    /// Whether it was said that vectors had another norm than the stack is meant for.
    has_told_norms: AtomicBool,
}

/// What makes a stack again, and its arguments.
type Pickled<'py> = (Bound<'py, PyAny>, (String, Option<usize>));

#[pymethods]
impl Stack {
    #[new]
    #[pyo3(signature = (spec, *, dim = None, keys = None))]
    fn new(
        py: Python<'_>,
        #[pyo3(from_py_with = argument::spec)] spec: String,
        #[pyo3(from_py_with = argument::some_dim)] dim: Option<usize>,
        keys: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let keys = build::given_keys(keys)?;
        let given = keys.iter().map(|(name, _)| name.clone()).collect();
        let stack = py.detach(|| with_threads(|| build::stack(&spec, &keys)))?;
        if let Some(dim) = dim {
            py.detach(|| with_threads(|| build::bind(&stack, dim))).map_err(|error| of_defense(&error))?;
        }
        Ok(Self { spec, dim, given, defenses: stack, has_told_norms: AtomicBool::new(false) })
    }

    /// Protects vectors, and returns them in a new array of the same dtype.
    ///
    /// Arguments:
    ///     array: `[rows, dim]`, or `[dim]` for one vector; float32, float16 or float64. Defenses compute in float32. The
    ///         interpreter is not locked while they work, so no other thread may change the array.
    ///     role: `"document"` for vectors that are stored and searched, `"query"` for vectors that search.
    ///     ids: an id for each row, as str, bytes, int or uuid.UUID, for keyed noise. A UUID counts as its str.
    ///         Each id must belong to one text and version.
    ///     norms: what is done if the strength of the stack is meant for norm 1, as that of noise is. `"warn"` warns once
    ///         of norms that are further than 0.1 from 1, `"refuse"` raises `ArrayError` with the first such row, and
    ///         `"normalize"` scales all vectors to norm 1 before they are protected.
    ///
    /// Raises `ArrayError` for another shape or dtype, `NotFiniteError` with the first row that holds NaN or an
    /// infinity, `DimensionError` if the stack is bound to another dimension, `IdsError` unless each row has an id.
    #[pyo3(signature = (array, role = "document", ids = None, *, norms = "warn"))]
    fn protect<'py>(
        &self,
        py: Python<'py>,
        array: &Bound<'py, PyAny>,
        role: &str,
        ids: Option<&Bound<'py, PyAny>>,
        norms: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut vectors = self.vectors(array)?;
        let (role, ids) = self.checked(py, &mut vectors, role, ids, norms)?;
        self.protected(py, vectors, role, ids.as_ref())
    }

    /// Undoes `protect`, up to the rounding of float32, for rotations, permutations, scalings and stacks of them.
    ///
    /// Arguments:
    ///     array: protected vectors, `[rows, dim]` or `[dim]`.
    ///
    /// Raises `NotInvertibleError` with the part that cannot be undone, and otherwise as `protect`.
    fn unprotect<'py>(&self, py: Python<'py>, array: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let vectors = self.vectors(array)?;
        let form = vectors.form();
        let mut values = vectors.values;
        let restored =
            detached(py, values.len(), || self.defenses.unprotect(values.view_mut()).map(|()| values));
        Vectors::give_back(py, restored.map_err(|error| of_defense(&error))?, form)
    }

    /// Moves protected vectors under another stack, such as one with a new key: `unprotect` under this one and `protect`
    /// under `new`. The result is that of protecting the clean vectors, up to the rounding of float32.
    ///
    /// Raises as `unprotect` and `new.protect`.
    #[pyo3(signature = (array, new, role = "document", ids = None))]
    fn rekey<'py>(
        &self,
        py: Python<'py>,
        array: &Bound<'py, PyAny>,
        new: &Bound<'py, PyAny>,
        role: &str,
        ids: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let new = new.cast::<Self>().map_err(|_| {
            setting(format!(
                "the new stack must be an embosk.Stack, not {}: embosk.Stack(spec)",
                kind_of(new)
            ))
        })?;
        new.get().protect(py, &self.unprotect(py, array)?, role, ids, "warn")
    }

    /// Protects vectors, and packs them as the codes of the stack's last part, `quantization` or `product_quantization`.
    /// `decode` gives exactly what `protect` gives. Arguments and errors are those of `protect`, and `CodesError` if the
    /// stack does not end in codes.
    #[pyo3(signature = (array, role = "document", ids = None, *, norms = "warn"))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        array: &Bound<'py, PyAny>,
        role: &str,
        ids: Option<&Bound<'py, PyAny>>,
        norms: &str,
    ) -> PyResult<Codes> {
        self.packing()?;
        let mut vectors = self.vectors(array)?;
        let (role, ids) = self.checked(py, &mut vectors, role, ids, norms)?;
        let values = vectors.values;
        let codes = detached(py, values.len(), || {
            let ids = ids.as_ref().map(Ids::slices);
            self.defenses.protect_packed(role, ids.as_deref(), values, &mut Rng::from_os()?)
        });
        codes.map(Codes).map_err(|error| of_defense(&error))
    }

    /// Returns the vectors that codes stand for, `[rows, dim]` of float32.
    ///
    /// Raises `CodesError` if they do not fit the stack.
    fn decode<'py>(&self, py: Python<'py>, codes: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let codes = codes.cast::<Codes>().map_err(|_| {
            let kind = kind_of(codes);
            raise(
                "CodesError",
                format!("codes must be an embosk.Codes, not {kind}: embosk.Codes(dim, bytes, scales)"),
            )
        })?;
        let (packing, codes) = (self.packing()?, &codes.get().0);
        let decoded = detached(py, codes.bytes().nrows().saturating_mul(codes.dim()), || match packing {
            Packing::Levels(quantization) => quantization.decode(codes).map(Some),
            Packing::Centroids(quantization) => quantization.decode(codes).map(Some),
            _ => Ok(None),
        });
        let decoded = decoded.map_err(|error| of_defense(&error))?.ok_or_else(no_codes)?;
        Ok(numpy::PyArray::from_owned_array(py, decoded).into_any())
    }

    /// Names what documents and queries must have in common for a search. Store it beside the vectors, and compare it
    /// with `check_fingerprint` before a search. It names keys and does not contain them.
    #[getter]
    fn fingerprint(&self) -> String {
        self.defenses.fingerprint()
    }

    /// Compares the fingerprint that was stored beside vectors with this stack's.
    ///
    /// Raises `FingerprintError` with the difference if vectors under this stack cannot be compared with the stored
    /// ones. Warns if the stored fingerprint is of an old form.
    fn check_fingerprint(
        &self,
        py: Python<'_>,
        #[pyo3(from_py_with = argument::fingerprint)] stored: String,
    ) -> PyResult<()> {
        let checked = self.defenses.check_fingerprint(&stored).map_err(|error| of_defense(&error))?;
        checked.warning().map_or(Ok(()), |warning| warn(py, warning))
    }

    /// What can be proved about the stack.
    #[getter]
    fn guarantee(&self) -> Guarantee {
        Guarantee(self.defenses.guarantee())
    }

    /// The spec as it was written.
    #[getter]
    fn spec(&self) -> &str {
        &self.spec
    }

    /// The dimension that was given as `dim`; `None` if none was.
    #[getter]
    fn dim(&self) -> Option<usize> {
        self.dim
    }

    /// The names of the keys that the stack was given. The others are those that its spec names.
    #[getter]
    fn given_keys(&self) -> &[String] {
        &self.given
    }

    /// The dimension of protected vectors, for vectors of `dim` dimensions.
    fn dimension(&self, #[pyo3(from_py_with = argument::dim)] dim: usize) -> PyResult<usize> {
        self.defenses.dimension(dim).map_err(|error| of_defense(&error))
    }

    /// Whether ids make a difference to vectors of `role`: whether the stack has keyed noise on them.
    #[pyo3(signature = (role = "document"))]
    fn uses_ids(&self, role: &str) -> PyResult<bool> {
        Ok(self.defenses.uses_ids(role_of(role)?))
    }

    /// Whether the same vectors, with the same ids, are always protected to the same bytes. Fresh noise is drawn anew
    /// each time.
    #[pyo3(signature = (role = "document"))]
    fn is_repeatable(&self, role: &str) -> PyResult<bool> {
        Ok(checks::fresh_noise(&self.defenses, role_of(role)?).is_none())
    }

    /// The stack with each key as its fingerprint, as reports print it.
    fn __str__(&self) -> String {
        self.defenses.to_string()
    }

    fn __repr__(&self) -> String {
        let dim = self.dim.map(|dim| format!(", dim={dim}")).unwrap_or_default();
        let keys = if self.given.is_empty() { "" } else { ", keys={…}" };
        format!("Stack({:?}{dim}{keys})", self.spec)
    }

    fn __reduce_ex__<'py>(slf: &Bound<'py, Self>, _protocol: u8) -> PyResult<Pickled<'py>> {
        let this = slf.get();
        if !this.given.is_empty() {
            return Err(raise(
                "NotPicklableError",
                format!(
                    "this stack was given its keys ({}), and a key is not pickled; name them in the spec as `env:NAME` or \
                     `file:PATH`, and set them where the stack is unpickled",
                    this.given.join(", ")
                ),
            ));
        }
        let make = slf.py().import("embosk._pickled")?.getattr("stack")?;
        Ok((make, (this.spec.clone(), this.dim)))
    }

    fn __copy__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __deepcopy__(slf: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        slf
    }
}

impl Stack {
    /// The stack itself.
    pub(crate) fn rust(&self) -> &embosk::Stack {
        &self.defenses
    }

    /// Reads vectors, and refuses those of another dimension than was given.
    fn vectors(&self, array: &Bound<'_, PyAny>) -> PyResult<Vectors> {
        let vectors = Vectors::read(array)?;
        match (self.dim, vectors.values.ncols()) {
            (Some(dim), found) if dim != found => Err(raise(
                "DimensionError",
                format!("the stack is bound to dimension {dim}, the vectors have {found}"),
            )),
            _ => Ok(vectors),
        }
    }

    /// The role and the ids of vectors, with warnings of what is probably not meant. Vectors of another norm are refused
    /// or scaled if that is asked for.
    fn checked(
        &self,
        py: Python<'_>,
        vectors: &mut Vectors,
        role: &str,
        ids: Option<&Bound<'_, PyAny>>,
        norms: &str,
    ) -> PyResult<(Role, Option<Ids>)> {
        let role = role_of(role)?;
        let seen = self.on_other_norms(vectors, role, norms)?;
        let ids = ids.map(|ids| ids_of(ids, vectors)).transpose()?;
        let repeat = ids.as_ref().and_then(|ids| checks::first_repeat(&self.defenses, role, ids));
        let of_norms = self.norm_warning(role, seen);
        for warning in checks::warnings(&self.defenses, role, of_norms, ids.is_some(), repeat) {
            warn(py, &warning)?;
        }
        Ok((role, ids))
    }

    /// Refuses or scales vectors of another norm if that is asked for; otherwise returns what to warn by.
    fn on_other_norms(&self, vectors: &mut Vectors, role: Role, norms: &str) -> PyResult<Option<Norms>> {
        let norms = other_norms_of(norms)?;
        let seen = norms.check(&self.defenses, role, &vectors.values).map_err(|error| of_defense(&error))?;
        norms.scale(&self.defenses, role, vectors.values.view_mut());
        Ok(seen.filter(|_| norms == OtherNorms::Accept))
    }

    /// What is wrong with norms, the first time: further arrays of the same embedder would repeat it.
    fn norm_warning(&self, role: Role, norms: Option<Norms>) -> Option<String> {
        let warning = norms?.warning(&self.defenses, role)?;
        (!self.has_told_norms.swap(true, Ordering::Relaxed)).then_some(warning)
    }

    fn protected<'py>(
        &self,
        py: Python<'py>,
        vectors: Vectors,
        role: Role,
        ids: Option<&Ids>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let form = vectors.form();
        let values = vectors.values;
        let protected = detached(py, values.len(), || {
            let mut rng = Rng::from_os()?;
            match ids {
                Some(ids) => self.defenses.protect_owned_with_ids(role, &ids.slices(), values, &mut rng),
                None => self.defenses.protect_owned(role, values, &mut rng),
            }
        });
        Vectors::give_back(py, protected.map_err(|error| of_defense(&error))?, form)
    }

    fn packing(&self) -> PyResult<Packing<'_>> {
        self.defenses.last_packing().ok_or_else(no_codes)
    }
}

/// As `Stack.protect`, for a part of a table, and without warnings: `warnings_of` makes those of the whole table from the
/// norms that are returned beside the vectors.
#[pyfunction]
pub(crate) fn protect_part<'py>(
    py: Python<'py>,
    stack: &Bound<'py, Stack>,
    array: &Bound<'py, PyAny>,
    role: &str,
    ids: Option<&Bound<'py, PyAny>>,
    norms: &str,
) -> PyResult<(Bound<'py, PyAny>, SeenNorms)> {
    let (stack, role) = (stack.get(), role_of(role)?);
    let mut vectors = stack.vectors(array)?;
    let seen = stack.on_other_norms(&mut vectors, role, norms)?;
    let ids = ids.map(|ids| ids_of(ids, &vectors)).transpose()?;
    Ok((stack.protected(py, vectors, role, ids.as_ref())?, SeenNorms(seen)))
}

fn no_codes() -> PyErr {
    raise(
        "CodesError",
        "the stack has no codes: its last part should be `quantization` or `product_quantization`",
    )
}

/// Works on a batch of this many numbers without Python's lock.
fn detached<T: Send>(py: Python<'_>, numbers: usize, work: impl FnOnce() -> T + Send) -> T {
    py.detach(|| on_threads(numbers, work))
}

/// The ids of rows. One vector may have its id without a list.
fn ids_of(ids: &Bound<'_, PyAny>, vectors: &Vectors) -> PyResult<Ids> {
    let is_one = ids.cast::<PyString>().is_ok()
        || ids.cast::<PyBytes>().is_ok()
        || ids.cast::<PyInt>().is_ok()
        || is_uuid(ids)?;
    if is_one && vectors.form().1 {
        Ids::read((ids,).into_pyobject(ids.py())?.as_any())
    } else {
        Ids::read(ids)
    }
}

fn warn(py: Python<'_>, message: &str) -> PyResult<()> {
    let category = py.get_type::<PyUserWarning>();
    py.import("warnings")?.call_method1("warn", (message, category, 2))?;
    Ok(())
}
