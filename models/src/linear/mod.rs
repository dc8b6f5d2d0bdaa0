//! States times weights, `x · weightᵀ`, which takes most of a model's time.

mod by_rows;
mod packed;
mod weight;

pub use self::by_rows::linear;
pub use self::packed::Packed;
pub use self::weight::{Narrow, Precision, Weight};
