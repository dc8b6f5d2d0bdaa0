//! The laws that every defense keeps, as a test suite for any defense (feature `contract`).
//!
//! | law | what it demands |
//! |---|---|
//! | `finite` | ordinary vectors are accepted, for documents and queries, and come out finite |
//! | `zero row` | so is a row of zeros among them |
//! | `one row` | so is a single row |
//! | `range` | the smallest and largest numbers come out finite, or are refused and left as they are |
//! | `empty batch` | no rows, of any dimension, are accepted, and bind the defense to nothing |
//! | `refusal` | NaN, an infinity and an oversized row are refused by row; nothing is changed or bound |
//! | `seed` | the same seed gives the same output, bit for bit, from this defense and from one made like it |
//! | `dimension` | another dimension is accepted, or refused as [`Error::Dimension`](crate::Error::Dimension) with nothing changed |
//! | `views` | strided, column-major and reversed views are treated as their copies are, and nothing outside them changes |
//! | `rows` | without fresh randomness, a batch gives the same as its rows one by one, to 1e-5 |
//! | `roles` | queries are bound to what documents bound, and neither changes what the other becomes |
//! | `isometry` | with [`Guarantee::Isometry`](crate::Guarantee::Isometry), inner products are kept, also between the roles; with [`Guarantee::Contraction`](crate::Guarantee::Contraction), no distance becomes larger |
//! | `threads` | several threads may share the defense |
//! | `ids` | more or fewer ids than rows are refused, and so is what `protect` refuses, with nothing changed; a row's id, and not its batch, decides what becomes of it; without [`uses_ids`](Defense::uses_ids), ids make no difference |
//! | `output` | the output has the [dimension](Defense::dimension) that the defense states; owned vectors become what they become in place, bit for bit, or, if the dimension changes, are refused in place as [`Error::NotInPlace`](crate::Error::NotInPlace) with nothing changed |
//! | `inverse` | [`unprotect`](Defense::unprotect) gives the clean vectors again, to 1e-5, or refuses every batch as [`Error::NotInvertible`](crate::Error::NotInvertible); a batch that is refused is unchanged |
//! | `spec` | what it prints is read back as a defense that does the same, if the registry knows it |
//! | `key` | it prints a key's fingerprint and has an imitation, with another key, or neither; the key of [`Rerank`](crate::Rerank) changes no vector, and needs none |
//! | `space` | its [fingerprint](crate::Stack::fingerprint) is one line of ASCII and matches that of a defense made like it, before and after a batch; an isometry under another key has another fingerprint |
//!
//! The compiler ensures that the shape is kept in place and that a defense is `Send + Sync`. A panic breaks the law in
//! whose check it happens.
//!
//! Your own defense can run it in its tests, with `embosk-defenses = { version = "…", features = ["contract"] }`
//! among the dev-dependencies:
//!
//! ```
//! use embosk_defenses::{Defense, Error, Guarantee, Rng, Role, check_finite, contract};
//! use ndarray::ArrayViewMut2;
//!
//! /// Negates every coordinate.
//! #[derive(Debug)]
//! struct Negation;
//!
//! impl std::fmt::Display for Negation {
//!     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
//!         f.write_str("negation")
//!     }
//! }
//!
//! impl Defense for Negation {
//!     fn protect(&self, _: Role, mut vectors: ArrayViewMut2<'_, f32>, _: &mut Rng) -> Result<(), Error> {
//!         check_finite(&vectors)?; // without this line it breaks the law `refusal`
//!         vectors.mapv_inplace(|value| -value);
//!         Ok(())
//!     }
//!
//!     fn guarantee(&self) -> Guarantee {
//!         Guarantee::Isometry
//!     }
//! }
//!
//! contract::check(12, || Negation);
//! ```

mod inverse;
mod laws;
mod output;
mod subject;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{Defense, Registry};
use laws::LAWS;
use subject::Subject;

/// Checks every law on the defense that `make` makes, with vectors of dimension `dim`.
///
/// `make` is called many times and must make the same defense each time: a keyed one under a fixed key. `dim`, at
/// least 2, is the dimension that the defense is bound to, or any that it accepts. The vectors have norm 1, unless a
/// law is about other norms.
///
/// # Panics
/// If the defense breaks a law. The message names the defense, the law, and what happened.
pub fn check<D: Defense>(dim: usize, make: impl Fn() -> D) {
    check_in(&Registry::default(), dim, make);
}

/// Checks every law, as [`check`] does, with a registry that knows the defense, so that the law `spec` can read it
/// back.
///
/// # Panics
/// As [`check`].
pub fn check_in<D: Defense>(registry: &Registry, dim: usize, make: impl Fn() -> D) {
    assert!(dim >= 2, "the contract is checked with at least 2 dimensions");
    let make = || Box::new(make()) as Box<dyn Defense>;
    let subject = Subject::new(dim, registry, &make);
    for (name, law) in LAWS {
        let verdict = catch_unwind(AssertUnwindSafe(|| law(&subject)));
        if let Err(how) = verdict.unwrap_or_else(|_| Err("it panics".to_owned())) {
            panic!("`{}` breaks the law `{name}`: {how}", make());
        }
    }
}

/// Iterates over the laws' names, in the order in which they are checked.
pub fn laws() -> impl Iterator<Item = &'static str> {
    LAWS.iter().map(|(name, _)| *name)
}
