//! embosk in DataFusion: a function of SQL that protects a column of vectors.
//!
//! [`protect`] makes the function, which a `SessionContext` registers.

mod function;
mod ids;
mod vectors;

use datafusion_expr::ScalarUDF;
use embosk::{OtherNorms, Registry};

/// Returns the function `protect(vector, 'spec' [, id])`, for `SessionContext::register_udf`.
///
/// - `vector` is a List, LargeList or FixedSizeList of float16, float32 or float64, and the result is one too. A null
///   stays null. Only the dimension changes, if a part of the spec changes it.
/// - `'spec'` is a constant. It names keys as `env:NAME` or `file:PATH`, which are read where the function runs, once
///   for each spec and dimension.
/// - `id` is the id of the row, for keyed noise: a string, a binary value or a whole number. Each must belong to one
///   text and version.
///
/// Vectors are protected as documents. The bytes are those of [`Stack`](embosk::Stack), in whatever batches they come.
///
/// # Errors
/// The query is not planned if the spec is outside the grammar, draws fresh noise, or has keyed noise without ids, or
/// if a column is of another type. It fails if a key cannot be read, for an id that is null, for a null, NaN or infinity
/// within a vector, and for vectors of several dimensions.
pub fn protect() -> ScalarUDF {
    protect_with(Registry::default())
}

/// Returns the function with a registry of your own: with keys from elsewhere than the environment
/// ([`Registry::key`]), or with your own defenses. These must draw no fresh noise, because DataFusion may call the
/// function twice for a row.
pub fn protect_with(registry: Registry) -> ScalarUDF {
    protect_on_other_norms(registry, OtherNorms::Accept)
}

/// Returns the function as [`protect_with`] does, and says what it does with vectors of another norm than 1 if the
/// strength of a defense is meant for norm 1: accepts, refuses or scales them, batch by batch. A function of SQL cannot
/// warn, so whoever accepts them is told nothing.
pub fn protect_on_other_norms(registry: Registry, other_norms: OtherNorms) -> ScalarUDF {
    ScalarUDF::new_from_impl(function::Protect::new(registry, other_norms))
}

/// The README's example, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
