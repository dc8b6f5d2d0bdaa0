//! The noise that a key determines, by row id or by vector: a storage format.

use std::fmt;

use hkdf::Hkdf;
use ndarray::{ArrayViewMut1, ArrayViewMut2};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::cells::{Cell, Grid};
use crate::{Key, Rng};

/// Names the defense and the version of its format: other noise needs another label.
const PURPOSE: &str = "embosk gaussian v1";

/// Noise under one key and of one size. Another `sigma` is other noise, not the same enlarged: from
/// two multiples of one noise, the vector could be computed.
pub(crate) struct KeyedNoise {
    fingerprint: String,
    secret: Zeroizing<[u8; 32]>,
    sigma: f64,
}

impl KeyedNoise {
    pub(crate) fn new(key: &Key, sigma: f64) -> Self {
        Self { fingerprint: key.fingerprint(), secret: key.derive(PURPOSE, 0), sigma }
    }

    /// Adds to `row` the noise of the row with this id.
    pub(crate) fn add_by_id(&self, id: &[u8], mut row: ArrayViewMut1<'_, f32>) {
        let mut rng = self.rng("id", row.len(), id);
        for (value, normal) in row.iter_mut().zip(rng.standard_normals()) {
            *value = (f64::from(*value) + self.sigma * normal) as f32;
        }
    }

    /// Adds to each row the noise of the vector that it is.
    pub(crate) fn add_by_vector(&self, mut vectors: ArrayViewMut2<'_, f32>) {
        let dim = vectors.ncols();
        let grid = Grid::draw(dim, &mut self.rng("grid", dim, &[]));
        let mut noise = Zeroizing::new(vec![0.0; dim]);
        for mut row in vectors.rows_mut() {
            noise.fill(0.0);
            for (weight, cell) in grid.cells_of(row.view()) {
                let mut rng = self.rng("cell", dim, &bytes_of(&cell));
                noise.iter_mut().zip(rng.standard_normals()).for_each(|(sum, x)| *sum += weight * x);
            }
            for (value, normal) in row.iter_mut().zip(noise.iter()) {
                *value = (f64::from(*value) + self.sigma * normal) as f32;
            }
        }
    }

    /// The generator for one purpose: HKDF-SHA256 expands the secret with the purpose, the bits of
    /// sigma and the dimension, 8 bytes big-endian each, and `of`.
    fn rng(&self, purpose: &str, dim: usize, of: &[u8]) -> Rng {
        let mut seed = Zeroizing::new([0; 32]);
        let (sigma, dim) = (self.sigma.to_bits().to_be_bytes(), (dim as u64).to_be_bytes());
        Hkdf::<Sha256>::from_prk(self.secret.as_ref())
            .expect("32 bytes are a key for HKDF-SHA256")
            .expand_multi_info(&[purpose.as_bytes(), &sigma, &dim, of], seed.as_mut())
            .expect("HKDF-SHA256 gives 32 bytes");
        Rng::from_seed(&seed)
    }
}

fn bytes_of(cell: &Cell) -> Vec<u8> {
    cell.iter().flat_map(|number| number.to_be_bytes()).collect()
}

impl PartialEq for KeyedNoise {
    fn eq(&self, other: &Self) -> bool {
        self.sigma == other.sigma && bool::from(self.secret.ct_eq(other.secret.as_ref()))
    }
}

/// Prints as the key does, by its fingerprint.
impl fmt::Display for KeyedNoise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fingerprint:{}", self.fingerprint)
    }
}

impl fmt::Debug for KeyedNoise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}
