use std::fmt;

use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use sha2::{Digest as _, Sha256};

use crate::Error;

/// A batch of vectors in packed form, as [`Quantization`](crate::Quantization) and
/// [`ProductQuantization`](crate::ProductQuantization) encode it.
///
/// The codes are one block, `[rows, bytes]`, row after row, to be handed to a vector store as they
/// are. Where each vector has a scale of its own, it stands beside them: 4 more bytes a vector.
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
    /// Codes of vectors of `dim` dimensions, as they were stored: `bytes`, `[rows, bytes]`, and a
    /// scale for each row or none at all. Whether they fit is checked when they are decoded.
    pub fn new(dim: usize, bytes: Array2<u8>, scales: Vec<f32>) -> Self {
        Self { dim, bytes: bytes.as_standard_layout().into_owned(), scales }
    }

    /// The dimension of the vectors.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The codes, `[rows, bytes]`, contiguous.
    pub fn bytes(&self) -> ArrayView2<'_, u8> {
        self.bytes.view()
    }

    /// The codes, `[rows, bytes]`, as signed numbers: what a store of `i8` vectors takes. It is meant
    /// for codes of 8 bits; others are packed.
    pub fn to_i8(&self) -> Array2<i8> {
        self.bytes.mapv(u8::cast_signed)
    }

    /// The scale of each row, or nothing where the scale is not the row's own.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Makes room for a batch, and keeps the memory where the shape is as before.
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

    /// Refuses codes of another length than `bytes` a row, or with another number of scales.
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
