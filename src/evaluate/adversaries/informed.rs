use std::fmt;

use super::{Adversary, Argument, Knowledge, NamedAdversary, Needs, OWN_PAIRS, Restored, Room};
use crate::Error;

/// Knows the defense and its settings but not its key, and makes pairs from this many of their own texts.
///
/// Each text is protected three times if the vectors differ each time. If the defense needs a key, the
/// attacker draws fresh ones, and then undoes them. The attacker fits maps from protected to clean vectors on
/// the pairs, keeps the one that does best on held-out pairs
/// ([`Alignment`](embosk_attacks::alignment::Alignment)), and attacks what it restores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Informed(pub usize);

impl Adversary for Informed {
    fn needs(&self) -> Needs {
        Needs::default().own_texts(self.0)
    }

    fn restore(&self, knowledge: &mut Knowledge<'_>) -> Result<Restored, Error> {
        let attacked = knowledge.attacked()?;
        knowledge.denoiser(self.0)?.restore(&attacked.into())
    }
}

impl NamedAdversary for Informed {
    const NAME: &'static str = "informed";
    const USAGE: &'static str = "informed(n)";
    const SUMMARY: &'static str =
        "knows the defense without its key, and makes pairs of n texts of their own";

    fn parse(argument: &Argument<'_>) -> Result<Self, Error> {
        argument.number("pairs").map(Self)
    }

    fn defaults(room: &Room) -> Vec<Self> {
        Some(room.own_texts.min(OWN_PAIRS)).filter(|&pairs| pairs > 0).map(Self).into_iter().collect()
    }

    fn all(room: &Room) -> Vec<Self> {
        Self::defaults(room)
    }
}

impl fmt::Display for Informed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", Self::NAME, self.0)
    }
}
