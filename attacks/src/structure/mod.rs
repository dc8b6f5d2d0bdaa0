//! Attacks on the structure that a keyed defense leaves in its vectors.
//!
//! [`FoundPermutation`] and [`FoundScaling`] are the maps of few parameters, which few pairs determine;
//! [`linkage`] asks whether vectors of the same texts under two keys can be told to belong together.

pub mod linkage;
mod scaling;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use self::scaling::FoundScaling;
pub use crate::permutation::FoundPermutation;
