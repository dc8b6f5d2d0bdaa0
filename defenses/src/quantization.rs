mod dither;
mod fit;
mod grid;
mod pack;

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut2};

use crate::check::largest_magnitude;
use crate::codes::{Codes, digits_of_fit};
use crate::parallel::{by_pieces, for_pieces};
use crate::rows::{each_as_slice, with_scratch};
use crate::spec::{Part, Value};
use crate::stored::{Format, load};
use crate::{Defense, Error, Guarantee, Key, Packing, Rng, Role, Spec, check_finite};
use dither::{Dither, Offsets};
pub(crate) use grid::{Grid, Scale};
use pack::Bits;

/// Beyond this, a norm could leave `f32`'s range.
const MAX_SCALE: f32 = 1e30;

const FORMAT: Format = Format {
    name: "embosk scales v",
    version: "1\n",
    otherwise: "fitted scales begin with `embosk scales`; `embosk fit scales` writes them",
};

/// Rounds every coordinate to 8, 4 or 1 bits, with a scale for each vector, for each dimension, or for all.
///
/// # What it does
/// 8 and 4 bits: the levels are the multiples of `scale / 127` or `scale / 7`, from `-scale` to `scale`. A coordinate
/// in that range moves by at most half a step; one beyond it goes to the nearest end. 1 bit: the sign remains, with
/// the magnitude `scale`; zero counts as positive. The output is the reconstruction in `f32`, of the same shape.
/// Rounding it again changes nothing.
///
/// | scale | created by | value |
/// |---|---|---|
/// | per vector | [`new`](Self::new) | `max ∣x∣` of the vector, so nothing is beyond it; 1 bit: its root mean square, so the norm is kept |
/// | per dimension | [`fit`](Self::fit), stored by [`to_bytes`](Self::to_bytes) | a quantile of the sample's `∣x∣` in that dimension; 1 bit: their root mean square |
/// | fixed | [`scale`](Self::scale) | the number given |
///
/// [`dither`](Self::dither) adds an offset to each dimension before the rounding and subtracts it afterwards
/// (subtractive dither: Schuchman, IEEE Trans. Commun. Tech. 12, 1964). Over random keys, a coordinate's error is
/// then uniform within half a step, whatever the coordinate is. Under one key, all vectors share the offsets.
///
/// # Packed codes
/// [`encode`](Self::encode) gives codes for a vector store. [`decode`](Self::decode) turns them into what `protect`
/// gives, bit for bit. Bytes per vector:
///
/// | dimension | `f32` | 8 bits | 4 bits | 1 bit | plus a scale per vector |
/// |---:|---:|---:|---:|---:|---:|
/// | 384 | 1,536 | 384 | 192 | 48 | 4 |
/// | 768 | 3,072 | 768 | 384 | 96 | 4 |
/// | 1536 | 6,144 | 1,536 | 768 | 192 | 4 |
/// | 3072 | 12,288 | 3,072 | 1,536 | 384 | 4 |
///
/// - **8 bits**: a byte each, two's complement, from -127 to 127: usearch's `i8`. Cosines do not need the scales if
///   they are per vector or fixed; inner products and distances do. Qdrant's 8-bit vectors are unsigned, and its own
///   quantization starts from floats: give it the reconstruction.
/// - **4 bits**: two to a byte, two's complement, the first in the lower half.
/// - **1 bit**: eight to a byte, the first in the **highest** bit, 1 for positive: pgvector's `bit` and numpy's
///   `packbits`. usearch's `b1` is the same now. Early versions had the first in the lowest bit, which does not
///   change a Hamming distance as long as all codes come from here. pgvector's `binary_quantize` has 0 for a
///   coordinate of exactly zero. Qdrant's binary quantization takes the signs itself: give it the reconstruction.
///
/// # Who it stops
/// Nobody, unless a measurement shows it: this is rounding for storage. At 8 bits, measurements show no defense at
/// all. 1 bit removes much of a vector and may hinder an inverter trained on clean ones. Dither hides nothing from an
/// attacker who sees the reconstruction. One who has the codes without the key is off by up to another half step.
///
/// # Who it does not
/// An attacker who trains on rounded vectors. 8 bits do not even stop one who trained on clean vectors: the steps
/// are far smaller than inversion needs.
///
/// # What it costs in retrieval
/// 8 bits: nearly nothing as a rule; 4 bits: little; 1 bit: a loss that depends on model and dimension. A fixed scale
/// that is too large wastes levels; one that is too small clips the largest coordinates. Measure it on your corpus.
///
/// # Order in a stack
/// Last: after a [`Rotation`](crate::Rotation), which spreads large coordinates over all and so makes the rounding
/// finer, and after [`GaussianNoise`](crate::GaussianNoise), whose guarantee survives rounding. Rounding before the
/// noise changes norms, and the noise then comes without a guarantee. Fit the scales on vectors as they arrive at
/// this place.
///
/// # Fingerprint
/// With a scale for each vector, nothing: rounded and clean vectors are in the same space, and codes carry their
/// scales. With a fixed or fitted scale, all settings: bits, scale and the key of the dither. Codes cannot be read
/// without them; with others they silently give wrong numbers. If documents are rounded this way and queries are not,
/// compare the fingerprint of the stack without its rounding.
///
/// # Default
/// A scale for each vector, and no dither. The number of bits has no default.
///
/// # Example
/// ```
/// use embosk_defenses::{Defense, Quantization, Rng, Role};
/// use ndarray::array;
///
/// let signs = Quantization::new(1)?;
/// let mut vectors = array![[3.0_f32, -4.0]];
/// signs.protect(Role::Document, vectors.view_mut(), &mut Rng::from_os()?)?;
/// assert_eq!(vectors, array![[12.5_f32.sqrt(), -12.5_f32.sqrt()]]);
///
/// let codes = signs.encode(vectors.view())?;
/// assert_eq!(codes.bytes(), array![[0b1000_0000]]);
/// assert_eq!(signs.decode(&codes)?, vectors);
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Quantization {
    bits: Bits,
    range: Range,
    dither: Option<Dither>,
}

