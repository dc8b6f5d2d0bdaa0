use std::fmt;
use std::sync::Arc;

use super::{
    Adversary, Argument, Knowledge, KnownDefense, Leaked, NamedAdversary, Needs, Restored, Room, TrainedOn,
    Unpaired,
};
use crate::Error;

/// Runs an attack that was trained on vectors that the attacker protected; see
/// [`Evaluation::retrained`](crate::Evaluation::retrained).
///
/// ```
/// use embosk::evaluate::adversaries::{Leaked, Retrained};
///
/// assert_eq!(Retrained::new().to_string(), "retrained");
/// assert_eq!(Retrained::after(Leaked(768)).to_string(), "retrained(leaked(768))");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Retrained {
    after: Option<Arc<dyn Adversary>>,
}

impl Retrained {
    /// Attacks the protected vectors as they are.
    pub fn new() -> Self {
        Self::default()
    }

    /// Attacks the observed vectors of another adversary. Its map undoes the key; the noise is left to the
    /// attack, which was trained on noisy vectors.
    pub fn after(adversary: impl Adversary + 'static) -> Self {
        Self { after: Some(Arc::new(adversary)) }
    }
}

impl Adversary for Retrained {
    fn needs(&self) -> Needs {
        match &self.after {
            None => Needs::default().attack(TrainedOn::Protected).embedder_space(),
            Some(before) => before.needs().attack(TrainedOn::KeyUndone).embedder_space(),
        }
    }

    fn restore(&self, knowledge: &mut Knowledge<'_>) -> Result<Restored, Error> {
        match &self.after {
            None => Ok(Restored::same(knowledge.attacked()?)),
            Some(before) => Ok(Restored::same(before.restore(knowledge)?.observed)),
        }
    }

    /// Returns whether there is a key to undo, if undoing it is what the other adversary does.
    fn can_gain(&self, defense: &KnownDefense<'_>) -> Result<bool, Error> {
        Ok(self.after.is_none() || defense.is_keyed())
    }
}

impl NamedAdversary for Retrained {
    const NAME: &'static str = "retrained";
    const USAGE: &'static str = "retrained";
    const SUMMARY: &'static str = "runs an attack trained on protected vectors and, as retrained(leaked(k)), undoes the key first as leaked(k) does";

    fn parse(argument: &Argument<'_>) -> Result<Self, Error> {
        let Some(text) = argument.text() else { return Ok(Self::new()) };
        let before = Argument::of(text);
        let after = match before.name {
            Leaked::NAME => Leaked::parse(&before).map(Self::after),
            Unpaired::NAME => Unpaired::parse(&before).map(Self::after),
            _ => Err(Error::Empty("the map")),
        };
        after.map_err(|_| {
            Error::Setting(
                "`retrained` takes nothing in parentheses, or the adversary who undoes the key for it: \
                 retrained(leaked(768)) or retrained(unpaired(10000))"
                    .into(),
            )
        })
    }

    fn all(room: &Room) -> Vec<Self> {
        if !room.has_retrained {
            return Vec::new();
        }
        let after = room.enough_pairs().map(|pairs| Self::after(Leaked(pairs)));
        std::iter::once(Self::new()).chain(after).collect()
    }
}

impl fmt::Display for Retrained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.after {
            None => f.write_str(Self::NAME),
            Some(before) => write!(f, "{}({before})", Self::NAME),
        }
    }
}
