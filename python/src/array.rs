//! Arrays of NumPy as matrices of `f32`, and back.

use half::f16;
use ndarray::{Array2, ArrayView2, Axis};
use numpy::{
    Element, IntoPyArray, PyArray, PyArrayDescrMethods, PyReadonlyArrayDyn, PyUntypedArray,
    PyUntypedArrayMethods, dtype,
};
use pyo3::prelude::*;
use rayon::prelude::*;

use crate::argument::kind_of;
use crate::error::{array, raise};
use crate::threads::{FEW, on_threads};

/// What the numbers of an array are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    F16,
    F32,
    F64,
}

/// Vectors that were read from an array, and how they are given back.
#[derive(Debug)]
pub(crate) struct Vectors {
    /// `[rows, dim]`; one row if the array had one dimension.
    pub(crate) values: Array2<f32>,
    kind: Kind,
    is_one: bool,
}

impl Vectors {
    /// Reads an array of shape `[rows, dim]` or `[dim]` with numbers of float16, float32 or float64. The numbers are
    /// copied once, to where they are then protected in place.
    pub(crate) fn read(any: &Bound<'_, PyAny>) -> PyResult<Self> {
        let array = as_array(any)?;
        let (py, found) = (any.py(), array.dtype());
        let is_one = match array.ndim() {
            1 => true,
            2 => false,
            others => return Err(shape(others)),
        };
        let (values, kind) = if found.is_equiv_to(&dtype::<f32>(py)) {
            (matrix(&array, |x: f32| x)?, Kind::F32)
        } else if found.is_equiv_to(&dtype::<f64>(py)) {
            (matrix(&array, |x: f64| x as f32)?, Kind::F64)
        } else if found.is_equiv_to(&dtype::<f16>(py)) {
            (matrix(&array, f16::to_f32)?, Kind::F16)
        } else {
            return Err(crate::error::array(format!(
                "the array's dtype is {found}; vectors are float32, float64 or float16: array.astype('float32')"
            )));
        };
        Ok(Self { values, kind, is_one })
    }

    /// Returns `values` in the form in which these vectors came. The memory of `f32` numbers is handed over.
    pub(crate) fn give_back(
        py: Python<'_>,
        values: Array2<f32>,
        (kind, is_one): (Kind, bool),
    ) -> PyResult<Bound<'_, PyAny>> {
        match kind {
            Kind::F32 => Ok(given(py, values, is_one)),
            Kind::F64 => Ok(given(
                py,
                py.detach(|| on_threads(values.len(), || converted(values.view(), f64::from))),
                is_one,
            )),
            Kind::F16 => {
                let (narrow, too_large) = py.detach(|| {
                    let narrow = on_threads(values.len(), || converted(values.view(), f16::from_f32));
                    let too_large =
                        narrow.rows().into_iter().position(|row| row.iter().any(|x| !x.is_finite()));
                    (narrow, too_large)
                });
                match too_large {
                    None => Ok(given(py, narrow, is_one)),
                    Some(row) => Err(raise(
                        "NotFiniteError",
                        format!(
                            "row {row} (counted from 0) does not fit into float16 once it is protected; give float32"
                        ),
                    )),
                }
            }
        }
    }

    /// How the array is given back: its numbers, and whether it has one dimension.
    pub(crate) fn form(&self) -> (Kind, bool) {
        (self.kind, self.is_one)
    }
}

/// The array of NumPy, or what an object with the array interface makes of itself.
fn as_array<'py>(any: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let found = match any.cast::<PyUntypedArray>() {
        Ok(found) => found.clone(),
        Err(_) => made_array(any)?,
    };
    // a plain array is told at once; of the others, masked ones have numbers that do not count
    if found.is_exact_instance_of::<PyUntypedArray>() {
        return Ok(found);
    }
    let masked = any.py().import("numpy.ma")?.getattr("MaskedArray")?;
    if found.is_instance(&masked)? {
        return Err(array(
            "the array is masked, and a vector has all of its numbers; leave masked rows out and give array.data, or fill \
             them: array.filled(0)",
        ));
    }
    Ok(found)
}

fn made_array<'py>(any: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyUntypedArray>> {
    let kind = kind_of(any);
    if any.hasattr("__array__")? || any.hasattr("__array_interface__")? {
        let made = any.py().import("numpy")?.call_method1("asanyarray", (any,));
        return made.and_then(|made| Ok(made.cast_into::<PyUntypedArray>()?)).map_err(|cause| {
            let error = array(format!(
                "no array of NumPy can be made of the {kind}; a tensor has one as tensor.detach().float().cpu().numpy()"
            ));
            error.set_cause(any.py(), Some(cause));
            error
        });
    }
    Err(array(format!(
        "vectors must be an array of NumPy, not {kind}: numpy.asarray(vectors, dtype='float32')"
    )))
}

fn shape(dimensions: usize) -> PyErr {
    array(format!(
        "the array has {dimensions} dimensions; vectors have the shape [rows, dim], and one vector [dim]"
    ))
}

/// The numbers as a matrix of `f32`.
fn matrix<T: Element + Copy + Sync>(
    array: &Bound<'_, PyUntypedArray>,
    convert: impl Fn(T) -> f32 + Sync + Send,
) -> PyResult<Array2<f32>> {
    let read: PyReadonlyArrayDyn<'_, T> = array.as_any().extract()?;
    let view = read.as_array();
    let view = if view.ndim() == 1 { view.insert_axis(Axis(0)) } else { view };
    let view: ArrayView2<'_, T> = view.into_dimensionality().map_err(|_| shape(array.ndim()))?;
    Ok(array.py().detach(|| on_threads(view.len(), || converted(view, convert))))
}

/// The same matrix in other numbers, rows one after another.
fn converted<T: Copy + Sync, U: Send>(
    view: ArrayView2<'_, T>,
    convert: impl Fn(T) -> U + Sync + Send,
) -> Array2<U> {
    let values = match view.as_slice() {
        Some(values) if values.len() > FEW => {
            values.par_iter().with_min_len(FEW).map(|&x| convert(x)).collect()
        }
        Some(values) => values.iter().map(|&x| convert(x)).collect(),
        None => view.iter().map(|&x| convert(x)).collect(),
    };
    Array2::from_shape_vec(view.dim(), values).expect("as many numbers as the matrix has")
}

fn given<T: Element>(py: Python<'_>, values: Array2<T>, is_one: bool) -> Bound<'_, PyAny> {
    if is_one {
        let row = values.into_raw_vec_and_offset().0;
        return row.into_pyarray(py).into_any();
    }
    PyArray::from_owned_array(py, values).into_any()
}