/// Where the scales come from.
#[derive(Clone, PartialEq)]
enum Range {
    PerVector,
    PerDimension(Arc<[f32]>),
    Fixed(f32),
}

impl Quantization {
    /// Creates rounding to `bits` bits a coordinate, with a scale for each vector.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `bits` is 8, 4 or 1.
    pub fn new(bits: u32) -> Result<Self, Error> {
        let bits = match bits {
            8 => Bits::Eight,
            4 => Bits::Four,
            1 => Bits::One,
            _ => return Err(Error::Setting { name: "bits", expected: "8, 4 or 1" }),
        };
        Ok(Self { bits, range: Range::PerVector, dither: None })
    }

    /// Fits rounding with a scale for each dimension to `sample`, `[rows, dim]`: the `quantile` of the sample's
    /// magnitudes in that dimension. 1 takes the largest; 0.99 or 0.999 clip outliers, so that these do not make the
    /// steps coarse.
    ///
    /// # Errors
    /// [`Error::Setting`] for other `bits` than in [`new`](Self::new), a quantile that is not above 0 and at most 1,
    /// or a sample without rows; [`Error::NotFinite`] for a row that is not finite.
    pub fn fit(bits: u32, sample: ArrayView2<'_, f32>, quantile: f64) -> Result<Self, Error> {
        let new = Self::new(bits)?;
        let scales = fit::scales(new.bits, sample, quantile)?;
        Ok(Self { range: Range::PerDimension(scales.into()), ..new })
    }

    /// Creates rounding with these scales, one for each dimension: a fitted quantization that was stored as its
    /// [`scales`](Self::scales).
    ///
    /// # Errors
    /// [`Error::Setting`] for other `bits` than in [`new`](Self::new) or a scale that is not from 0 to
    /// 1e30.
    pub fn per_dimension(bits: u32, scales: &[f32]) -> Result<Self, Error> {
        if !scales.iter().all(|scale| (0.0..=MAX_SCALE).contains(scale)) {
            return Err(Error::Setting { name: "scales", expected: "numbers from 0 to 1e30" });
        }
        Ok(Self { range: Range::PerDimension(scales.into()), ..Self::new(bits)? })
    }

