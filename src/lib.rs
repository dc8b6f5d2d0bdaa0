//! Privacy defenses for text embeddings, measured with the full vec2text attack.
//!
//! An embedding is close to its text: vec2text (Morris et al., EMNLP 2023, arXiv 2310.06816) recovers
//! most short texts word for word. Three nouns say what can be done about it:
//!
//! 1. A **defense** changes a batch of vectors ([`Defense`]); a [`Stack`] of defenses is itself one.
//! 2. An **attack** turns vectors back into text.
//! 3. An **evaluation** lets the attack and the retrieval task read the same protected vectors.
//!
//! Without features, the crate holds the defenses and [`Protected`], which puts them behind any embedding function.
//! The feature `evaluate` adds the evaluation, `vec2text` the attack and sentence-transformers embedders, `reference`
//! our own embedder and attack, which need no download, `hub` the download of others by name, `serve` a sidecar that
//! speaks OpenAI's `/v1/embeddings`, and `cli` the `embosk` command.

#[cfg(feature = "evaluate")]
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the command line alone uses all of it"))]
mod cache_folder;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "evaluate")]
#[cfg_attr(not(feature = "cli"), allow(dead_code, reason = "the command line alone uses all of it"))]
mod digest;
pub mod embedder;
mod error;
#[cfg(feature = "evaluate")]
pub mod evaluate;
#[cfg(feature = "evaluate")]
pub mod lines;
pub mod manual;
mod protected;
pub mod sealed;
#[cfg(feature = "serve")]
pub mod serve;

pub use embedder::Embedder;
#[cfg(feature = "evaluate")]
pub use embosk_attacks as attacks;
#[cfg(feature = "evaluate")]
use embosk_attacks::partial;
pub use embosk_defenses as defenses;
pub use embosk_defenses::{
    Codes, Dcpe, Defense, GaussianNoise, Guarantee, Key, Microaggregation, Norms, OtherNorms, Permutation,
    Precision, ProductQuantization, Projection, ProjectionFit, Quantization, Registry, Rerank, Rng, Role,
    Rotation, Scaling, Sealer, Spec, Stack,
};
#[cfg(feature = "vec2text")]
pub use embosk_models as models;
pub use error::{BoxError, Error};
#[cfg(feature = "evaluate")]
pub use evaluate::Evaluation;
/// The ndarray in whose arrays vectors are exchanged: `Array2` of another version is another type.
pub use ndarray;
pub use protected::Protected;
pub use sealed::Sealed;

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The manual's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../docs/start/protect.md")]
struct Protecting;

#[cfg(all(doctest, feature = "evaluate"))]
#[doc = include_str!("../docs/start/rust.md")]
struct MeasuringInRust;

#[cfg(all(doctest, feature = "evaluate"))]
#[doc = include_str!("../docs/understand/statistics.md")]
struct Statistics;

#[cfg(doctest)]
#[doc = include_str!("../docs/do/rerank.md")]
struct Reranking;

#[cfg(all(doctest, feature = "reference"))]
#[doc = include_str!("../docs/start/gate.md")]
struct Gate;
