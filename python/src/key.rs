//! `embosk.Key`.

use std::path::PathBuf;

use pyo3::prelude::*;
use zeroize::Zeroizing;

use crate::argument::{key_path, of_key};
use crate::error::{of_defense, raise};

/// A secret of 32 bytes from which keyed defenses derive their transforms.
///
/// Whoever has the key can undo the transform. Whoever loses it can no longer search what was stored under it. A key is
/// never shown: it prints as its fingerprint, compares in constant time, and refuses to be pickled.
///
/// Keys are made by `Key.generate`, `Key.from_file`, `Key.from_env`, `Key.from_text` and `Key.from_hex`.
#[pyclass(frozen, module = "embosk", name = "Key")]
pub(crate) struct Key(pub(crate) embosk::Key);

#[pymethods]
impl Key {
    /// Draws a new key from the operating system's randomness.
    #[staticmethod]
    fn generate() -> PyResult<Self> {
        embosk::Key::generate().map(Self).map_err(|error| of_defense(&error))
    }

    /// Reads a key from the text in a file, as `embosk keygen` writes it.
    ///
    /// Raises `InvalidKeyError` if the file cannot be read, does not hold a key, or can be read by others.
    #[staticmethod]
    fn from_file(#[pyo3(from_py_with = key_path)] path: PathBuf) -> PyResult<Self> {
        embosk::Key::from_file(path).map(Self).map_err(|error| of_defense(&error))
    }

    /// Reads a key from the text in an environment variable.
    ///
    /// Raises `InvalidKeyError` if it is not set or does not hold a key.
    #[staticmethod]
    fn from_env(#[pyo3(from_py_with = of_key)] name: Zeroizing<String>) -> PyResult<Self> {
        embosk::Key::from_env(&name).map(Self).map_err(|error| of_defense(&error))
    }

    /// Reads a key from its text, `embosk1-…`.
    ///
    /// Raises `InvalidKeyError` if it is not the text of a key, or was mistyped.
    #[staticmethod]
    fn from_text(#[pyo3(from_py_with = of_key)] text: Zeroizing<String>) -> PyResult<Self> {
        text.parse().map(Self).map_err(|error| of_defense(&error))
    }

    /// Makes a key from 64 hexadecimal digits, which have no checksum.
    ///
    /// Raises `InvalidKeyError` for anything else.
    #[staticmethod]
    fn from_hex(#[pyo3(from_py_with = of_key)] digits: Zeroizing<String>) -> PyResult<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        match base16ct::mixed::decode(digits.trim(), bytes.as_mut_slice()) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self(embosk::Key::from_bytes(*bytes))),
            _ => Err(raise("InvalidKeyError", "not a key: it should have 64 hexadecimal digits")),
        }
    }

    /// Returns the key as text, `embosk1-…`. Store it where only its owner can read it.
    fn to_text(&self) -> String {
        self.0.to_text().to_string()
    }

    /// Eight hexadecimal digits that name the key without holding it, for logs and reports.
    #[getter]
    fn fingerprint(&self) -> String {
        self.0.fingerprint()
    }

    fn __repr__(&self) -> String {
        format!("Key({})", self.0)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get().0 == self.0)
    }

    #[expect(clippy::unused_self, reason = "it refuses every key")]
    fn __reduce_ex__(&self, _protocol: u8) -> PyResult<()> {
        Err(raise(
            "NotPicklableError",
            "a key is not pickled, because it would be readable in the pickle; name it in specs as `env:NAME` or \
             `file:PATH`, which are read where the stack is used",
        ))
    }
}
