use std::fmt;
use std::rc::Rc;

use embosk_attacks::alignment::{self, LEAST_CLOUD};

use super::{
    Adversary, Argument, Knowledge, KnownDefense, Mapped, NamedAdversary, Needs, OWN_PAIRS, Restored, Room,
};
use crate::Error;

/// Has this many stored vectors and at least as many texts of their own (10,000 if these are records), but no
/// pairs.
///
/// The attacker finds the map that aligns the cloud of stored vectors with the cloud of their own vectors
/// ([`alignment::CloudMap`]), and undoes the rest as [`Informed`](super::Informed) does. Fewer than 50
/// vectors have no shape, and an evaluation refuses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unpaired(pub usize);

impl Adversary for Unpaired {
    fn needs(&self) -> Needs {
        let needs = Needs::default().own_texts(self.0).own_texts_wanted(OWN_PAIRS);
        needs.cloud(self.0).embedder_space()
    }

    fn restore(&self, knowledge: &mut Knowledge<'_>) -> Result<Restored, Error> {
        let (map, attacked) = if let Some(map) = knowledge.known_cloud_map(self.0) {
            (map, knowledge.attacked()?)
        } else {
            let clouds = knowledge.clouds(self.0)?;
            let map = Rc::new(alignment::CloudMap::fit_on(&clouds.view(), None, &mut knowledge.rng())?);
            knowledge.keep_cloud_map(self.0, &map);
            (map, clouds.attacked)
        };
        let turned = Mapped::by(map.to_string(), map.apply(attacked.view())?);
        knowledge.denoiser(knowledge.own_texts())?.restore(&turned)
    }

    /// Returns whether there is a key to undo.
    fn can_gain(&self, defense: &KnownDefense<'_>) -> Result<bool, Error> {
        Ok(defense.is_keyed())
    }
}

impl NamedAdversary for Unpaired {
    const NAME: &'static str = "unpaired";
    const USAGE: &'static str = "unpaired(n)";
    const SUMMARY: &'static str =
        "has n stored vectors and at least as many texts of their own, but no pairs";

    fn parse(argument: &Argument<'_>) -> Result<Self, Error> {
        argument.number("vectors").map(Self)
    }

    fn all(room: &Room) -> Vec<Self> {
        let cloud = room.stored.min(room.own_texts).min(OWN_PAIRS);
        Some(cloud).filter(|&vectors| vectors >= LEAST_CLOUD).map(Self).into_iter().collect()
    }
}

impl fmt::Display for Unpaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", Self::NAME, self.0)
    }
}
