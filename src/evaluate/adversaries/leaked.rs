use std::fmt;
use std::rc::Rc;

use embosk_attacks::alignment::{Alignment, Evidence, LEAST_CLOUD};

use super::vectors::mean_cosine;
use super::{
    Adversary, Agreement, Argument, CloudVectors, Knowledge, Mapped, NamedAdversary, Needs, OWN_PAIRS, Pairs,
    Restored, Room,
};
use crate::Error;

/// A mean cosine to clean vectors counts as worse if it is lower by more than this.
const WORSE: f32 = 0.01;

/// Has this many real pairs of a text and its protected vector.
///
/// The attacker undoes the key with the pairs. If there are few, stored vectors and the attacker's own texts
/// complete them. The rest is undone as by [`Informed`](super::Informed), with up to 10,000 of the attacker's
/// own pairs. If no key turns the space, the attacker's own pairs say as much as leaked ones. The attacker
/// then continues as `Informed`, unless the leaked pairs show that the attacker's own texts are of another
/// kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Leaked(pub usize);

impl Adversary for Leaked {
    fn needs(&self) -> Needs {
        Needs::default().leaked_pairs(self.0).own_texts_wanted(OWN_PAIRS)
    }

    fn restore(&self, knowledge: &mut Knowledge<'_>) -> Result<Restored, Error> {
        let attacked = knowledge.attacked()?;
        let Pairs { protected, clean } = knowledge.leaked_pairs(self.0)?;
        let (own_texts, between_spaces) = (knowledge.own_texts(), knowledge.is_between_spaces());
        let own = (own_texts >= LEAST_CLOUD && !between_spaces)
            .then(|| knowledge.denoiser(own_texts))
            .transpose()?;
        if let Some(own) = own.as_ref().filter(|own| !own.is_turned && self.0 <= own_texts) {
            let restored = own.restore(&protected.clone().into())?.estimate.vectors;
            if mean_cosine(&restored, &clean) > mean_cosine(&protected, &clean) - WORSE {
                return own.restore(&attacked.into());
            }
        }
        let map = if let Some(map) = knowledge.known_alignment(self.0) {
            map
        } else {
            let clouds = own.is_some().then(|| knowledge.clouds(OWN_PAIRS)).transpose()?;
            let clouds = clouds.filter(CloudVectors::have_shapes);
            let map = Rc::new(Alignment::fit_on(&Evidence {
                clouds: clouds.as_ref().map(CloudVectors::view),
                denoiser: own.as_ref().map(|own| &own.denoising),
                between_spaces,
                ..Evidence::pairs(protected.view(), clean.view())
            })?);
            knowledge.keep_alignment(self.0, &map);
            map
        };
        let agreement = Agreement::of(map.observed(protected.view())?.view(), clean.view());
        Ok(Restored::new(
            Mapped::by(map.to_string(), map.apply(attacked.view())?),
            Mapped::by(map.turn_name(), map.observed(attacked.view())?),
        )
        .agreement(agreement))
    }
}

impl NamedAdversary for Leaked {
    const NAME: &'static str = "leaked";
    const USAGE: &'static str = "leaked(k)";
    const SUMMARY: &'static str = "has k real pairs of a text and its protected vector";

    fn parse(argument: &Argument<'_>) -> Result<Self, Error> {
        argument.number("pairs").map(Self)
    }

    fn defaults(room: &Room) -> Vec<Self> {
        room.enough_pairs().map(Self).into_iter().collect()
    }

    fn all(room: &Room) -> Vec<Self> {
        [8, 32, 128, 384, 768, 2048].into_iter().filter(|&pairs| pairs <= room.spare).map(Self).collect()
    }
}

impl fmt::Display for Leaked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", Self::NAME, self.0)
    }
}
