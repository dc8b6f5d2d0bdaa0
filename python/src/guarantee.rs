//! `embosk.Guarantee`.

use pyo3::prelude::*;

use crate::argument::positive;
use crate::error::of_defense;
use crate::role_of;

/// What can be proved about a stack, as opposed to what was measured.
///
/// `str()` says it in words. Noise of `sigma` on each coordinate is the Gaussian mechanism on rows of norm at most 1; at
/// noise that leaves retrieval useful, epsilon is in the hundreds to thousands, and promises nothing that matters.
#[pyclass(frozen, eq, module = "embosk", name = "Guarantee")]
#[derive(PartialEq)]
pub(crate) struct Guarantee(pub(crate) embosk::Guarantee);

#[pymethods]
impl Guarantee {
    /// The standard deviation of the noise that is claimed for vectors of `role`; `None` if nothing is claimed.
    #[pyo3(signature = (role = "document"))]
    fn sigma(&self, role: &str) -> PyResult<Option<f64>> {
        Ok(self.0.sigma(role_of(role)?))
    }

    /// The least epsilon that is claimed with `delta` for one release of a vector; infinity if nothing is claimed.
    #[pyo3(signature = (delta, role = "document"))]
    fn epsilon(&self, delta: f64, role: &str) -> PyResult<f64> {
        self.0.epsilon(role_of(role)?, delta).map_err(|error| of_defense(&error))
    }

    /// The least delta that is claimed with `epsilon` for one release of a vector; 1 if nothing is claimed.
    #[pyo3(signature = (epsilon, role = "document"))]
    fn delta(&self, epsilon: f64, role: &str) -> PyResult<f64> {
        self.0.delta(role_of(role)?, epsilon).map_err(|error| of_defense(&error))
    }

    /// What holds for this many releases of the same vector together, each with fresh noise.
    fn over(&self, #[pyo3(from_py_with = count)] releases: u32) -> Self {
        Self(self.0.over(releases))
    }

    /// The least sigma with which one release is (epsilon, delta)-differentially private.
    #[staticmethod]
    fn sigma_for(epsilon: f64, delta: f64) -> PyResult<f64> {
        embosk::Guarantee::sigma_for(epsilon, delta).map_err(|error| of_defense(&error))
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<Guarantee: {}>", self.0)
    }
}

fn count(releases: &Bound<'_, PyAny>) -> PyResult<u32> {
    positive(releases, "releases")
}
