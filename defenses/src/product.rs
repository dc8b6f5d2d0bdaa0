pub(crate) mod kmeans;

use std::fmt;
use std::path::Path;

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewMut2, Axis, s};

use crate::codes::{Codes, digits_of_fit};
use crate::parallel::for_pieces;
use crate::spec::{Part, Value};
use crate::stored::{Format, load};
use crate::{Defense, Error, Guarantee, Packing, Rng, Role, Spec, check_finite};
use kmeans::Centroids;

/// A code is a byte.
const MAX_CENTROIDS: usize = 256;

const FORMAT: Format = Format {
    name: "embosk codebook v",
    version: "1\n",
    otherwise: "a codebook begins with `embosk codebook`; `embosk fit codebook` writes one",
};

/// Replaces each piece of a vector by the nearest of a few that were learned from a sample.
///
/// # What it does
/// Cuts the vector into `subspaces` pieces of equal width and replaces each by the nearest of its subspace's
/// centroids (product quantization: Jégou, Douze and Schmid, IEEE Trans. Pattern Anal. Mach. Intell. 33, 2011). Of
/// two that are equally near, it takes the first. [`fit`](Self::fit) finds the centroids by k-means. The output is
/// the reconstruction in `f32`, of the same shape. Quantizing twice changes nothing.
///
/// [`encode`](Self::encode) gives the numbers of the centroids, one byte for each subspace, and no scales: with
/// pieces of 8 dimensions, 48 bytes for 384 dimensions, 96 for 768, 192 for 1536 and 384 for 3072.
/// [`decode`](Self::decode) turns them into what `protect` gives, bit for bit. The codes mean nothing without the
/// [`codebook`](Self::codebook): store its [`to_bytes`](Self::to_bytes) with them. It holds `centroids · dim`
/// numbers, which are means of the sample's vectors.
///
/// # Who it stops
/// Nobody, unless a measurement shows it: this is compression for storage. The wider the pieces, the more of a vector
/// it removes, which may hinder an inverter trained on clean vectors.
///
/// # Who it does not
/// An attacker who trains on quantized vectors. The codebook is not a key: it can be guessed well enough from vectors
/// of the same kind. A centroid of few vectors of the sample, or of a single one, reveals them, so fit on vectors
/// that may be known.
///
/// # What it costs in retrieval
/// More than rounding to 8 or 4 bits a coordinate, at a fraction of the size. How much depends on the width of the
/// pieces and on how similar your vectors are to the sample. Measure it on your corpus.
///
/// # Order in a stack
/// Last, like [`Quantization`](crate::Quantization), and for the same reasons. Fit it on vectors as they arrive at
/// this place: after a [`Rotation`](crate::Rotation), on rotated ones.
///
/// # Fingerprint
/// The codebook, by its content: codes mean nothing without it, and with another one they silently give wrong
/// vectors. If documents are quantized and queries are not, compare the fingerprint of the stack without this part.
///
/// # Default
/// None. Pieces of 8 dimensions with 256 centroids are common, and need a sample of 10,000 vectors or more. A spec
/// names the file of a codebook, `codebook=file:PATH`. A printed stack names the codebook by a few digits of its
/// hash.
///
/// # Example
/// ```
/// use embosk_defenses::ProductQuantization;
/// use ndarray::array;
///
/// let sample = array![[0.0_f32, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0], [1.0, 0.8, 0.0, 0.0]];
/// let pairs = ProductQuantization::fit(sample.view(), 2, 2, 7)?;
/// let codes = pairs.encode(sample.view())?;
/// assert_eq!(codes.bytes().dim(), (3, 2));
/// assert_eq!(pairs.decode(&codes)?.row(2), array![1.0, 0.9, 0.0, 0.0]);
///
/// // Stored, and read again:
/// let again = ProductQuantization::from_bytes(&pairs.to_bytes())?;
/// assert_eq!(again.encode(sample.view())?, codes);
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct ProductQuantization {
    /// `[subspaces, centroids, width]`
    codebook: Array3<f32>,
    subspaces: Vec<Centroids>,
}