    /// Reads a fitted quantization that was stored as [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// [`Error::Fit`] if the bytes are damaged, cut short, of another version or not scales, and the errors of
    /// [`per_dimension`](Self::per_dimension).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let ([bits, _], scales) = FORMAT.read(bytes, |[_, dim]| Some(dim))?;
        Self::per_dimension(bits as u32, &scales)
    }

    /// Reads a fitted quantization from the file at `path`, which holds its [`to_bytes`](Self::to_bytes).
    ///
    /// # Errors
    /// [`Error::FitFile`] if it cannot be read or does not hold a fit.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        load(path.as_ref(), Self::from_bytes)
    }

    /// Sets one scale for all vectors and dimensions: where the outermost level lies, in the vectors' own unit. After
    /// a rotation, coordinates of rows of norm 1 are rarely above `5 / √dim`.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `scale` is above 0 and at most 1e30.
    pub fn scale(self, scale: f32) -> Result<Self, Error> {
        if scale > 0.0 && scale <= MAX_SCALE {
            Ok(Self { range: Range::Fixed(scale), ..self })
        } else {
            Err(Error::Setting { name: "scale", expected: "a number above 0, at most 1e30" })
        }
    }

    /// Adds subtractive dither under `key`. Decoding needs the key as well.
    ///
    /// # Errors
    /// [`Error::Setting`] if the scale is per vector: the steps must not depend on the vector.
    pub fn dither(self, key: &Key) -> Result<Self, Error> {
        match self.range {
            Range::PerVector => {
                Err(Error::Setting { name: "dither", expected: "used with a scale that is fixed or fitted" })
            }
            _ => Ok(Self { dither: Some(Dither::new(key)), ..self }),
        }
    }

    /// Returns the scale of each dimension, if there is one: what to store of a fitted quantization.
    pub fn scales(&self) -> Option<&[f32]> {
        match &self.range {
            Range::PerDimension(scales) => Some(scales),
            _ => None,
        }
    }

    /// Returns the scale of all coordinates of all vectors, if it was [set](Self::scale).
    pub fn fixed_scale(&self) -> Option<f32> {
        match self.range {
            Range::Fixed(scale) => Some(scale),
            _ => None,
        }
    }

    /// Returns bits and scales as bytes, to be stored, or `None` unless there is a scale for each dimension. The
    /// bytes have a version and a checksum, and later releases can read them. A dither is left out, because a key
    /// must not be stored beside vectors: add it again with [`dither`](Self::dither).
    ///
    /// ```
    /// # use embosk_defenses::{Error, Quantization};
    /// # use ndarray::array;
    /// let fitted = Quantization::fit(8, array![[0.6_f32, -0.8], [1.0, 0.0]].view(), 1.0)?;
    /// let stored = fitted.to_bytes().unwrap_or_default();
    /// assert!(Quantization::from_bytes(&stored)? == fitted);
    /// assert!(matches!(Quantization::from_bytes(&stored[1..]), Err(Error::Fit(_))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        self.scales().map(|scales| FORMAT.write(&[self.bits.count(), scales.len()], scales.iter()))
    }

    /// Returns how many bits a coordinate has: 8, 4 or 1.
    pub fn bits(&self) -> u32 {
        self.bits.count() as u32
    }

    /// Returns whether rounding is dithered under a key.
    pub fn is_dithered(&self) -> bool {
        self.dither.is_some()
    }

    /// Returns how many bytes the codes of a vector of `dim` dimensions take, without its scale.
    pub fn code_bytes(&self, dim: usize) -> usize {
        self.bits.bytes(dim)
    }

    /// Returns the packed codes of `vectors`, `[batch, dim]`.
    ///
    /// # Errors
    /// As [`protect`](Defense::protect).
    pub fn encode(&self, vectors: ArrayView2<'_, f32>) -> Result<Codes, Error> {
        let mut codes = Codes::default();
        self.encode_into(vectors, &mut codes)?;
        Ok(codes)
    }

    /// Writes what [`encode`](Self::encode) returns into `codes`, and reuses its memory if the shape is the same. On
    /// an error `codes` is empty.
    ///
    /// # Errors
    /// As [`protect`](Defense::protect).
    pub fn encode_into(&self, vectors: ArrayView2<'_, f32>, codes: &mut Codes) -> Result<(), Error> {
        let encoded = self.encode_rows(vectors, codes);
        if encoded.is_err() {
            *codes = Codes::default();
        }
        encoded
    }

    fn encode_rows(&self, vectors: ArrayView2<'_, f32>, codes: &mut Codes) -> Result<(), Error> {
        let (rows, dim) = vectors.dim();
        codes.reshape(dim, (rows, self.code_bytes(dim)), self.scale_count(rows));
        let dither = self.offsets(rows, dim)?;
        let (bytes, scales) = codes.parts_mut();
        by_pieces(((vectors, bytes), scales), dim, 1, |first, ((vectors, bytes), scales)| {
            with_scratch(dim, |levels| {
                self.encode_piece(first, dither.as_ref(), vectors, bytes, scales, levels)
            })
        })
    }

    fn encode_piece(
        &self,
        first: usize,
        dither: Option<&Offsets>,
        vectors: ArrayView2<'_, f32>,
        mut bytes: ArrayViewMut2<'_, u8>,
        scales: &mut [f32],
        levels: &mut [i8],
    ) -> Result<(), Error> {
        let mut scales = scales.iter_mut();
        for (row, (values, mut bytes)) in vectors.rows().into_iter().zip(bytes.rows_mut()).enumerate() {
            let values = contiguous(values);
            let largest = largest_magnitude(&values).ok_or(Error::NotFinite { row: first + row })?;
            let grid = self.grid(self.scale_of(&values, largest), dither);
            grid.round(&values, levels);
            // The rows of a new array are contiguous.
            if let Some(bytes) = bytes.as_slice_mut() {
                self.bits.pack(levels, bytes);
            }
            if let (Some(to), Scale::Row(scale)) = (scales.next(), grid.scale) {
                *to = scale;
            }
        }
        Ok(())
    }

    /// Returns the vectors, `[batch, dim]`, that codes stand for: what [`protect`](Defense::protect) makes of the
    /// encoded vectors, bit for bit.
    ///
    /// # Errors
    /// [`Error::CodeLength`] or [`Error::ScaleCount`] if the codes do not fit their dimension, [`Error::Dimension`]
    /// if there are scales for another one, [`Error::Setting`] for a dimension that no array has, and
    /// [`Error::NotFinite`] for a row whose scale is not finite.
    pub fn decode(&self, codes: &Codes) -> Result<Array2<f32>, Error> {
        let (rows, dim) = (codes.bytes().nrows(), codes.dim());
        // No array has more columns, not even one without rows.
        if dim > isize::MAX as usize {
            return Err(Error::Setting { name: "dim", expected: "that of the vectors that were encoded" });
        }
        codes.check(self.code_bytes(dim), self.scale_count(rows))?;
        if let Some(row) =
            codes.scales().iter().position(|scale| scale.is_nan() || scale.abs() > f32::MAX / 2.0)
        {
            return Err(Error::NotFinite { row });
        }
        let dither = self.offsets(rows, dim)?;
        let mut vectors = Array2::zeros((rows, dim));
        let pieces = ((vectors.view_mut(), codes.bytes()), codes.scales());
        for_pieces(pieces, dim, 1, |_, ((vectors, bytes), scales)| {
            with_scratch(dim, |levels| {
                let mut scales = scales.iter().copied();
                let mut bytes = bytes.rows().into_iter();
                each_as_slice(vectors, |row| {
                    if let Some(bytes) = bytes.next() {
                        self.bits.unpack(&contiguous(bytes), levels);
                        self.grid(scales.next().unwrap_or_default(), dither.as_ref()).restore(levels, row);
                    }
                });
            });
        });
        Ok(vectors)
    }

    /// Returns what is added before the rounding, if anything, for a batch that fits the scales.
    fn offsets(&self, rows: usize, dim: usize) -> Result<Option<Offsets>, Error> {
        match self.scales() {
            _ if rows == 0 => Ok(None),
            Some(scales) if scales.len() != dim => {
                Err(Error::Dimension { expected: scales.len(), found: dim })
            }
            _ => Ok(self.dither.as_ref().map(|dither| dither.offsets(dim))),
        }
    }

    fn scale_count(&self, rows: usize) -> usize {
        if self.range == Range::PerVector { rows } else { 0 }
    }

    /// Returns the row's own scale; `largest` is its largest magnitude.
    fn scale_of(&self, row: &[f32], largest: f32) -> f32 {
        match (&self.range, self.bits) {
            (Range::PerVector, Bits::One) => fit::root_mean_square(row.iter()),
            _ => largest,
        }
    }

    fn grid<'a>(&'a self, row_scale: f32, dither: Option<&'a Offsets>) -> Grid<'a> {
        let scale = match &self.range {
            Range::PerVector => Scale::Row(row_scale),
            Range::PerDimension(scales) => Scale::Dimensions(scales),
            Range::Fixed(scale) => Scale::Row(*scale),
        };
        Grid { top: self.bits.top(), scale, dither: dither.map(|offsets| offsets.as_slice()) }
    }
}

