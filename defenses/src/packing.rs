use ndarray::ArrayView2;

use crate::{Codes, Error, ProductQuantization, Quantization};

/// What packs vectors into [`Codes`]: the quantization that a stack ends in, for
/// [`Stack::protect_packed`](crate::Stack::protect_packed).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Packing<'a> {
    /// A level for each coordinate.
    Levels(&'a Quantization),
    /// A centroid for each piece.
    Centroids(&'a ProductQuantization),
}

impl Packing<'_> {
    /// Returns the packed codes of `vectors`, `[batch, dim]`.
    ///
    /// # Errors
    /// As [`protect`](crate::Defense::protect).
    pub fn encode(&self, vectors: ArrayView2<'_, f32>) -> Result<Codes, Error> {
        match self {
            Self::Levels(quantization) => quantization.encode(vectors),
            Self::Centroids(quantization) => quantization.encode(vectors),
        }
    }

    /// Returns how many bytes the codes of a vector of `dim` dimensions take, without its scale.
    pub fn code_bytes(&self, dim: usize) -> usize {
        match self {
            Self::Levels(quantization) => quantization.code_bytes(dim),
            Self::Centroids(quantization) => quantization.codebook().shape()[0],
        }
    }
}
