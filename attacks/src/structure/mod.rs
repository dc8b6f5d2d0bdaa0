//! Attacks on the structure that a keyed defense leaves in its vectors.
//!
//! [`Permutation`] and [`Scaling`] are the maps of few parameters, which few pairs determine;
//! [`linkage`] asks whether vectors of the same texts under two keys can be told to belong together.

pub(crate) mod assignment;
pub mod linkage;
mod permutation;
mod scaling;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use self::permutation::Permutation;
pub(crate) use self::permutation::order;
pub use self::scaling::Scaling;
