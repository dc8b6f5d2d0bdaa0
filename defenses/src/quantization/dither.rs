//! Offsets that a key determines.

use chacha20::rand_core::Rng as _;
use zeroize::Zeroizing;

use crate::Key;

/// Names the offsets and the version of their format: others need another label.
const PURPOSE: &str = "embosk dither v1";

/// An offset for each dimension, in steps of the grid.
pub(super) type Offsets = Zeroizing<Vec<f64>>;

/// Subtractive dither under a key: an offset for each dimension, the same for all rows.
#[derive(Clone, PartialEq)]
pub(super) struct Dither(Key);

impl Dither {
    pub(super) fn new(key: &Key) -> Self {
        Self(key.clone())
    }

    pub(super) fn key(&self) -> &Key {
        &self.0
    }

    /// Numbers between -½ and ½, in steps of the grid: `(w + ½) / 2³² − ½` of the keystream's 32-bit
    /// words `w`, little-endian. This is a storage format.
    pub(super) fn offsets(&self, dim: usize) -> Offsets {
        const WORDS: f64 = (1_u64 << 32) as f64;
        let mut rng = self.0.rng(PURPOSE, dim);
        let mut offsets = Zeroizing::new(Vec::with_capacity(dim));
        offsets.extend((0..dim).map(|_| (f64::from(rng.next_u32()) + 0.5) / WORDS - 0.5));
        offsets
    }
}
