//! Draws that sampling and intervals share.

use rand_chacha::rand_core::Rng;

/// Draws a number below `n`, each about as likely as another: to within `n` of 2⁶⁴.
pub(super) fn index_below(n: usize, rng: &mut impl Rng) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}
