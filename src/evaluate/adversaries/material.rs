use embosk_attacks::alignment::LEAST_CLOUD;
use ndarray::Array2;

use super::OWN_PAIRS;
use super::vectors::mean_norm;
use crate::evaluate::clean::Clean;

/// What an evaluation can hand out to its adversaries, whatever the defense.
pub(in crate::evaluate) struct Material<'a> {
    pub(in crate::evaluate) clean: &'a Clean,
    /// The positions of the attacked documents, and of those whose pairs may have leaked.
    pub(in crate::evaluate) attacked: Vec<usize>,
    pub(in crate::evaluate) spare: Vec<usize>,
    pub(in crate::evaluate) seed: u64,
}

impl Material<'_> {
    /// Returns how many of their own texts attackers make pairs from by default.
    pub(super) fn own_texts(&self) -> usize {
        self.clean.own.stored.nrows().min(OWN_PAIRS)
    }

    /// Returns the documents of this many leaked pairs: the last ones, because the first may be the texts of the
    /// attacker's own pairs.
    pub(in crate::evaluate) fn leaked(&self, pairs: usize) -> &[usize] {
        &self.spare[self.spare.len().saturating_sub(pairs)..]
    }

    /// Returns how many stored vectors a cloud has if this many are asked for. If the attacker's texts are
    /// spare documents, no document is both a stored one and the attacker's own.
    pub(super) fn cloud(&self, vectors: usize) -> usize {
        let documents = self.attacked.len() + self.spare.len();
        vectors.min(if self.clean.own_is_spare { documents / 2 } else { documents })
    }

    pub(super) fn has_clouds(&self) -> bool {
        self.cloud(OWN_PAIRS) >= LEAST_CLOUD
    }

    /// Returns the factor that makes estimates as long, on average, as clean vectors of the attacker's own
    /// texts.
    pub(in crate::evaluate) fn lengthening(&self, estimates: &Array2<f32>) -> f32 {
        let longer = mean_norm(self.clean.own.attackable()) / mean_norm(estimates);
        if longer.is_finite() && longer > 0.0 { longer } else { 1.0 }
    }
}
