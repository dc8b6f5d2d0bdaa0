//! Adversaries: what an attacker has beside the protected vectors, and what they make of it before the attack
//! proper.
//!
//! [`Adversary`] is open. One of your own is added by [`Evaluation::adversary`](super::Evaluation::adversary) and
//! gets its row in the report like ours; `examples/own_adversary.rs` shows one. It becomes a name on the command
//! line by implementing [`NamedAdversary`] and a line in a [`Registry`].

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
pub use restored::{Mapped, Restored};

pub(super) use knowledge::Denoisers;
pub(super) use material::Material;
pub(super) use vectors::is_turned;

use crate::Error;

/// How many pairs of their own attackers make where nobody says, as far as they have texts for them.
pub(super) const OWN_PAIRS: usize = 10_000;

/// An attacker, by what they have beside the protected vectors.
///
/// `Display` prints the name, as on the command line and in reports: `leaked(768)`. The name is the adversary's
/// identity, so it holds all settings; of two with the same name an evaluation runs one.
///
/// ```
/// use std::fmt;
///
/// use embosk::Error;
/// use embosk::evaluate::adversaries::{Adversary, Knowledge, Needs, Restored};
///
/// /// Takes the protected vectors for clean ones of the opposite sign.
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
    /// What the adversary must have. The evaluation refuses to run one for whom the corpus has no room.
    fn needs(&self) -> Needs;

    /// Makes of the attacked protected vectors what is handed to the attack: an estimate of the clean vectors, and
    /// what hypotheses are ranked by.
    ///
    /// # Errors
    /// When the adversary reads more than it [needs](Self::needs), or a map cannot be fitted.
    fn restore(&self, knowledge: &mut Knowledge<'_>) -> Result<Restored, Error>;

    /// Whether the adversary can gain anything on a defense over the others. Where not, an evaluation of
    /// [every adversary](super::Evaluation::every_adversary) leaves it out. Default: yes.
    ///
    /// # Errors
    /// When the defense fails on the attacker's own vectors.
    fn can_gain(&self, defense: &KnownDefense<'_>) -> Result<bool, Error> {
        let _ = defense;
        Ok(true)
    }

    /// Whether the adversary knows the defense, but for its key. Hypotheses are then ranked through a defense that
    /// has no key and draws nothing. Default: yes.
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

            fn knows_the_defense(&self) -> bool {
                (**self).knows_the_defense()
            }
        }
    };
}

forward!(Arc);
forward!(Box);
