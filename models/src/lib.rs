//! Text models on candle, loaded from files and run: T5, BERT, and sentence-transformers embedders.
//!
//! The crate knows neither defenses nor attacks. Attacks build their models from its parts, and attacks and
//! defenses are measured with its embedders:
//!
//! ```no_run
//! use embosk_models::SentenceTransformer;
//!
//! let embedder = SentenceTransformer::load("models/all-MiniLM-L6-v2")?;
//! let vectors = embedder.encode(&["two", "texts"])?;
//! assert_eq!(vectors.dim(), (2, embedder.dimension()));
//! # Ok::<(), embosk_models::Error>(())
//! ```
//!
//! # Modules
//!
//! Each module uses only those above it:
//!
//! | module | what is in it |
//! |---|---|
//! | `error`, [`digest`], `location`, `stub`, [`eight_bits`] | errors; hashes of several parts; files on disk or in the program, and what may be there instead; values in 8 bits |
//! | [`weights`], [`hub`] | files of weights, in safetensors and PyTorch's pickles; models by name |
//! | [`threads`], [`kernels`], [`linear`] | one batch per thread; operations that stay on it; states times weights in 32, 16 or 8 bits |
//! | [`pooling`], `attention`, [`t5`], [`bert`], `rotary` | the models |
//! | [`sentence_transformer`] | a folder with a model, a tokenizer, pooling and layers after it |
//!
//! # Nothing global
//!
//! Loading and running a model changes nothing that belongs to the process: no setting of the matrix library,
//! and no floating-point mode except on threads that the call starts. Such threads end with the call. Only
//! the products of a single batch use rayon's pool, and candle's own pool is not used at all.
//!
//! # Features
//!
//! `hub` fetches models by their names. `cuda` adds our own kernels for training; `metal`, `mkl` and `accelerate` are
//! candle's.

mod attention;
pub mod bert;
pub mod digest;
pub mod eight_bits;
mod error;
pub mod hub;
mod json;
pub mod kernels;
pub mod linear;
mod location;
pub mod pooling;
mod rotary;
pub mod sentence_transformer;
mod stub;
pub mod t5;
pub mod threads;
pub mod weights;

/// Names the code of this crate: its version, and a hash of its sources.
///
/// Cached vectors are filed under it, because another version may compute different vectors from the same folder.
pub const CODE: &str = concat!(env!("CARGO_PKG_VERSION"), "-", env!("EMBOSK_MODELS_SOURCES"));

pub use error::{BoxError, Error};
pub use location::{Embedded, Location, Opened};
pub use sentence_transformer::SentenceTransformer;