impl ProductQuantization {
    /// Learns a codebook of `centroids` for each of `subspaces` from `sample`, `[rows, dim]`. The same sample and
    /// seed give the same codebook on every machine.
    ///
    /// It is k-means by Lloyd's algorithm (IEEE Trans. Inf. Theory 28, 1982), with at most 25 rounds, from k-means++
    /// (Arthur and Vassilvitskii, SODA 2007). The time is proportional to `rounds · rows · dim · centroids`.
    ///
    /// # Errors
    /// [`Error::Setting`] if `subspaces` does not divide the dimension, `centroids` is not from 1 to 256, or the
    /// sample has fewer rows than there are centroids; [`Error::NotFinite`] for a row that is not finite.
    pub fn fit(
        sample: ArrayView2<'_, f32>,
        subspaces: usize,
        centroids: usize,
        seed: u64,
    ) -> Result<Self, Error> {
        let (rows, dim) = sample.dim();
        if subspaces == 0 || dim == 0 || dim % subspaces != 0 {
            return Err(Error::Setting { name: "subspaces", expected: "a divisor of the dimension" });
        }
        if !(1..=MAX_CENTROIDS).contains(&centroids) {
            return Err(Error::Setting { name: "centroids", expected: "a whole number from 1 to 256" });
        }
        if rows < centroids {
            return Err(Error::Setting { name: "sample", expected: "of at least as many rows as centroids" });
        }
        check_finite(&sample)?;
        let width = dim / subspaces;
        let mut rng = Rng::seeded(seed);
        let mut codebook = Array3::zeros((subspaces, centroids, width));
        for (pieces, mut book) in sample.axis_chunks_iter(Axis(1), width).zip(codebook.outer_iter_mut()) {
            book.assign(&kmeans::fit(pieces, centroids, &mut rng));
        }
        Self::new(codebook)
    }

    /// Creates quantization by a fitted `codebook`, `[subspaces, centroids, width]`, that was stored.
    ///
    /// # Errors
    /// [`Error::Setting`] if a side is 0, there are more than 256 centroids, or a number is not finite or beyond
    /// 1e30.
    pub fn new(codebook: Array3<f32>) -> Result<Self, Error> {
        let refuse = |expected| Err(Error::Setting { name: "codebook", expected });
        if codebook.is_empty() || codebook.len_of(Axis(1)) > MAX_CENTROIDS {
            return refuse("[subspaces, centroids, width], none of them 0 and of centroids at most 256");
        }
        if !codebook.iter().all(|x| x.abs() <= 1e30) {
            return refuse("of numbers from -1e30 to 1e30");
        }
        let subspaces = codebook.outer_iter().map(Centroids::new).collect();
        Ok(Self { codebook, subspaces })
    }

