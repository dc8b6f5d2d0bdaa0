//! What an embedding function may return.

use ndarray::Array2;

use crate::{BoxError, Error};

/// What a closure that embeds texts may return: a matrix or rows, or an error of any kind.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what an embedding function returns",
    label = "this returns something else than vectors",
    note = "an embedding function returns `Result<Array2<f32>, E>` or `Result<Vec<Vec<f32>>, E>`, where `E` is an error",
    note = "if it returns an `Array2`, that is of another ndarray version: use `embosk::ndarray`",
    note = "if it is async, wrap it: `Async(|texts: Vec<String>| async move {{ … }})` is protected with `.await`, and \
            `Blocking` evaluates it; both are in `embosk::embedder`"
)]
pub trait IntoVectors {
    /// Returns the vectors, one row per text.
    ///
    /// # Errors
    /// The function's own error, or [`Error::Ragged`] if the rows differ in length.
    fn into_vectors(self) -> Result<Array2<f32>, BoxError>;
}

impl<E: Into<BoxError>> IntoVectors for Result<Array2<f32>, E> {
    fn into_vectors(self) -> Result<Array2<f32>, BoxError> {
        self.map_err(Into::into)
    }
}

impl<E: Into<BoxError>> IntoVectors for Result<Vec<Vec<f32>>, E> {
    fn into_vectors(self) -> Result<Array2<f32>, BoxError> {
        Ok(from_rows(&self.map_err(Into::into)?)?)
    }
}

/// The matrix of `rows`, `[rows, dim]`.
pub(crate) fn from_rows(rows: &[Vec<f32>]) -> Result<Array2<f32>, Error> {
    let expected = rows.first().map_or(0, Vec::len);
    if let Some(row) = rows.iter().position(|row| row.len() != expected) {
        return Err(Error::Ragged { row, expected, found: rows[row].len() });
    }
    let values = rows.iter().flatten().copied().collect();
    Array2::from_shape_vec((rows.len(), expected), values).map_err(|error| Error::Setting(error.to_string()))
}
