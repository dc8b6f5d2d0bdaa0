//! Whether the undefended attack works, so that its failure under a defense says something, and what to do if it does
//! not.

mod advice;
mod retrained;
mod strength;

pub use advice::Advice;
pub(crate) use strength::NO_SCORE;
pub use strength::{AttackStrength, Shortfall};

pub(super) use advice::{Means, advice, for_others};
pub(super) use retrained::in_vain;
pub(super) use strength::{conclusive, reason, strengths};
