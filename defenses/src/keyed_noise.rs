//! Noise that a key determines, by row id or by vector. It is a storage format.

use std::fmt;
use std::sync::OnceLock;

use hkdf::Hkdf;
use ndarray::{ArrayViewMut1, ArrayViewMut2};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::cells::Grid;
use crate::key::expanded;
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
    first: OnceLock<Grid>,
}

impl KeyedNoise {
    /// The [fingerprint](Key::fingerprint) of the key.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn new(key: &Key, sigma: f64) -> Self {
        let (fingerprint, secret) = (key.fingerprint(), key.derive(PURPOSE, 0));
        Self { fingerprint, secret, sigma, first: OnceLock::new() }
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
        self.add_by_drawn(|| Grid::draw(dim, &mut self.rng("grid", dim, &[])), vectors);
    }

    /// Adds the noise of the first batch's grid, or of another one if the dimension is another. If several first batches
    /// come at once, one draws, and the others wait. A grid of another dimension is drawn each time.
    fn add_by_drawn(&self, draw: impl Fn() -> Grid, vectors: ArrayViewMut2<'_, f32>) {
        let first = self.first.get_or_init(&draw);
        if first.dim() == vectors.ncols() {
            self.add_by_grid(first, vectors);
        } else {
            self.add_by_grid(&draw(), vectors);
        }
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
        let (sigma, dim) = (self.sigma.to_bits().to_be_bytes(), (dim as u64).to_be_bytes());
        let hkdf =
            || Hkdf::<Sha256>::from_prk(self.secret.as_ref()).expect("32 bytes are a key for HKDF-SHA256");
        Rng::from_seed(&expanded(hkdf, &[purpose.as_bytes(), &sigma, &dim, of]))
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use ndarray::Array2;

    use super::*;

    #[test]
    fn first_batches_that_come_at_once_draw_once() {
        let noise = KeyedNoise::new(&Key::from_bytes([1; 32]), 0.1);
        let drawn = AtomicUsize::new(0);
        let add = |dim: usize| {
            let draw = || {
                drawn.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(50));
                Grid::draw(dim, &mut noise.rng("grid", dim, &[]))
            };
            noise.add_by_drawn(draw, Array2::zeros((1, dim)).view_mut());
        };
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| add(3));
            }
        });
        assert_eq!(drawn.load(Ordering::Relaxed), 1);
        // the first grid stays
        [5, 5, 3].into_iter().for_each(add);
        assert_eq!(drawn.load(Ordering::Relaxed), 3);
    }
}
