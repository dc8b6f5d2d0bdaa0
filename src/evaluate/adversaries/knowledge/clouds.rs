use embosk_attacks::alignment::{Clouds, LEAST_CLOUD};
use ndarray::{Array2, s};

use super::Knowledge;
use crate::Error;

/// Two clouds to align: vectors of different texts of one kind.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CloudVectors {
    /// Stored vectors, `[vectors, dim]`.
    pub stored: Array2<f32>,
    /// The attacked vectors, `[attacked, dim]`; those that are among the stored ones have the same values.
    pub attacked: Array2<f32>,
    /// Vectors of the attacker's own texts in the clean space, with as much noise as the stored ones.
    pub own: Array2<f32>,
    /// The same vectors without noise, [reduced](super::KnownDefense::reduced).
    pub clean: Array2<f32>,
}

impl CloudVectors {
    pub(super) fn of(knowledge: &Knowledge<'_>, vectors: usize) -> Result<Self, Error> {
        let material = knowledge.material();
        let (vectors, attacked) = (material.cloud(vectors), material.attacked.len());
        let seen = knowledge.stored_and_attacked(vectors)?;
        let first = if material.clean.own_is_spare { vectors.saturating_sub(attacked) } else { 0 };
        let own = knowledge.defense.made(s![first.., ..], knowledge.releases, 0)?.vectors;
        let attacked = match knowledge.others {
            None => seen.slice(s![..attacked, ..]).to_owned(),
            Some(_) => knowledge.attacked()?,
        };
        Ok(Self {
            stored: seen.slice(s![..vectors, ..]).to_owned(),
            attacked,
            own,
            clean: knowledge.defense.reduced(material.clean.own.stored.slice(s![first.., ..]).to_owned())?,
        })
    }

    /// Returns the vectors in the form that a map between clouds takes.
    pub fn view(&self) -> Clouds<'_> {
        Clouds { protected: self.stored.view(), own: self.own.view(), clean: self.clean.view() }
    }

    /// Returns whether both sides have enough vectors for a shape.
    pub fn have_shapes(&self) -> bool {
        self.stored.nrows().min(self.own.nrows()) >= LEAST_CLOUD
    }
}
