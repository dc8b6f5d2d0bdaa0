//! Defenses for text embeddings: each changes a batch of vectors, so that the texts are harder to recover from
//! them.
//!
//! These defenses come with the crate, and a [`Stack`] of them is a defense too:
//!
//! | defense | written | what it does |
//! |---|---|---|
//! | [`GaussianNoise`] | `gaussian(sigma=0.01)` | adds noise to every coordinate, fresh or keyed |
//! | [`Quantization`] | `quantization(bits=8)` | rounds every coordinate to a few levels |
//! | [`ProductQuantization`] | `product_quantization(codebook=file:PATH)` | replaces each piece of a vector by the nearest of a few learned ones |
//! | [`Rotation`] | `rotation(key=env:EMBOSK_KEY)` | rotates the space in secret |
//! | [`Projection`] | `projection(fit=file:PATH, dims=16)` | keeps a few principal components, or a few random directions under a key |
//! | [`Microaggregation`] | `microaggregation(groups=file:PATH)` | replaces each group of documents by one vector |
//! | [`Permutation`] | `permutation(key=env:EMBOSK_KEY)` | reorders the coordinates in secret |
//! | [`Scaling`] | `scaling(key=env:EMBOSK_KEY)` | multiplies all vectors by one secret factor |
//! | [`Rerank`] | `rerank(candidates=200, key=env:EMBOSK_KEY)` | must be last; orders candidates by exact vectors that are sealed beside the coarse ones |
//! | [`Dcpe`] | `dcpe(key=env:EMBOSK_KEY, beta=0.5)` | scales in secret and perturbs within a ball |
//!
//! - To write your own defense, implement [`Defense`] and run the contract on it, the test suite that every
//!   defense passes (feature `contract`). A [`Registry`] gives it a name in specs.
//! - To search protected vectors safely, store [`Stack::fingerprint`] beside them.
//! - With the feature `rayon`, all of rayon's threads work on large batches. Results are the same, bit for bit.
//!
//! Nothing here promises that a text cannot be recovered. What a defense is worth against a given attacker
//! has to be measured, and the `embosk` crate measures it.
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
mod difference;
mod error;
mod fingerprint;
mod gaussian;
mod guarantee;
mod haar;
mod hadamard;
mod key;
mod keyed_noise;
mod matrix;
mod microaggregation;
mod normal;
mod norms;
mod packing;
mod parallel;
mod permutation;
mod product;
mod projection;
mod quantization;
mod registry;
mod rerank;
mod rng;
mod rotation;
mod rows;
mod scaling;
mod sealing;
pub mod spec;
mod stack;
mod stored;
mod wide;

use std::fmt::{Debug, Display};
use std::sync::Arc;

use ndarray::{Array2, ArrayViewMut2};

pub use check::{check_finite, check_ids};
pub use codes::Codes;
pub use dcpe::Dcpe;
pub use difference::Difference;
pub use error::Error;
pub use fingerprint::Checked;
pub use gaussian::GaussianNoise;
pub use guarantee::Guarantee;
pub use key::{Key, is_open_to_others};
pub use microaggregation::{Maintained, Microaggregation};
pub use norms::{Norms, OtherNorms};
pub use packing::Packing;
pub use permutation::Permutation;
pub use product::ProductQuantization;
pub use projection::{Projection, ProjectionFit};
pub use quantization::Quantization;
pub use registry::{Parameters, Registry};
pub use rerank::{CANDIDATES as RERANK_CANDIDATES, Rerank};
pub use rng::{Rng, StandardNormals};
pub use rotation::Rotation;
pub use scaling::Scaling;
pub use sealing::{Precision, Refusal, Sealer};
pub use spec::Spec;
pub use stack::Stack;

