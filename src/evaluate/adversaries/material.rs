use embosk_attacks::alignment::LEAST_CLOUD;
use ndarray::Array2;

use super::OWN_PAIRS;
use super::vectors::mean_norm;
use crate::evaluate::clean::Clean;

/// What an evaluation has to hand out to its adversaries, under whatever defense.
pub(in crate::evaluate) struct Material<'a> {
    pub(in crate::evaluate) clean: &'a Clean,
    /// The positions of the attacked documents, and of those whose pairs may have leaked.
    pub(in crate::evaluate) attacked: Vec<usize>,
    pub(in crate::evaluate) spare: Vec<usize>,
    pub(in crate::evaluate) seed: u64,
}

impl Material<'_> {
    /// How many texts of their own attackers make pairs of, where nobody says.
    pub(super) fn own_texts(&self) -> usize {
        self.clean.own.stored.nrows().min(OWN_PAIRS)
    }

    /// How many stored vectors a cloud has, of so many that are asked for. Where the attacker's texts are spare
    /// documents, none of them is both stored and their own.
    pub(super) fn cloud(&self, vectors: usize) -> usize {
        let documents = self.attacked.len() + self.spare.len();
        vectors.min(if self.clean.own_is_spare { documents / 2 } else { documents })
    }

    pub(super) fn has_clouds(&self) -> bool {
        self.cloud(OWN_PAIRS) >= LEAST_CLOUD
    }

    /// The factor that makes estimates as long, on average, as clean vectors of the attacker's own texts.
    pub(in crate::evaluate) fn lengthening(&self, estimates: &Array2<f32>) -> f32 {
        let longer = mean_norm(self.clean.own.attackable()) / mean_norm(estimates);
        if longer.is_finite() && longer > 0.0 { longer } else { 1.0 }
    }
}
