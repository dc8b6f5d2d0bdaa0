//! A fast sampler of standard normal numbers, for noise that is drawn once and never again.
//!
//! Its numbers are not part of a storage format and may change between versions; what a key determines comes from
//! [`Rng::standard_normals`]. It is Box–Muller in `f32`. It has no branches or tables, so the compiler can process
//! several numbers at a time. It uses only `+ − × ÷ √` and integers, so a seed gives the same numbers on every
//! machine.
//!
//! 31 bits of keystream make a radius, so the radius is at most 6.66. One normal number in 3 · 10¹⁰ lies beyond that.

use chacha20::rand_core::TryRng as _;
use ndarray::ArrayViewMut2;
use zeroize::{Zeroize, Zeroizing};

use crate::Rng;
use crate::parallel::for_pieces;
use crate::wide::{Work, widest};

/// Numbers that are drawn at a time, on the stack. Each takes a word of keystream.
const BLOCK: usize = 512;

/// The last numbers are drawn in a block of a multiple of this.
const PART: usize = 32;

/// Adds independent normal numbers of standard deviation `sigma` to all values, row after row.
pub(crate) fn add_normals(vectors: ArrayViewMut2<'_, f32>, sigma: f32, rng: &mut Rng) {
    if vectors.nrows() <= BLOCK {
        return widest(Addition { vectors, sigma, rng });
    }
    let (dim, count, from) = (vectors.ncols(), vectors.len(), &*rng);
    // A piece has a multiple of `BLOCK` rows, so it begins where a block would begin.
    for_pieces(vectors, dim, BLOCK, |first, vectors| {
        widest(Addition { vectors, sigma, rng: &mut from.ahead(first * dim) });
    });
    rng.skip(count.next_multiple_of(PART));
}

struct Addition<'a> {
    vectors: ArrayViewMut2<'a, f32>,
    sigma: f32,
    rng: &'a mut Rng,
}

impl Work for Addition<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const WIDE: bool>(mut self) {
        let mut block = Zeroizing::new(Block { words: [0; 4 * BLOCK], normals: [0.0; BLOCK] });
        if let Some(values) = self.vectors.as_slice_mut() {
            for values in values.chunks_mut(BLOCK) {
                let normals = block.draw(values.len(), self.rng);
                values.iter_mut().zip(normals).for_each(|(value, normal)| *value += self.sigma * normal);
            }
        } else {
            let count = self.vectors.len();
            for (at, value) in self.vectors.iter_mut().enumerate() {
                if at % BLOCK == 0 {
                    block.draw((count - at).min(BLOCK), self.rng);
                }
                *value += self.sigma * block.normals[at % BLOCK];
            }
        }
    }
}

struct Block {
    words: [u8; 4 * BLOCK],
    normals: [f32; BLOCK],
}

impl Block {
    /// Returns the next numbers, at least `count`. Half of the keystream gives radii, the other half angles.
    #[inline(always)]
    fn draw(&mut self, count: usize, rng: &mut Rng) -> &[f32] {
        let count = count.next_multiple_of(PART).min(BLOCK);
        let words = &mut self.words[..4 * count];
        let Ok(()) = rng.try_fill_bytes(words);
        let (radii, angles) = words.as_chunks().0.split_at(count / 2);
        let (cosines, sines) = self.normals[..count].split_at_mut(count / 2);
        for ((radius, angle), (cosine, sine)) in radii.iter().zip(angles).zip(cosines.iter_mut().zip(sines)) {
            let radius = self::radius(u32::from_le_bytes(*radius));
            let (x, y) = direction(u32::from_le_bytes(*angle));
            (*cosine, *sine) = (radius * x, radius * y);
        }
        &self.normals[..count]
    }
}

impl Zeroize for Block {
    fn zeroize(&mut self) {
        self.words.zeroize();
        self.normals.zeroize();
    }
}

/// `√(−2 ln u)` for `u = (⌊word / 2⌋ + ½) / 2³¹`.
#[inline(always)]
fn radius(word: u32) -> f32 {
    /// The bits of √½: what is split off below lies between it and √2.
    const ROOT_HALF: i32 = 0x3f35_04f3;
    let x = (word >> 1).cast_signed() as f32 + 0.5;
    let exponent = (x.to_bits().cast_signed() - ROOT_HALF) >> 23;
    let mantissa = f32::from_bits((x.to_bits().cast_signed() - (exponent << 23)).cast_unsigned());
    // ln m = 2 artanh s, whose series in s² is fitted to 7 · 10⁻¹⁰. For u = 1 both terms are 0.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let z = s * s;
    let ln = s * (2.0 + z * (0.666_668_2 + z * (0.399_747_96 + z * 0.299_256_47)));
    (-2.0 * (ln + (exponent - 31) as f32 * std::f32::consts::LN_2)).sqrt()
}

/// The cosine and the sine of an angle from all round: 31 bits for the half with a positive cosine,
/// and one for the cosine's sign.
#[inline(always)]
fn direction(word: u32) -> (f32, f32) {
    const STEP: f32 = 1.0 / (1_u64 << 32) as f32;
    let t = (word << 1).cast_signed() as f32 * STEP; // in half turns, from −½ to ½
    let z = t * t;
    // sin πt / t and cos πt / (1 − 4t²) in t², fitted to 5 · 10⁻⁹ and 1 · 10⁻⁹.
    let sine = t
        * (std::f32::consts::PI
            + z * (-5.167_71 + z * (2.550_069_7 + z * (-0.598_242_1 + z * 0.077_560_38))));
    let cosine = (1.0 - 4.0 * z)
        * (1.0 + z * (-0.934_802 + z * (0.319_497_44 + z * (-0.057_184_635 + z * 0.006_038_524))));
    (f32::from_bits(cosine.to_bits() | (word & 0x8000_0000)), sine)
}
