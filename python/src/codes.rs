//! `embosk.Codes`.

use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

use crate::argument::dim as dim_of;
use crate::error::raise;

/// Packed vectors, as `Stack.encode` returns them: a row of bytes for each vector and, if each has one, its scale.
///
/// Arguments:
///     dim: the dimension of the vectors.
///     bytes: `[rows, bytes]` of uint8.
///     scales: `[rows]` of float32, or none.
#[pyclass(frozen, module = "embosk", name = "Codes")]
pub(crate) struct Codes(pub(crate) embosk::Codes);

#[pymethods]
impl Codes {
    #[new]
    #[pyo3(signature = (dim, bytes, scales = None))]
    fn new(
        #[pyo3(from_py_with = dim_of)] dim: usize,
        bytes: &Bound<'_, PyAny>,
        scales: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let refused =
            |what: &str| raise("CodesError", format!("{what}; give an array of NumPy as `Stack.encode` did"));
        let bytes: PyReadonlyArray2<'_, u8> =
            bytes.extract().map_err(|_| refused("bytes are [rows, bytes] of uint8"))?;
        let scales: Option<PyReadonlyArray1<'_, f32>> = scales
            .map(|scales| scales.extract().map_err(|_| refused("scales are [rows] of float32")))
            .transpose()?;
        let scales = scales.map(|scales| scales.as_array().to_vec()).unwrap_or_default();
        Ok(Self(embosk::Codes::new(dim, bytes.as_array().to_owned(), scales)))
    }

    /// The dimension of the vectors.
    #[getter]
    fn dim(&self) -> usize {
        self.0.dim()
    }

    /// The packed rows, `[rows, bytes]` of uint8.
    #[getter]
    fn bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray2<u8>> {
        self.0.bytes().to_owned().into_pyarray(py)
    }

    /// The scales, `[rows]` of float32, or an empty array.
    #[getter]
    fn scales<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.0.scales().to_vec().into_pyarray(py)
    }

    fn __len__(&self) -> usize {
        self.0.bytes().nrows()
    }

    fn __repr__(&self) -> String {
        let (rows, bytes) = self.0.bytes().dim();
        format!("<Codes of {rows} vectors of {} dimensions, {bytes} bytes each>", self.0.dim())
    }

    fn __reduce_ex__<'py>(slf: &Bound<'py, Self>, _protocol: u8) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let arguments = (this.dim(), this.bytes(py), this.scales(py));
        Ok((slf.get_type(), arguments).into_pyobject(py)?.into_any())
    }
}
