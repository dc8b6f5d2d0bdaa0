//! Which noise a vector gets under a key: a rule that the vector's last bits do not decide.
//!
//! Hashing a rounded vector would not do: of hundreds of coordinates some lie beside a boundary of
//! the rounding, and a last bit there would change everything. Here few coarse features are read, and
//! from one cell of their grid to the next the noise is blended over, so it is a continuous function
//! of the vector and has no boundary at all.

use chacha20::rand_core::Rng as _;
use ndarray::ArrayView1;
use zeroize::Zeroizing;

use crate::Rng;

/// Keyed directions, as many as a `u16` has bits for their signs.
const DIRECTIONS: usize = 16;
/// The directions, and the norm.
const FEATURES: usize = DIRECTIONS + 1;
/// Cells to a unit of a feature, which is about as far as unrelated vectors are apart in each.
const CELLS: f64 = 16.0;
/// The part of a cell, at its end, in which it is blended over into the next.
const MARGIN: f64 = 1.0 / 16.0;

/// A cell's number in each feature.
pub(crate) type Cell = [i64; FEATURES];

/// The grid for one key and dimension. This is a storage format: plain `f64` in a fixed order.
pub(crate) struct Grid {
    offsets: Zeroizing<[f64; FEATURES]>,
    /// For each coordinate, a bit a direction: whether it counts negatively.
    signs: Zeroizing<Vec<u8>>,
}

impl Grid {
    /// Draws the offsets, uniform in [0, 1), and then two bytes for each coordinate.
    pub(crate) fn draw(dim: usize, rng: &mut Rng) -> Self {
        let offsets = Zeroizing::new(std::array::from_fn(|_| rng.uniform()));
        let mut signs = Zeroizing::new(vec![0; 2 * dim]);
        rng.fill_bytes(&mut signs);
        Self { offsets, signs }
    }

    /// The cells whose noise makes up that of `vector`, with weights whose squares sum to 1, so that
    /// the blend is as normal as its parts.
    ///
    /// Most vectors are in the margin of one cell or none; a cell more doubles the list.
    pub(crate) fn cells_of(&self, vector: ArrayView1<'_, f32>) -> Vec<(f64, Cell)> {
        let features = self.features(vector);
        let places: [f64; FEATURES] = std::array::from_fn(|k| features[k] * CELLS + self.offsets[k]);
        let mut cells = vec![(1.0, places.map(|place| place.floor() as i64))];
        for (k, place) in places.into_iter().enumerate() {
            let within = (place - place.floor() - (1.0 - MARGIN)) / MARGIN;
            if within > 0.0 {
                blend_with_next(&mut cells, k, within);
            }
        }
        cells
    }

    /// The unit vector's coordinates in the keyed directions, all of size 1 and of either sign, and
    /// the logarithm of the norm. Zeros where the norm is 0.
    fn features(&self, vector: ArrayView1<'_, f32>) -> [f64; FEATURES] {
        let mut sums = [0.0; DIRECTIONS];
        let mut squares = 0.0;
        for (&value, signs) in vector.iter().zip(self.signs.as_chunks().0) {
            let (value, signs) = (f64::from(value), u16::from_le_bytes(*signs));
            squares += value * value;
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum += if signs >> k & 1 == 1 { -value } else { value };
            }
        }
        let norm = libm::sqrt(squares);
        let mut features = [0.0; FEATURES];
        if norm > 0.0 {
            features[..DIRECTIONS].iter_mut().zip(sums).for_each(|(feature, sum)| *feature = sum / norm);
            features[DIRECTIONS] = libm::log(norm);
        }
        features
    }
}

/// Lets each cell share its weight with the next in feature `k`, from all its own where `within` is 0
/// to none of it where that is 1.
fn blend_with_next(cells: &mut Vec<(f64, Cell)>, k: usize, within: f64) {
    let angle = std::f64::consts::FRAC_PI_2 * within;
    let (own, shared) = (libm::cos(angle), libm::sin(angle));
    for at in 0..cells.len() {
        let (weight, mut next) = cells[at];
        next[k] += 1;
        cells[at].0 = weight * own;
        cells.push((weight * shared, next));
    }
}
