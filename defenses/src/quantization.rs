use std::fmt;

use ndarray::{ArrayViewMut1, ArrayViewMut2};

use crate::{Defense, Error, Guarantee, Rng, Role, check_finite};

/// Rounding of every coordinate to 8, 4 or 1 bits, with a scale for each vector.
///
/// # What it does
/// 8 and 4 bits: the levels are the multiples of `max |x| / 127` or `max |x| / 7`, so the largest
/// coordinate is kept exactly and every other moves by at most half a step. 1 bit: the signs remain,
/// all coordinates of one size, and the vector's norm is kept; zero counts as positive. A vector of
/// zeros stays one. What comes out is the reconstruction in `f32`, of the same shape; rounding it
/// again changes nothing.
///
/// # Who it stops
/// Nobody, until measured: it is rounding, made for storage, and not known as a defense. It draws no
/// randomness and has no key. 1 bit takes away much of a vector and may hinder an inverter trained on
/// clean ones.
///
/// # Who it does not
/// An attacker who trains on rounded vectors. At 8 bits not even one who did not: the steps are far
/// below what inversion needs.
///
/// # What it costs in retrieval
/// 8 bits: next to nothing as a rule; 4 bits: little; 1 bit: a loss that depends on model and
/// dimension. Measure it on your corpus.
///
/// # Order in a stack
/// Last: after a [`Rotation`](crate::Rotation), which spreads large coordinates over all and so makes
/// rounding finer, and after [`GaussianNoise`](crate::GaussianNoise), whose guarantee survives
/// rounding. Rounding before the noise changes norms, and the noise then comes without a guarantee.
///
/// # Default
/// None: say how many bits.
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
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantization(Levels);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Levels {
    Signs,
    /// So many levels on either side of zero.
    Symmetric(u8),
}

impl Quantization {
    /// Rounding to `bits` bits a coordinate.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `bits` is 8, 4 or 1.
    pub fn new(bits: u32) -> Result<Self, Error> {
        match bits {
            8 => Ok(Self(Levels::Symmetric(127))),
            4 => Ok(Self(Levels::Symmetric(7))),
            1 => Ok(Self(Levels::Signs)),
            _ => Err(Error::Setting { name: "bits", expected: "8, 4 or 1" }),
        }
    }
}

impl Defense for Quantization {
    fn protect(&self, _: Role, mut vectors: ArrayViewMut2<'_, f32>, _: &mut Rng) -> Result<(), Error> {
        check_finite(&vectors)?;
        for row in vectors.rows_mut() {
            match self.0 {
                Levels::Signs => keep_signs(row),
                Levels::Symmetric(levels) => round(row, f64::from(levels)),
            }
        }
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::None
    }
}

/// Rounds to `levels` levels on either side of zero.
///
/// `levels · largest / levels` is exact in `f64`, so the largest coordinate and with it the scale are
/// the same the second time.
fn round(mut row: ArrayViewMut1<'_, f32>, levels: f64) {
    let largest = row.iter().fold(0.0, |largest: f64, &x| largest.max(f64::from(x).abs()));
    if largest > 0.0 {
        row.mapv_inplace(|x| ((f64::from(x) * levels / largest).round() * largest / levels) as f32);
    }
}

/// Leaves the signs, at the root mean square of the coordinates, which keeps the norm.
fn keep_signs(mut row: ArrayViewMut1<'_, f32>) {
    let sum: f64 = row.iter().map(|&x| f64::from(x).powi(2)).sum();
    let size = (sum / row.len() as f64).sqrt() as f32;
    row.mapv_inplace(|x| if x < 0.0 { -size } else { size });
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = match self.0 {
            Levels::Signs => 1,
            Levels::Symmetric(levels) => levels.ilog2() + 2,
        };
        write!(f, "quantization(bits={bits})")
    }
}
