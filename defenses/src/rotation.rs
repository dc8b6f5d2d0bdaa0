use std::fmt;
use std::sync::{Arc, OnceLock};

use chacha20::rand_core::Rng as _;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};
use zeroize::Zeroize;

use crate::haar::haar;
use crate::{Defense, Error, Guarantee, Key, Rng, Role, check_finite};

/// Names the defense and the version of its format: other coefficients need another label.
const PURPOSE: &str = "embosk rotation v1";

/// A matrix of this size takes 256 MiB and minutes to draw.
const MAX_DIM: usize = 8192;

/// Rows that are rotated at a time, to bound the memory for the product.
const ROWS: usize = 1024;

/// A secret rotation of the space, the same for all vectors under one key.
///
/// # What it does
/// Multiplies each vector by an orthogonal matrix that the key determines, drawn uniformly from all
/// of them, reflections included. Norms, distances and inner products stay as they are, so documents
/// and queries under one key are searched as before; under two keys they have nothing to do with each
/// other. The matrix for a key and a dimension never changes between machines and versions.
///
/// # Who it stops
/// An attacker with the vectors alone who inverts them as they are: to an inverter they look like
/// vectors of nothing.
///
/// # Who it does not
/// One who has the key. One who has pairs of text and protected vector: about as many as the
/// dimension determine the matrix exactly, and fewer already help (orthogonal Procrustes). One with
/// many vectors and texts of the same kind may match the two clouds' shapes without any pair, since
/// a rotation keeps all distances; for the same reason equal texts stay equal and clusters stay
/// visible to everybody. This is not a cipher.
///
/// # What it costs in retrieval
/// Nothing beyond `f32` rounding, about 1e-6 of a score. In time, `dim²` multiplications a vector, and
/// once the drawing of the matrix: well under a second for 768 dimensions.
///
/// # Order in a stack
/// First: before [`GaussianNoise`](crate::GaussianNoise), which a rotation does not change, and before
/// [`Quantization`](crate::Quantization), which comes out finer. Rounding first would give away a
/// grid that helps to find the rotation.
///
/// # Default
/// None: a key made by [`Key::generate`] or `embosk keygen`.
///
/// # Example
/// ```
/// use embosk_defenses::{Defense, Key, Rng, Role, Rotation};
/// use ndarray::array;
///
/// let rotation = Rotation::new(&Key::generate()?, 2)?;
/// let mut vectors = array![[0.6_f32, 0.8]];
/// rotation.protect(Role::Document, vectors.view_mut(), &mut Rng::from_os()?)?;
/// rotation.restore(vectors.view_mut())?;
/// assert!((vectors[[0, 0]] - 0.6).abs() < 1e-6);
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
pub struct Rotation {
    fingerprint: String,
    form: Form,
}

enum Form {
    Bound(Matrix),
    Deferred { key: Key, bound: OnceLock<Matrix> },
}

impl Rotation {
    /// The rotation of `dim` dimensions under `key`, drawn now.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `dim` is from 1 to 8192.
    pub fn new(key: &Key, dim: usize) -> Result<Self, Error> {
        Ok(Self { fingerprint: key.fingerprint(), form: Form::Bound(Matrix::draw(key, dim)?) })
    }

    /// The rotation under `key` in the dimension of the first vectors it is given; it is drawn then,
    /// and other dimensions are refused from then on.
    pub fn deferred(key: Key) -> Self {
        Self { fingerprint: key.fingerprint(), form: Form::Deferred { key, bound: OnceLock::new() } }
    }

    /// The [fingerprint](Key::fingerprint) of its key.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The dimension, once there is one.
    pub fn dim(&self) -> Option<usize> {
        match &self.form {
            Form::Bound(matrix) => Some(matrix.dim()),
            Form::Deferred { bound, .. } => bound.get().map(Matrix::dim),
        }
    }

