//! Errors as the exceptions of `embosk.errors`, by kind.

use embosk::defenses;
use pyo3::prelude::*;

/// An exception of `embosk.errors`. No message holds a text, a vector's values or a key.
pub(crate) fn raise(kind: &str, message: impl Into<String>) -> PyErr {
    let message = message.into();
    let made = |py: Python<'_>| {
        let kind = py.import("embosk.errors")?.getattr(kind)?;
        Ok(PyErr::from_value(kind.call1((message,))?))
    };
    Python::attach(made).unwrap_or_else(|error: PyErr| error)
}

/// A setting outside its range.
pub(crate) fn setting(message: impl Into<String>) -> PyErr {
    raise("SettingError", message)
}

/// An array that is not what is asked for.
pub(crate) fn array(message: impl Into<String>) -> PyErr {
    raise("ArrayError", message)
}

/// An error of the evaluation, or of what it works with.
pub(crate) fn of(error: &embosk::Error) -> PyErr {
    use embosk::Error as Of;
    let kind = match error {
        Of::Defense(error) => return of_defense(error),
        Of::Embedder(_) | Of::Rows { .. } | Of::Ragged { .. } => "EmbedderError",
        Of::Setting(_) | Of::Empty(_) | Of::File { .. } => "SettingError",
        _ => "EvaluationError",
    };
    raise(kind, error.to_string())
}

/// An error of a defense.
pub(crate) fn of_defense(error: &defenses::Error) -> PyErr {
    use defenses::Error as Of;
    let kind = match error {
        Of::Dimension { .. } | Of::NotInPlace { .. } => "DimensionError",
        Of::NotFinite { .. } => "NotFiniteError",
        Of::OtherNorm { .. } => "ArrayError",
        Of::RowIds { .. } | Of::EmptyId { .. } => "IdsError",
        Of::CodeLength { .. } | Of::CodeRange { .. } | Of::ScaleCount { .. } => "CodesError",
        Of::Setting { .. } => "SettingError",
        Of::Spec { .. } => "SpecError",
        Of::KeyText(_) | Of::KeyVariable { .. } | Of::KeyFile { .. } | Of::KeyFileMode { .. } => {
            "InvalidKeyError"
        }
        Of::Fit(_) | Of::FitFile { .. } => "FitError",
        Of::OtherSpace(_) => "FingerprintError",
        Of::NotInvertible { .. } => "NotInvertibleError",
        _ => "EmboskError",
    };
    raise(kind, error.to_string())
}