impl Defense for Quantization {
    fn protect(&self, _: Role, vectors: ArrayViewMut2<'_, f32>, _: &mut Rng) -> Result<(), Error> {
        check_finite(&vectors)?;
        let (rows, dim) = vectors.dim();
        let dither = self.offsets(rows, dim)?;
        for_pieces(vectors, dim, 1, |_, vectors| {
            with_scratch(dim, |levels| {
                each_as_slice(vectors, |row| {
                    let largest = row.iter().fold(0.0, |largest: f32, x| largest.max(x.abs()));
                    let grid = self.grid(self.scale_of(row, largest), dither.as_ref());
                    grid.round(row, levels);
                    grid.restore(levels, row);
                });
            });
        });
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::None
    }

    fn spec(&self) -> Spec {
        let part = Part::new("quantization").with("bits", self.bits());
        let part = match &self.range {
            Range::PerVector => part,
            Range::PerDimension(scales) => part.with("scale", Value::fit(&digits_of_fit(scales.iter()))),
            Range::Fixed(scale) => part.with("scale", *scale),
        };
        Spec::from(match &self.dither {
            Some(dither) => part.with("dither", dither.key()),
            None => part,
        })
    }

    /// Nothing with a scale for each vector; otherwise all settings, without which codes cannot be read.
    fn space(&self) -> Spec {
        if self.range == Range::PerVector { Spec::new() } else { self.spec() }
    }

    /// Returns whether there is a key. It is only in the rounding, so there is nothing to undo.
    fn undo_key(&self, _: ArrayViewMut2<'_, f32>) -> Result<bool, Error> {
        Ok(self.dither.is_some())
    }

    fn imitation(&self, rng: &mut Rng) -> Option<Arc<dyn Defense>> {
        self.dither.as_ref()?;
        Some(Arc::new(Self { dither: Some(Dither::new(&Key::draw(rng))), ..self.clone() }))
    }

    fn packing(&self) -> Option<Packing<'_>> {
        Some(Packing::Levels(self))
    }

    fn unprotect(&self, _: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        Err(Error::not_invertible(self, "what it rounds away is lost"))
    }
}

/// The row as a slice, copied if it is not contiguous.
fn contiguous<T: Clone>(row: ArrayView1<'_, T>) -> Cow<'_, [T]> {
    row.to_slice().map_or_else(|| Cow::Owned(row.to_vec()), Cow::Borrowed)
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec().fmt(f)
    }
}

impl fmt::Debug for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quantization({self})")
    }
}
