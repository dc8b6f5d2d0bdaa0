//! Seeded choices whose outcome never changes.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::evaluate::draws::index_below;

/// A stream of choices: ChaCha12 keyed by a label, a number and the seed.
///
/// An index below `n` is the high half of `next_u64() * n`. It uses no crate's distributions, because what a seed
/// gives is a data format.
#[derive(Debug, Clone)]
pub(super) struct Draw(ChaCha12Rng);

impl Draw {
    pub(super) fn new(label: [u8; 16], seed: u64) -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&label);
        key[16..24].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha12Rng::from_seed(key))
    }

    /// Draws an index below `n`; zero if `n` is zero.
    pub(super) fn below(&mut self, n: usize) -> usize {
        index_below(n, &mut self.0)
    }

    /// One of `values`, which are never empty.
    pub(super) fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// A multiple of `step` from `from` to `to`, both included.
    pub(super) fn stepped(&mut self, from: usize, to: usize, step: usize) -> usize {
        from + step * self.below((to - from) / step + 1)
    }

    /// Shuffles by Fisher–Yates, from the end.
    pub(super) fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }
}
