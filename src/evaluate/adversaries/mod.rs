//! Adversaries: what an attacker has besides the protected vectors, and what they do with it before the
//! actual attack.
//!
//! You can implement [`Adversary`] yourself. Add yours with
//! [`Evaluation::adversary`](super::Evaluation::adversary), and it gets its row in the report like ours;
//! `examples/own_adversary.rs` shows one. To give it a name on the command line, implement [`NamedAdversary`]
//! and add it to a [`Registry`].

mod argument;
mod averaging;
mod informed;
mod knowledge;
mod leaked;
mod material;
mod naive;
mod needs;
mod registry;
mod restored;
mod retrained;
mod unpaired;
mod vectors;

use std::fmt::{Debug, Display};
use std::sync::Arc;

pub use argument::Argument;
pub use knowledge::{CloudVectors, Knowledge, KnownDefense, OwnDenoiser, OwnPairs, Pairs};
pub use needs::{Needs, TrainedOn};
pub use registry::*;
pub use restored::{Agreement, Mapped, Restored};

pub(super) use knowledge::Fits;
pub(super) use material::Material;
pub(super) use vectors::is_turned;
pub(crate) use vectors::widened;

use crate::Error;

/// How many of their own pairs attackers make by default, if they have enough texts.
pub(super) const OWN_PAIRS: usize = 10_000;

/// An attacker, defined by what they have besides the protected vectors.
///
/// `Display` prints the name, as on the command line and in reports: `leaked(768)`. The name is the
/// adversary's identity, so it contains all settings. Of two adversaries with the same name, an evaluation
/// runs one.
///
/// ```
/// use std::fmt;
///
/// use embosk::Error;
/// use embosk::evaluate::adversaries::{Adversary, Knowledge, Needs, Restored};
///
/// /// Treats the protected vectors as clean ones of the opposite sign.
/// #[derive(Debug)]
/// struct Negating;
///
/// impl fmt::Display for Negating {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         f.write_str("negating")
///     }
/// }
///
/// impl Adversary for Negating {
///     fn needs(&self) -> Needs {
///         Needs::default()
///     }
///
///     fn restore(&self, knowledge: &mut Knowledge<'_>) -> Result<Restored, Error> {
///         Ok(Restored::same(-knowledge.attacked()?))
///     }
/// }
/// ```
pub trait Adversary: Debug + Display + Send + Sync {
    /// Returns what the adversary must have. An evaluation refuses an adversary for which the corpus is too
    /// small.
    fn needs(&self) -> Needs;

    /// Turns the attacked protected vectors into the attack's input: estimates of the clean vectors, and the
    /// vectors by which hypotheses are ranked.
    ///
    /// An evaluation calls it again with other stored vectors in place of the attacked ones, to see which texts are in
    /// the store.
    ///
    /// # Errors
    /// When the adversary reads more than it [needs](Self::needs), or a map cannot be fitted.
    fn restore(&self, knowledge: &mut Knowledge<'_>) -> Result<Restored, Error>;

    /// Returns whether the adversary can gain anything over the others on this defense. If not, an evaluation
    /// of [every adversary](super::Evaluation::every_adversary) leaves it out. Default: yes.
    ///
    /// # Errors
    /// When the defense fails on the attacker's own vectors.
    fn can_gain(&self, defense: &KnownDefense<'_>) -> Result<bool, Error> {
        let _ = defense;
        Ok(true)
    }

    /// Returns whether the adversary tries to undo a key that turns the space, as stored under this defense. A budget
    /// does not pass a stack with such a key unless one of its adversaries does, with a leaked pair for each dimension or
    /// with success. Default: yes if the adversary [needs](Self::needs) leaked pairs or a cloud.
    ///
    /// # Errors
    /// When the defense fails on the attacker's own vectors.
    fn attacks_key(&self, defense: &KnownDefense<'_>) -> Result<bool, Error> {
        let _ = defense;
        let needs = self.needs();
        Ok(needs.leaked_pairs > 0 || needs.cloud > 0)
    }

    /// Returns whether the adversary knows the defense, apart from its key. If so, and if the defense has no
    /// key and draws nothing, hypotheses are ranked through the defense. Default: yes.
    fn knows_the_defense(&self) -> bool {
        true
    }
}

macro_rules! forward {
    ($pointer:ident) => {
        impl<A: Adversary + ?Sized> Adversary for $pointer<A> {
            fn needs(&self) -> Needs {
                (**self).needs()
            }

            fn restore(&self, knowledge: &mut Knowledge<'_>) -> Result<Restored, Error> {
                (**self).restore(knowledge)
            }

            fn can_gain(&self, defense: &KnownDefense<'_>) -> Result<bool, Error> {
                (**self).can_gain(defense)
            }

            fn attacks_key(&self, defense: &KnownDefense<'_>) -> Result<bool, Error> {
                (**self).attacks_key(defense)
            }

            fn knows_the_defense(&self) -> bool {
                (**self).knows_the_defense()
            }
        }
    };
}

forward!(Arc);
forward!(Box);
