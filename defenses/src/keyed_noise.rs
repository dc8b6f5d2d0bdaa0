//! Noise that a key determines, by row id or by vector. It is a storage format.

use std::fmt;
use std::sync::OnceLock;

use hkdf::Hkdf;
use ndarray::{ArrayViewMut1, ArrayViewMut2};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::cells::Grid;
use crate::parallel::for_pieces;
use crate::rows::with_scratch;
use crate::{Key, Rng};

/// Names the defense and the version of its format: other noise needs another label.
const PURPOSE: &str = "embosk gaussian v1";

/// Noise under one key and of one size. Another `sigma` gives different noise, not a multiple of the same noise: from
/// two multiples, the vector could be computed.
pub(crate) struct KeyedNoise {
    fingerprint: String,
    secret: Zeroizing<[u8; 32]>,
    sigma: f64,
    /// The grid of the first dimension.
    grids: OnceLock<Grid>,
}

impl KeyedNoise {
    /// The [fingerprint](Key::fingerprint) of the key.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn new(key: &Key, sigma: f64) -> Self {
        let (fingerprint, secret) = (key.fingerprint(), key.derive(PURPOSE, 0));
        Self { fingerprint, secret, sigma, grids: OnceLock::new() }
    }

    /// Adds to each row the noise that its id determines.
    pub(crate) fn add_by_id(&self, ids: &[&[u8]], vectors: ArrayViewMut2<'_, f32>) {
        let dim = vectors.ncols();
        for_pieces((vectors, ids), dim, 1, |_, (mut vectors, ids)| {
            for (mut row, id) in vectors.rows_mut().into_iter().zip(ids) {
                let mut rng = self.rng("id", dim, id);
                for (value, normal) in row.iter_mut().zip(rng.standard_normals()) {
                    *value = (f64::from(*value) + self.sigma * normal) as f32;
                }
            }
        });
    }

    /// Adds to each row the noise that its vector determines.
    pub(crate) fn add_by_vector(&self, vectors: ArrayViewMut2<'_, f32>) {
        let dim = vectors.ncols();
        if let Some(first) = self.grids.get().filter(|grid| grid.dim() == dim) {
            return self.add_by_grid(first, vectors);
        }
        let grid = Grid::draw(dim, &mut self.rng("grid", dim, &[]));
        self.add_by_grid(&grid, vectors);
        // Kept for the next batch. Of another dimension than the first, it is drawn each time.
        let _ = self.grids.set(grid);
    }

    fn add_by_grid(&self, grid: &Grid, vectors: ArrayViewMut2<'_, f32>) {
        let dim = vectors.ncols();
        for_pieces(vectors, dim, 1, |_, mut vectors| {
            with_scratch(dim, |noise| {
                for row in vectors.rows_mut() {
                    self.add_by_cells(grid, noise, row);
                }
            });
        });
    }

    fn add_by_cells(&self, grid: &Grid, noise: &mut [f64], mut row: ArrayViewMut1<'_, f32>) {
        noise.fill(0.0);
        for (weight, cell) in grid.cells_of(row.view()) {
            let mut rng = self.rng("cell", row.len(), cell.map(i64::to_be_bytes).as_flattened());
            noise.iter_mut().zip(rng.standard_normals()).for_each(|(sum, x)| *sum += weight * x);
        }
        for (value, normal) in row.iter_mut().zip(&*noise) {
            *value = (f64::from(*value) + self.sigma * normal) as f32;
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

impl PartialEq for KeyedNoise {
    fn eq(&self, other: &Self) -> bool {
        self.sigma == other.sigma && bool::from(self.secret.ct_eq(other.secret.as_ref()))
    }
}

impl fmt::Debug for KeyedNoise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(fingerprint:{})", self.fingerprint)
    }
}
