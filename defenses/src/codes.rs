use std::fmt;

use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use sha2::{Digest as _, Sha256};

use crate::Error;

/// A batch of vectors in packed form, as [`Quantization`](crate::Quantization) and
/// [`ProductQuantization`](crate::ProductQuantization) encode it.
///
/// The codes are one block, `[rows, bytes]`, row after row, which can be handed to a vector store as it is. If each
/// vector has its own scale, the scales are kept separately: 4 more bytes per vector.
///
/// ```
/// use embosk_defenses::{Codes, Quantization};
/// use ndarray::array;
///
/// let bytes = Quantization::new(8)?;
/// let codes = bytes.encode(array![[1.0_f32, -0.5, 0.0]].view())?;
/// assert_eq!(codes.to_i8(), array![[127, -64, 0]]);
///
/// // Stored as bytes and scales, and read again:
/// let (stored, scales) = (codes.bytes().to_owned(), codes.scales().to_vec());
/// let again = Codes::new(3, stored, scales);
/// assert_eq!(bytes.decode(&again)?, bytes.decode(&codes)?);
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Codes {
    dim: usize,
    bytes: Array2<u8>,
    scales: Vec<f32>,
}

impl Codes {
    /// Creates codes of vectors of `dim` dimensions from what was stored: `bytes`, `[rows, bytes]`, and either a
    /// scale for each row or none. Decoding checks whether they fit.
    pub fn new(dim: usize, bytes: Array2<u8>, scales: Vec<f32>) -> Self {
        Self { dim, bytes: bytes.as_standard_layout().into_owned(), scales }
    }

    /// Returns the dimension of the vectors.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns the codes, `[rows, bytes]`, contiguous.
    pub fn bytes(&self) -> ArrayView2<'_, u8> {
        self.bytes.view()
    }

    /// Returns the codes, `[rows, bytes]`, as signed numbers, for a store of `i8` vectors. It is meant for codes of 8
    /// bits; others are packed.
    pub fn to_i8(&self) -> Array2<i8> {
        self.bytes.mapv(u8::cast_signed)
    }

    /// Returns the scale of each row, or nothing if rows have no scales of their own.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Makes room for a batch, and reuses the memory if the shape is the same.
    pub(crate) fn reshape(&mut self, dim: usize, shape: (usize, usize), scales: usize) {
        self.dim = dim;
        if self.bytes.dim() != shape {
            self.bytes = Array2::zeros(shape);
        }
        self.scales.resize(scales, 0.0);
    }

    pub(crate) fn parts_mut(&mut self) -> (ArrayViewMut2<'_, u8>, &mut [f32]) {
        (self.bytes.view_mut(), &mut self.scales)
    }

    /// Refuses codes unless each row has `bytes` bytes and there are `scales` scales.
    pub(crate) fn check(&self, bytes: usize, scales: usize) -> Result<(), Error> {
        if self.bytes.ncols() != bytes {
            return Err(Error::CodeLength { expected: bytes, found: self.bytes.ncols() });
        }
        if self.scales.len() != scales {
            return Err(Error::ScaleCount { expected: scales, found: self.scales.len() });
        }
        Ok(())
    }
}

impl fmt::Debug for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codes")
            .field("dim", &self.dim)
            .field("shape", &self.bytes.shape())
            .field("scales", &self.scales.len())
            .finish_non_exhaustive()
    }
}

/// Eight hexadecimal digits that tell one fit from another, for specs, reports and fingerprints.
pub(crate) fn digits_of_fit<'a>(fitted: impl Iterator<Item = &'a f32>) -> String {
    let mut hash = Sha256::new();
    fitted.for_each(|x| hash.update(x.to_le_bytes()));
    base16ct::lower::encode_string(&hash.finalize()[..4])
}
