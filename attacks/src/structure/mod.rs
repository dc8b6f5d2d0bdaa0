//! Attacks on the structure that a keyed defense leaves in its vectors.
//!
//! [`FoundPermutation`] and [`FoundScaling`] are maps with few parameters, which few pairs determine. [`linkage`]
//! tests whether vectors of the same texts under two keys can be linked.

pub mod linkage;
mod scaling;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use self::scaling::FoundScaling;
pub use crate::permutation::FoundPermutation;
