//! The ids of rows, as Python has them.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyInt, PyString};

use crate::argument::{is_unordered, kind_of, text};
use crate::error::raise;

/// Ids one after another. A text counts as its UTF-8, a whole number as its decimal digits, and a `UUID` as its text with
/// hyphens: as in the lines of a file.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Ids {
    /// Reads a sequence of `str`, `bytes`, `int` or `uuid.UUID`: a list, an array of NumPy, an Arrow array or a column of a
    /// table.
    pub(crate) fn read(ids: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut read = Self::default();
        if is_unordered(ids) {
            let kind = kind_of(ids);
            let message = format!("ids are a sequence in the order of the rows; a {kind} has no such order");
            return Err(raise("IdsError", message));
        }
        let all = plain(ids)?;
        let all = all.try_iter().map_err(|_| {
            raise("IdsError", format!("ids must be a sequence with an id for each row, not {}", kind_of(ids)))
        })?;
        for (row, id) in all.enumerate() {
            read.push(&id?, row)?;
        }
        Ok(read)
    }

    fn push(&mut self, id: &Bound<'_, PyAny>, row: usize) -> PyResult<()> {
        if id.cast::<PyString>().is_ok() {
            let text = text(id, "IdsError", &format!("the id of row {row}"))?;
            self.bytes.extend_from_slice(text.as_bytes());
        } else if let Ok(bytes) = id.cast::<PyBytes>() {
            self.bytes.extend_from_slice(bytes.as_bytes());
        } else if let Ok(number) = id.cast::<PyInt>()
            && !number.is_instance_of::<PyBool>()
        {
            self.bytes.extend_from_slice(number.str()?.to_cow()?.as_bytes());
        } else if is_uuid(id)? {
            self.bytes.extend_from_slice(id.str()?.to_cow()?.as_bytes());
        } else {
            let kind = kind_of(id);
            let message =
                format!("the id of row {row} is of type {kind}; an id is a str, bytes, an int or a UUID");
            return Err(raise("IdsError", message));
        }
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// The ids as bytes.
    pub(crate) fn slices(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(&start, &end)| &self.bytes[start..end]).collect()
    }
}

/// Whether this is a `uuid.UUID`.
pub(crate) fn is_uuid(any: &Bound<'_, PyAny>) -> PyResult<bool> {
    any.is_instance(&any.py().import("uuid")?.getattr("UUID")?)
}

/// The ids as Python's own objects: NumPy, Arrow and pandas have them in types of their own.
fn plain<'py>(ids: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if ids.cast::<PyString>().is_ok() || ids.cast::<PyBytes>().is_ok() {
        return Err(raise("IdsError", "ids are a sequence with an id for each row, not one str or bytes"));
    }
    for method in ["to_pylist", "tolist", "to_list"] {
        if ids.hasattr(method)? {
            return ids.call_method0(method);
        }
    }
    Ok(ids.clone())
}