/// What a vector is for. A defense may treat the two sides of a search differently.
///
/// A search has two sides, so there will be no third role.
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
/// Two methods are required. The others have defaults that are safe for any defense. A keyed defense also
/// overrides [`imitation`](Self::imitation), [`undo_key`](Self::undo_key) and usually [`space`](Self::space).
///
/// ```
/// use embosk_defenses::{Defense, Error, Guarantee, Rng, Role, check_finite};
/// use ndarray::{ArrayViewMut2, array};
///
/// /// Negates every coordinate.
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
    /// Changes `vectors`, `[batch, dim]`, in place. The shape is kept; a batch without rows is valid.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a row holds NaN, an infinity or values beyond `f32`'s range,
    /// [`Error::Dimension`] if the defense is bound to another dimension, and [`Error::NotInPlace`] if it
    /// [changes](Self::dimension) the dimension. The vectors are then unchanged.
    fn protect(&self, role: Role, vectors: ArrayViewMut2<'_, f32>, rng: &mut Rng) -> Result<(), Error>;

    /// Returns what can be proved about the defense. It is required, so that a wrapper never inherits a
    /// claim.
    fn guarantee(&self) -> Guarantee;

    /// Changes `vectors`, `[batch, dim]`, in place, with an id for each row: any bytes that identify one text
    /// and version. A defense that derives something from a key for each row, such as
    /// [keyed noise](crate::GaussianNoise::keyed), derives it from the id.
    ///
    /// The default checks the number of ids and then protects the vectors without them. Override
    /// [`uses_ids`](Self::uses_ids) together with this method.
    ///
    /// # Errors
    /// As [`protect`](Self::protect), and [`Error::RowIds`] unless there are as many ids as rows.
    fn protect_with_ids(
        &self,
        role: Role,
        ids: &[&[u8]],
        vectors: ArrayViewMut2<'_, f32>,
        rng: &mut Rng,
    ) -> Result<(), Error> {
        check_ids(ids, &vectors)?;
        self.protect(role, vectors, rng)
    }

    /// Returns whether ids make a difference to vectors of `role`. Default: no.
    fn uses_ids(&self, _role: Role) -> bool {
        false
    }

    /// Returns whether the strength of the defense is meant for vectors of norm 1: whether it hides less of longer
    /// vectors of `role`. Default: no.
    ///
    /// Whoever protects vectors then looks at their norms: see [`Norms`] and [`OtherNorms`].
    fn assumes_unit_norm(&self, _role: Role) -> bool {
        false
    }

    /// Returns the dimension of the output for vectors of `input` dimensions. Default: the same.
    ///
    /// A defense that changes the dimension, such as [`Projection`], overrides this method together with
    /// [`protect_owned`](Self::protect_owned). Its [`protect`](Self::protect) then refuses vectors as
    /// [`Error::NotInPlace`].
    ///
    /// # Errors
    /// [`Error::Dimension`] or [`Error::Setting`] if the defense takes no vectors of `input` dimensions.
    fn dimension(&self, input: usize) -> Result<usize, Error> {
        Ok(input)
    }

    /// Protects `vectors`, `[batch, dim]`, and returns what they become:
    /// `[batch, `[`dimension(dim)`](Self::dimension)`]`. If the dimension is kept, the result is that of
    /// [`protect`](Self::protect), bit for bit.
    ///
    /// # Errors
    /// As [`protect`](Self::protect).
    fn protect_owned(
        &self,
        role: Role,
        mut vectors: Array2<f32>,
        rng: &mut Rng,
    ) -> Result<Array2<f32>, Error> {
        self.protect(role, vectors.view_mut(), rng)?;
        Ok(vectors)
    }

    /// Protects `vectors`, `[batch, dim]`, with an id for each row, and returns what they become:
    /// [`protect_with_ids`](Self::protect_with_ids) for owned vectors. If the dimension changes, the default
    /// checks the number of ids and then protects the vectors without them.
    ///
    /// # Errors
    /// As [`protect_with_ids`](Self::protect_with_ids).
    fn protect_owned_with_ids(
        &self,
        role: Role,
        ids: &[&[u8]],
        mut vectors: Array2<f32>,
        rng: &mut Rng,
    ) -> Result<Array2<f32>, Error> {
        check_ids(ids, &vectors)?;
        let input = vectors.ncols();
        if self.dimension(input).is_ok_and(|output| output != input) {
            return self.protect_owned(role, vectors, rng);
        }
        self.protect_with_ids(role, ids, vectors.view_mut(), rng)?;
        Ok(vectors)
    }

    /// Returns what clean `vectors`, `[batch, dim]`, become without the key, the noise and the rounding of this
    /// defense. An attacker who knows everything but the key, and has undone it, compares protected vectors with
    /// these.
    ///
    /// A defense that keeps the dimension leaves them as they are, and so does a keyed one: what a key does to the
    /// dimension is undone too. One that changes the dimension without a key, such as a fitted [`Projection`],
    /// returns what [`protect_owned`](Self::protect_owned) makes of them with a fixed seed; override this method if
    /// that draws noise.
    ///
    /// # Errors
    /// As [`protect_owned`](Self::protect_owned).
    fn reduced(&self, vectors: Array2<f32>) -> Result<Array2<f32>, Error> {
        let input = vectors.ncols();
        let rng = &mut Rng::seeded(0);
        if self.dimension(input)? == input || self.imitation(rng).is_some() {
            return Ok(vectors);
        }
        self.protect_owned(Role::Document, vectors, rng)
    }

    /// Returns, as a value, what `Display` prints: a part with its parameters, each key by its fingerprint.
    ///
    /// The default parses what `Display` prints. A text outside the grammar of specs becomes one part that
    /// holds the text.
    fn spec(&self) -> Spec {
        Spec::of_printed(&self.to_string())
    }

    /// Returns what documents and queries must have in common to be searched, for the
    /// [fingerprint](Stack::fingerprint) of a stack. Vectors in one space cannot be compared with those in
    /// another.
    ///
    /// A rotation returns its key, its kind and its dimension. Noise returns the empty [`Spec`]: noisy
    /// documents and clean queries are in the same space. A dimension is the parameter `dim`, which is left
    /// out until it is known; everything else is compared as it is.
    ///
    /// By default it is the whole [`spec`](Self::spec). That is safe: a setting that makes no difference may
    /// raise a false alarm, but one that does is never missed, as long as `Display` prints it.
    fn space(&self) -> Spec {
        self.spec()
    }

    /// Returns an equivalent defense under a fresh key, which is drawn from `rng`. An attacker who knows
    /// everything about this defense except its key can build it, and makes their own pairs with it.
    ///
    /// `None`, the default, means that there is no key. A keyed defense that keeps the default is measured as
    /// if its key were known: its privacy is understated, never overstated.
    fn imitation(&self, _rng: &mut Rng) -> Option<Arc<dyn Defense>> {
        None
    }

    /// Undoes what the key did to the space of `vectors`, `[batch, dim]`, which this defense protected: a
    /// rotation, an order of the coordinates, or a factor. Noise and rounding stay. An adversary calls this
    /// for their own key.
    ///
    /// `Ok(false)`, the default, means that there is no key or that the defense cannot undo it. The vectors
    /// may then hold anything.
    ///
    /// # Errors
    /// As [`protect`](Self::protect).
    fn undo_key(&self, _vectors: ArrayViewMut2<'_, f32>) -> Result<bool, Error> {
        Ok(false)
    }

    /// Undoes [`protect`](Self::protect) on `vectors`, `[batch, dim]`, in place, up to `f32` rounding, as far as
    /// the output determines the input: for rotations, permutations, scalings and stacks of them.
    ///
    /// # Errors
    /// [`Error::NotInvertible`], by default and even without rows, and otherwise as `protect`. The vectors are
    /// then unchanged.
    fn unprotect(&self, _vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        Err(Error::not_invertible(self, "it has no inverse"))
    }

    /// Returns what packs the vectors, if this is a quantization. Default: `None`.
    fn packing(&self) -> Option<Packing<'_>> {
        None
    }

    /// Returns how the candidates of a search are ordered, if this is a [`Rerank`] or a stack that ends in one.
    /// Default: `None`.
    fn reranking(&self) -> Option<Rerank> {
        None
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

            fn protect_with_ids(
                &self,
                role: Role,
                ids: &[&[u8]],
                vectors: ArrayViewMut2<'_, f32>,
                rng: &mut Rng,
            ) -> Result<(), Error> {
                (**self).protect_with_ids(role, ids, vectors, rng)
            }

            fn uses_ids(&self, role: Role) -> bool {
                (**self).uses_ids(role)
            }

            fn assumes_unit_norm(&self, role: Role) -> bool {
                (**self).assumes_unit_norm(role)
            }

            fn dimension(&self, input: usize) -> Result<usize, Error> {
                (**self).dimension(input)
            }

            fn protect_owned(
                &self,
                role: Role,
                vectors: Array2<f32>,
                rng: &mut Rng,
            ) -> Result<Array2<f32>, Error> {
                (**self).protect_owned(role, vectors, rng)
            }

            fn protect_owned_with_ids(
                &self,
                role: Role,
                ids: &[&[u8]],
                vectors: Array2<f32>,
                rng: &mut Rng,
            ) -> Result<Array2<f32>, Error> {
                (**self).protect_owned_with_ids(role, ids, vectors, rng)
            }

            fn reduced(&self, vectors: Array2<f32>) -> Result<Array2<f32>, Error> {
                (**self).reduced(vectors)
            }

            fn spec(&self) -> Spec {
                (**self).spec()
            }

            fn space(&self) -> Spec {
                (**self).space()
            }

            fn undo_key(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<bool, Error> {
                (**self).undo_key(vectors)
            }

            fn unprotect(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
                (**self).unprotect(vectors)
            }

            fn packing(&self) -> Option<Packing<'_>> {
                (**self).packing()
            }

            fn reranking(&self) -> Option<Rerank> {
                (**self).reranking()
            }

            fn imitation(&self, rng: &mut Rng) -> Option<Arc<dyn Defense>> {
                (**self).imitation(rng)
            }
        }
    };
}

defense_behind!(Arc);
defense_behind!(Box);
