//! T5 (Raffel et al., arXiv 1910.10683), for training and for decoding with beams.
//!
//! We have our own because candle-transformers' T5 takes no encoder inputs as vectors, has no padding masks, gives
//! the logits of only the last position, and has a cache that beams cannot reorder. Tensor names are Hugging Face's;
//! the shape of the model is read from the tensors.

mod blocks;
mod decoding;
mod encoder;
mod gradient;
mod model;
mod position;
mod tensors;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod tokenizer;

pub use self::blocks::EPSILON;
pub use self::decoding::Decoding;
pub use self::encoder::T5Encoder;
pub(crate) use self::gradient::Trace;
pub use self::model::{Memory, T5};
pub use self::position::MAX_DISTANCE;
pub(crate) use self::position::PositionBias;
pub use self::tensors::{Claims, PREFIX, settle, wanted};
pub use self::tokenizer::{EOS, PAD, tokenizer};
