use std::fmt;

use super::argument::positive;
use super::{
    Adversary, Argument, Informed, Knowledge, KnownDefense, Leaked, NamedAdversary, Needs, OWN_PAIRS,
    Restored, Room, Unpaired,
};
use crate::Error;

/// Has several releases of each text, and averages them.
///
/// The means are attacked as by [`Leaked`] if pairs leaked, as by [`Unpaired`] if a key turns the space, and
/// as by [`Informed`] otherwise. Pairs and clouds are averaged in the same way.
///
/// ```
/// use embosk::evaluate::adversaries::Averaging;
///
/// assert_eq!(Averaging::new(16).leaked(768).to_string(), "averaging(16, 768)");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Averaging {
    releases: usize,
    leaked: usize,
}

impl Averaging {
    /// Averages this many releases, without any leaked pairs.
    pub fn new(releases: usize) -> Self {
        Self { releases, leaked: 0 }
    }

    /// Adds this many leaked pairs.
    pub fn leaked(self, pairs: usize) -> Self {
        Self { leaked: pairs, ..self }
    }
}

impl Adversary for Averaging {
    fn needs(&self) -> Needs {
        let own_texts = usize::from(self.leaked == 0);
        let needs = Needs::default().releases(self.releases).leaked_pairs(self.leaked);
        needs.own_texts(own_texts).own_texts_wanted(OWN_PAIRS)
    }

    fn restore(&self, knowledge: &mut Knowledge<'_>) -> Result<Restored, Error> {
        if self.leaked > 0 {
            Leaked(self.leaked).restore(knowledge)
        } else if self.attacks_key(knowledge.defense())? {
            Unpaired(OWN_PAIRS).restore(knowledge)
        } else {
            Informed(knowledge.own_texts()).restore(knowledge)
        }
    }

    /// Returns whether releases differ and, with leaked pairs, whether there is a key to undo.
    fn can_gain(&self, defense: &KnownDefense<'_>) -> Result<bool, Error> {
        Ok(defense.draws()? && (self.leaked == 0 || defense.is_keyed()))
    }

    /// Returns whether pairs leaked, or there are clouds and the attacker sees that the key turns the space.
    fn attacks_key(&self, defense: &KnownDefense<'_>) -> Result<bool, Error> {
        Ok(self.leaked > 0 || (defense.has_clouds() && defense.turns()?))
    }
}

impl NamedAdversary for Averaging {
    const NAME: &'static str = "averaging";
    const USAGE: &'static str = "averaging(r)";
    const SUMMARY: &'static str = "has r releases of each text and, as averaging(r, k), k real pairs";

    fn parse(argument: &Argument<'_>) -> Result<Self, Error> {
        let argument = argument.text().unwrap_or_default();
        let (releases, leaked) = match argument.split_once(',') {
            Some((releases, leaked)) => (releases, Some(leaked)),
            None => (argument, None),
        };
        match (positive(releases), leaked.map(positive)) {
            (Some(releases), None) => Ok(Self::new(releases)),
            (Some(releases), Some(Some(leaked))) => Ok(Self::new(releases).leaked(leaked)),
            _ => Err(Error::Setting(
                "`averaging` takes its number of releases, and perhaps one of leaked pairs: averaging(16) or \
                 averaging(16, 768)"
                    .into(),
            )),
        }
    }

    fn all(room: &Room) -> Vec<Self> {
        if room.own_texts == 0 {
            return Vec::new();
        }
        let with_pairs = room.enough_pairs().map(|pairs| Self::new(16).leaked(pairs));
        [4, 16, 64].map(Self::new).into_iter().chain(with_pairs).collect()
    }
}

impl fmt::Display for Averaging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { releases, leaked: 0 } => write!(f, "{}({releases})", Self::NAME),
            Self { releases, leaked } => write!(f, "{}({releases}, {leaked})", Self::NAME),
        }
    }
}