    /// Reads a codebook that was stored as [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// [`Error::Fit`] if the bytes are damaged, cut short, of another version or not a codebook, and the errors of
    /// [`new`](Self::new).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let count = |[a, b, c]: [usize; 3]| a.checked_mul(b)?.checked_mul(c);
        let ([subspaces, centroids, width], numbers) = FORMAT.read(bytes, count)?;
        let codebook = Array3::from_shape_vec((subspaces, centroids, width), numbers);
        Self::new(codebook.map_err(|_| Error::Fit("it does not hold as many numbers as its shape says"))?)
    }

    /// Reads a codebook from the file at `path`, which holds its [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// [`Error::FitFile`] if it cannot be read or does not hold a fit.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        load(path.as_ref(), Self::from_bytes)
    }

    /// Returns the codebook as bytes, to be stored. They have a version and a checksum, and later releases can read
    /// them.
    pub fn to_bytes(&self) -> Vec<u8> {
        FORMAT.write(self.codebook.shape(), self.codebook.iter())
    }

    /// Returns the centroids, `[subspaces, centroids, width]`.
    pub fn codebook(&self) -> ArrayView3<'_, f32> {
        self.codebook.view()
    }

    /// Returns the dimension of the vectors.
    pub fn dim(&self) -> usize {
        self.subspaces.len() * self.width()
    }

    fn width(&self) -> usize {
        self.codebook.len_of(Axis(2))
    }

    /// Returns the codes of `vectors`, `[batch, dim]`: the number of each centroid, `[batch, subspaces]`.
    ///
    /// # Errors
    /// As [`protect`](Defense::protect).
    pub fn encode(&self, vectors: ArrayView2<'_, f32>) -> Result<Codes, Error> {
        check_finite(&vectors)?;
        let (rows, dim) = vectors.dim();
        self.check_dim(rows, dim)?;
        let mut bytes = Array2::zeros((rows, self.subspaces.len()));
        if rows > 0 {
            for_pieces((vectors, bytes.view_mut()), dim, 1, |_, (vectors, bytes)| {
                self.encode_piece(vectors, bytes);
            });
        }
        Ok(Codes::new(dim, bytes, Vec::new()))
    }

    /// Encodes one subspace after the other, so that its centroids stay in the processor's cache.
    fn encode_piece(&self, vectors: ArrayView2<'_, f32>, mut bytes: ArrayViewMut2<'_, u8>) {
        let pieces = vectors.axis_chunks_iter(Axis(1), self.width());
        for ((pieces, mut codes), centroids) in pieces.zip(bytes.columns_mut()).zip(&self.subspaces) {
            centroids.nearest_of_each(pieces, |row, (nearest, _)| codes[row] = nearest as u8);
        }
    }

    /// Returns the vectors, `[batch, dim]`, that codes stand for: what [`protect`](Defense::protect) makes of the
    /// encoded vectors, bit for bit.
    ///
    /// # Errors
    /// [`Error::Dimension`], [`Error::CodeLength`] or [`Error::ScaleCount`] if the codes are not of such vectors, and
    /// [`Error::CodeRange`] for a row with a number that no centroid has.
    pub fn decode(&self, codes: &Codes) -> Result<Array2<f32>, Error> {
        let rows = codes.bytes().nrows();
        self.check_dim(rows, codes.dim())?;
        codes.check(self.subspaces.len(), 0)?;
        let known = self.codebook.len_of(Axis(1));
        let is_known = |row: &ndarray::ArrayView1<'_, u8>| row.iter().all(|code| usize::from(*code) < known);
        if let Some(row) = codes.bytes().rows().into_iter().position(|row| !is_known(&row)) {
            return Err(Error::CodeRange { row });
        }
        let mut vectors = Array2::zeros((rows, self.dim()));
        self.restore(codes, vectors.view_mut());
        Ok(vectors)
    }

    fn restore(&self, codes: &Codes, vectors: ArrayViewMut2<'_, f32>) {
        for_pieces((vectors, codes.bytes()), self.dim(), 1, |_, (mut vectors, codes)| {
            for (mut vector, codes) in vectors.rows_mut().into_iter().zip(codes.rows()) {
                let pieces = vector.axis_chunks_iter_mut(Axis(0), self.width());
                for ((mut piece, code), centroids) in pieces.zip(codes).zip(self.codebook.outer_iter()) {
                    piece.assign(&centroids.slice(s![usize::from(*code), ..]));
                }
            }
        });
    }

    fn check_dim(&self, rows: usize, dim: usize) -> Result<(), Error> {
        if rows == 0 || dim == self.dim() {
            Ok(())
        } else {
            Err(Error::Dimension { expected: self.dim(), found: dim })
        }
    }
}

impl Defense for ProductQuantization {
    fn protect(&self, _: Role, vectors: ArrayViewMut2<'_, f32>, _: &mut Rng) -> Result<(), Error> {
        let codes = self.encode(vectors.view())?;
        self.restore(&codes, vectors);
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::None
    }

    fn spec(&self) -> Spec {
        let (subspaces, centroids, _) = self.codebook.dim();
        let part =
            Part::new("product_quantization").with("subspaces", subspaces).with("centroids", centroids);
        part.with("codebook", Value::fit(&digits_of_fit(self.codebook.iter()))).into()
    }

    fn packing(&self) -> Option<Packing<'_>> {
        Some(Packing::Centroids(self))
    }

    fn unprotect(&self, _: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        Err(Error::not_invertible(self, "what it rounds away is lost"))
    }
}

impl fmt::Display for ProductQuantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec().fmt(f)
    }
}

impl fmt::Debug for ProductQuantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProductQuantization({self})")
    }
}
