//! Chooses the noise that a vector gets under a key, by a rule that does not depend on the vector's last bits.
//!
//! Hashing a rounded vector would not do. Of hundreds of coordinates, some lie next to a rounding boundary, where the
//! last bit would change everything. Instead, a few coarse features are read. The noise of a cell of their grid is
//! blended into that of the next, so the noise is a continuous function of the vector.

use chacha20::rand_core::Rng as _;
use ndarray::ArrayView1;
use zeroize::Zeroizing;

use crate::Rng;

/// Keyed directions. A `u16` holds the sign of each as a bit.
const DIRECTIONS: usize = 16;
/// The directions, and the norm.
const FEATURES: usize = DIRECTIONS + 1;
/// Cells per unit of a feature. Unrelated vectors are about a unit apart in each feature.
const CELLS: f64 = 16.0;
/// The part of a cell, at its end, in which it is blended into the next.
const MARGIN: f64 = 1.0 / 16.0;

/// A cell's number in each feature.
pub(crate) type Cell = [i64; FEATURES];

/// The grid for one key and dimension. This is a storage format: plain `f64` in a fixed order.
pub(crate) struct Grid {
    offsets: Zeroizing<[f64; FEATURES]>,
    /// For each coordinate, one bit per direction: whether it counts negatively.
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

    pub(crate) fn dim(&self) -> usize {
        self.signs.len() / 2
    }

    /// Returns the cells whose noise makes up that of `vector`. The squares of their weights sum to 1, so the blend
    /// has the same normal distribution as its parts.
    ///
    /// Most vectors are in the margin of one feature or none. Each further margin doubles the number of cells.
    pub(crate) fn cells_of(&self, vector: ArrayView1<'_, f32>) -> Cells {
        let features = self.features(vector);
        let places: [f64; FEATURES] = std::array::from_fn(|k| features[k] * CELLS + self.offsets[k]);
        let mut cells = Cells {
            cell: places.map(|place| place.floor() as i64),
            blended: [Blended::default(); FEATURES],
            margins: 0,
            next: 0,
        };
        for (feature, place) in places.into_iter().enumerate() {
            let within = (place - place.floor() - (1.0 - MARGIN)) / MARGIN;
            if within > 0.0 {
                cells.blended[cells.margins] = Blended::new(feature, within);
                cells.margins += 1;
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

/// A feature in which a cell shares its weight with the next one.
#[derive(Clone, Copy, Default)]
struct Blended {
    feature: usize,
    own: f64,
    shared: f64,
}

impl Blended {
    /// Blends from the cell alone, where `within` is 0, to the next cell alone, where it is 1.
    fn new(feature: usize, within: f64) -> Self {
        let angle = std::f64::consts::FRAC_PI_2 * within;
        Self { feature, own: libm::cos(angle), shared: libm::sin(angle) }
    }
}

/// Cells with their weights. For each blended feature, the next cells are appended to those so far. So bit `k` of a
/// cell's place says whether it is the next one in the k-th blended feature.
pub(crate) struct Cells {
    cell: Cell,
    blended: [Blended; FEATURES],
    margins: usize,
    next: usize,
}

impl Iterator for Cells {
    type Item = (f64, Cell);

    fn next(&mut self) -> Option<(f64, Cell)> {
        let place = self.next;
        if place >> self.margins != 0 {
            return None;
        }
        self.next += 1;
        let (mut weight, mut cell) = (1.0, self.cell);
        for (k, blended) in self.blended[..self.margins].iter().enumerate() {
            let is_next = place >> k & 1 == 1;
            weight *= if is_next { blended.shared } else { blended.own };
            cell[blended.feature] += i64::from(is_next);
        }
        Some((weight, cell))
    }
}