    /// Undoes [`protect`](Defense::protect) on `vectors`, `[batch, dim]`, up to `f32` rounding.
    ///
    /// # Errors
    /// As `protect`.
    pub fn restore(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        if let Some(matrix) = self.matrix_for(&vectors)? {
            multiply(vectors, &matrix);
        }
        Ok(())
    }

    /// The matrix for these vectors, or nothing where there are no rows to bind to.
    fn matrix_for(&self, vectors: &ArrayViewMut2<'_, f32>) -> Result<Option<ArrayView2<'_, f32>>, Error> {
        check_finite(vectors)?;
        if vectors.nrows() == 0 {
            return Ok(None);
        }
        Ok(Some(self.matrix(vectors.ncols())?.0.view()))
    }

    fn matrix(&self, dim: usize) -> Result<&Matrix, Error> {
        let matrix = match &self.form {
            Form::Bound(matrix) => matrix,
            Form::Deferred { key, bound } => bind(key, bound, dim)?,
        };
        if matrix.dim() == dim {
            Ok(matrix)
        } else {
            Err(Error::Dimension { expected: matrix.dim(), found: dim })
        }
    }
}

/// The matrix that is bound, now or before. Of two first batches at once, both draw and one stays.
fn bind<'a>(key: &Key, bound: &'a OnceLock<Matrix>, dim: usize) -> Result<&'a Matrix, Error> {
    if let Some(matrix) = bound.get() {
        return Ok(matrix);
    }
    let matrix = Matrix::draw(key, dim)?;
    Ok(bound.get_or_init(|| matrix))
}

impl Defense for Rotation {
    fn protect(&self, _: Role, vectors: ArrayViewMut2<'_, f32>, _: &mut Rng) -> Result<(), Error> {
        if let Some(matrix) = self.matrix_for(&vectors)? {
            // The rows are the vectors: x ↦ Q x is a product with Qᵀ from the right.
            multiply(vectors, &matrix.t());
        }
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Isometry
    }

    fn imitation(&self, rng: &mut Rng) -> Option<Arc<dyn Defense>> {
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        Some(Arc::new(Self::deferred(Key::from_bytes(key))))
    }
}

fn multiply(mut vectors: ArrayViewMut2<'_, f32>, matrix: &ArrayView2<'_, f32>) {
    for mut rows in vectors.axis_chunks_iter_mut(Axis(0), ROWS) {
        let product = rows.dot(matrix);
        rows.assign(&product);
    }
}

impl fmt::Display for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rotation(key=fingerprint:{})", self.fingerprint)
    }
}

impl fmt::Debug for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotation")
            .field("key", &self.fingerprint)
            .field("dim", &self.dim())
            .finish_non_exhaustive()
    }
}

/// The orthogonal matrix, `[dim, dim]`, wiped when dropped: it is as good as the key.
struct Matrix(Array2<f32>);

impl Matrix {
    fn draw(key: &Key, dim: usize) -> Result<Self, Error> {
        if !(1..=MAX_DIM).contains(&dim) {
            return Err(Error::Setting { name: "dim", expected: "a whole number from 1 to 8192" });
        }
        Ok(Self(haar(dim, &mut Rng::from_seed(&key.derive(PURPOSE, dim)))))
    }

    fn dim(&self) -> usize {
        self.0.nrows()
    }
}

impl Zeroize for Matrix {
    fn zeroize(&mut self) {
        if let Some(coefficients) = self.0.as_slice_memory_order_mut() {
            coefficients.zeroize();
        }
    }
}

impl Drop for Matrix {
    fn drop(&mut self) {
        self.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_coefficient_is_wiped() -> Result<(), Error> {
        for dim in [1, 5, 64] {
            let mut matrix = Matrix::draw(&Key::from_bytes([1; 32]), dim)?;
            assert!(matrix.0.iter().all(|x| *x != 0.0));
            matrix.zeroize(); // all that dropping it does
            assert!(matrix.0.iter().all(|x| *x == 0.0));
        }
        Ok(())
    }
}
