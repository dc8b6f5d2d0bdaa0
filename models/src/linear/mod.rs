//! States times weights, `x · weightᵀ`: what most of a model's time goes into.

mod by_rows;
mod weight;

pub use self::by_rows::linear;
pub use self::weight::{Narrow, Precision, Weight};
