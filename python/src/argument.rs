//! Arguments that Python's own conversions would refuse without saying what is expected: texts, numbers and paths.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PySet, PyString};
use zeroize::Zeroizing;

use crate::error::{raise, setting};

/// The name of a value's type, for messages: the value itself may be a text or a key.
pub(crate) fn kind_of(any: &Bound<'_, PyAny>) -> String {
    any.get_type().name().map_or_else(|_| "something else".into(), |name| name.to_string())
}

/// A str. `kind` is the exception for anything else, and `what` begins its message.
pub(crate) fn text(any: &Bound<'_, PyAny>, kind: &str, what: &str) -> PyResult<String> {
    let text = any
        .cast::<PyString>()
        .map_err(|_| raise(kind, format!("{what} must be a str, not {}", kind_of(any))))?;
    let text = text.to_cow().map_err(|_| {
        raise(
            kind,
            format!(
                "{what} holds half of a surrogate pair, which is no character; mend it with \
                 text.encode(\"utf-16\", \"surrogatepass\").decode(\"utf-16\", \"replace\")"
            ),
        )
    })?;
    Ok(text.into_owned())
}

/// Texts, one for each row.
pub(crate) fn texts(any: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if any.cast::<PyString>().is_ok() {
        return Err(setting("texts are a list of str; put a single text into a list"));
    }
    if is_unordered(any) || any.hasattr("columns")? {
        return Err(setting(format!("texts must be a list of str, not {}", kind_of(any))));
    }
    let all =
        any.try_iter().map_err(|_| setting(format!("texts must be a list of str, not {}", kind_of(any))))?;
    all.enumerate().map(|(row, one)| text(&one?, "SettingError", &format!("text {row}"))).collect()
}

/// Whether this is a set or a dict, which has no order that rows could have.
pub(crate) fn is_unordered(any: &Bound<'_, PyAny>) -> bool {
    any.cast::<PySet>().is_ok() || any.cast::<PyFrozenSet>().is_ok() || any.cast::<PyDict>().is_ok()
}

/// Texts, or none.
pub(crate) fn some_texts(any: &Bound<'_, PyAny>) -> PyResult<Option<Vec<String>>> {
    if any.is_none() { Ok(None) } else { texts(any).map(Some) }
}

/// The spec of a stack.
pub(crate) fn spec(any: &Bound<'_, PyAny>) -> PyResult<String> {
    text(any, "SpecError", "a spec")
}

/// The text of a key, or the name of the variable that holds it.
pub(crate) fn of_key(any: &Bound<'_, PyAny>) -> PyResult<Zeroizing<String>> {
    text(any, "InvalidKeyError", "the text of a key, or the name of its variable,").map(Zeroizing::new)
}

/// The path of a key's file.
pub(crate) fn key_path(any: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    any.extract().map_err(|_| {
        raise(
            "InvalidKeyError",
            format!("the path of a key file must be a str or a Path, not {}", kind_of(any)),
        )
    })
}

/// A stored fingerprint.
pub(crate) fn fingerprint(any: &Bound<'_, PyAny>) -> PyResult<String> {
    text(any, "FingerprintError", "a fingerprint")
}

/// A number of at least 1.
pub(crate) fn positive(any: &Bound<'_, PyAny>, name: &str) -> PyResult<u32> {
    let number = any.extract().ok().filter(|&number| number > 0);
    number.ok_or_else(|| setting(format!("{name} is a whole number of at least 1")))
}

/// A dimension.
pub(crate) fn dim(any: &Bound<'_, PyAny>) -> PyResult<usize> {
    positive(any, "dim").map(|dim| dim as usize)
}

/// A dimension, or none.
pub(crate) fn some_dim(any: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    if any.is_none() { Ok(None) } else { dim(any).map(Some) }
}
