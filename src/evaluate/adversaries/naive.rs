use std::fmt;

use super::{Adversary, Argument, Knowledge, NamedAdversary, Needs, Restored, Room};
use crate::Error;

/// Knows nothing about the defense: the attack, trained on clean vectors, reads the protected ones as they
/// are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Naive;

impl Adversary for Naive {
    fn needs(&self) -> Needs {
        Needs::default().embedder_space()
    }

    fn restore(&self, knowledge: &mut Knowledge<'_>) -> Result<Restored, Error> {
        Ok(Restored::same(knowledge.attacked()?))
    }

    fn knows_the_defense(&self) -> bool {
        false
    }
}

impl NamedAdversary for Naive {
    const NAME: &'static str = "naive";
    const USAGE: &'static str = "naive";
    const SUMMARY: &'static str = "knows nothing of the defense";

    fn parse(argument: &Argument<'_>) -> Result<Self, Error> {
        argument.nothing().map(|()| Self)
    }

    fn defaults(_: &Room) -> Vec<Self> {
        vec![Self]
    }

    fn all(_: &Room) -> Vec<Self> {
        vec![Self]
    }
}

impl fmt::Display for Naive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAME)
    }
}
