//! Defenses for text embeddings: transforms of a batch of vectors, in place, that make the texts
//! harder to recover from them.
//!
//! These defenses come with the crate, and a [`Stack`] of them is a defense too:
//!
//! | defense | written | what it does |
//! |---|---|---|
//! | [`GaussianNoise`] | `gaussian(sigma=0.01)` | adds noise to every coordinate, fresh or keyed |
//! | [`Quantization`] | `quantization(bits=8)` | rounds every coordinate to a few levels |
//! | [`ProductQuantization`] | `product_quantization(codebook=file:PATH)` | puts the nearest of a few learned pieces in each place |
//! | [`Rotation`] | `rotation(key=env:EMBOSK_KEY)` | turns the space by a secret rotation |
//! | [`Permutation`] | `permutation(key=env:EMBOSK_KEY)` | reorders the coordinates in secret |
//! | [`Scaling`] | `scaling(key=env:EMBOSK_KEY)` | multiplies all vectors by one secret factor |
//! | [`Dcpe`] | `dcpe(key=env:EMBOSK_KEY, beta=0.5)` | scales in secret and perturbs within a ball |
//!
//! With the feature `rayon`, large batches are worked on by all of rayon's threads; what comes out is the same,
//! bit for bit.
//!
//! Nothing here promises that a text cannot be recovered. What a defense is worth against a given
//! attacker is a number to be measured, and the `embosk` crate measures it.
//!
//! ```
//! use embosk_defenses::{Defense, GaussianNoise, Key, Rng, Role, Rotation, Stack};
//! use ndarray::array;
//!
//! let key = Key::generate()?;
//! let stack = Stack::new().with(Rotation::new(&key, 3)?).with(GaussianNoise::new(0.01)?);
//!
//! let mut vectors = array![[1.0_f32, 0.0, 0.0], [0.0, 0.6, 0.8]];
//! stack.protect(Role::Document, vectors.view_mut(), &mut Rng::from_os()?)?;
//! # Ok::<(), embosk_defenses::Error>(())
//! ```

#![allow(
    clippy::inline_always,
    reason = "what is not inlined is not compiled for wide registers: see `wide`"
)]

mod bound;
mod calibration;
mod cells;
mod check;
mod codes;
#[cfg(feature = "contract")]
pub mod contract;
mod dcpe;
mod error;
mod fingerprint;
mod gaussian;
mod guarantee;
mod haar;
mod hadamard;
mod key;
mod keyed_noise;
mod matrix;
mod normal;
mod parallel;
mod permutation;
mod product;
mod quantization;
mod rng;
mod rotation;
mod rows;
mod scaling;
mod spec;
mod stack;
mod stored;
mod wide;

use std::fmt::{Debug, Display};
use std::sync::Arc;

use ndarray::ArrayViewMut2;

pub use check::check_finite;
pub use codes::Codes;
pub use dcpe::Dcpe;
pub use error::Error;
pub use gaussian::GaussianNoise;
pub use guarantee::Guarantee;
pub use key::Key;
pub use permutation::Permutation;
pub use product::ProductQuantization;
pub use quantization::Quantization;
pub use rng::{Rng, StandardNormals};
pub use rotation::Rotation;
pub use scaling::Scaling;
pub use stack::Stack;

/// What a vector is for. A defense may treat the two sides of a search differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A vector that is stored and searched.
    Document,
    /// A vector that searches.
    Query,
}

/// A transform of a batch of vectors.
///
/// `Display` prints the defense as it is written in a spec, such as `gaussian(sigma=0.01)`, without
/// secrets.
///
/// ```
/// use embosk_defenses::{Defense, Error, Guarantee, Rng, Role, check_finite};
/// use ndarray::{ArrayViewMut2, array};
///
/// /// Turns every vector round.
/// #[derive(Debug)]
/// struct Negation;
///
/// impl std::fmt::Display for Negation {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         f.write_str("negation")
///     }
/// }
///
/// impl Defense for Negation {
///     fn protect(&self, _: Role, mut vectors: ArrayViewMut2<'_, f32>, _: &mut Rng) -> Result<(), Error> {
///         check_finite(&vectors)?;
///         vectors.mapv_inplace(|value| -value);
///         Ok(())
///     }
///
///     fn guarantee(&self) -> Guarantee {
///         Guarantee::Isometry
///     }
/// }
///
/// let mut vectors = array![[0.6_f32, 0.8]];
/// Negation.protect(Role::Document, vectors.view_mut(), &mut Rng::from_os()?)?;
/// assert_eq!(vectors, array![[-0.6, -0.8]]);
/// # Ok::<(), Error>(())
/// ```
pub trait Defense: Debug + Display + Send + Sync + 'static {
    /// Changes `vectors`, `[batch, dim]`, in place. The shape is kept; a batch of no rows is fine.
    ///
    /// # Errors
    /// [`Error::NotFinite`] where a row holds NaN, an infinity or values beyond `f32`'s range, and
    /// [`Error::Dimension`] where the defense is bound to another dimension. The vectors are then as
    /// they were.
    fn protect(&self, role: Role, vectors: ArrayViewMut2<'_, f32>, rng: &mut Rng) -> Result<(), Error>;

    /// What can be proved about the defense. Required, so that a wrapper never inherits a claim.
    fn guarantee(&self) -> Guarantee;

    /// This defense as somebody builds it who knows all of it but its key: under a key that he draws
    /// from `rng`. An adversary makes pairs of his own with it.
    ///
    /// `None`, the default, where there is no key. A keyed defense that leaves it so is measured as if
    /// its key were known: its privacy is understated, never overstated.
    fn imitation(&self, _rng: &mut Rng) -> Option<Arc<dyn Defense>> {
        None
    }

    /// Takes back what the key did to the space of `vectors`, `[batch, dim]`, which this defense protected: a
    /// rotation, an order of the coordinates, a factor. Noise and rounding stay. An adversary does so under
    /// a key of his own.
    ///
    /// `Ok(false)`, the default, where there is no key or the defense does not know how; the vectors are
    /// then of no use.
    ///
    /// # Errors
    /// As [`protect`](Self::protect).
    fn undo_key(&self, _vectors: ArrayViewMut2<'_, f32>) -> Result<bool, Error> {
        Ok(false)
    }
}

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

macro_rules! defense_behind {
    ($pointer:ident) => {
        impl<D: Defense + ?Sized> Defense for $pointer<D> {
            fn protect(
                &self,
                role: Role,
                vectors: ArrayViewMut2<'_, f32>,
                rng: &mut Rng,
            ) -> Result<(), Error> {
                (**self).protect(role, vectors, rng)
            }

            fn guarantee(&self) -> Guarantee {
                (**self).guarantee()
            }

            fn undo_key(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<bool, Error> {
                (**self).undo_key(vectors)
            }

            fn imitation(&self, rng: &mut Rng) -> Option<Arc<dyn Defense>> {
                (**self).imitation(rng)
            }
        }
    };
}

defense_behind!(Arc);
defense_behind!(Box);
