//! Operations on tensors that candle lacks, or that candle would not keep on the calling thread.
//!
//! - candle's fused softmax and RMS norm have no backward pass; composed of single operations, they dominate a small
//!   model's training. candle's gradient of an embedding handles one token after the other on a GPU. Ours are one
//!   pass each, with a gradient, on a CPU and with CUDA.
//! - On a CPU, candle hands elementwise operations on 65,536 values or more to its own pool, and large products to
//!   rayon's pool. Both belong to the whole process. The first serves one caller at a time, and its idle threads
//!   spin. Ours run on the calling thread; [`threads`](crate::threads) spreads whole batches.
//!
//! On other devices each operation is candle's.

mod access;
mod add;
mod cross_entropy;
#[cfg(feature = "cuda")]
mod cuda;
mod curves;
mod embedding;
mod layer_norm;
mod matmul;
mod permute;
mod pieces;
mod relu;
mod rms_norm;
pub mod rows;
mod softmax;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub(crate) use self::access::{on_cpu, values};
pub use self::add::add;
pub use self::cross_entropy::cross_entropy;
pub(crate) use self::curves::{Curve, activated, gated, multiplied, scaled, times, with};
pub use self::embedding::embedding;
pub use self::layer_norm::layer_norm;
pub(crate) use self::layer_norm::{layer_norm_backward, layer_norm_in_place};
pub use self::matmul::matmul;
pub(crate) use self::matmul::{Matrix, multiplied_into};
pub(crate) use self::permute::{permuted, transposed};
pub use self::pieces::{in_pieces, log_softmax};
pub use self::relu::relu;
pub use self::rms_norm::rms_norm;
pub(crate) use self::rms_norm::{rms_norm_backward, rms_norm_into};
pub use self::softmax::softmax;
pub(crate) use self::softmax::softmax_backward;
