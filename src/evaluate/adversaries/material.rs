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
    /// Which cell this is of, if the key does something else to each cell of the space.
    pub(in crate::evaluate) cell: Option<Cell>,
}

/// The part of the material that lies in one cell. An attacker can tell which cell a stored vector is in.
pub(in crate::evaluate) struct Cell {
    pub(in crate::evaluate) number: usize,
    /// How many documents are attacked and spare in all cells.
    attacked: usize,
    spare: usize,
    /// The place of each attacked and each spare document of this cell among those of all cells, ascending.
    attacked_at: Vec<usize>,
    spare_at: Vec<usize>,
    /// The attacker's own texts in this cell, ascending.
    own: Vec<usize>,
}

/// The cells of the documents, and of the attacker's own texts.
pub(in crate::evaluate) struct CellsOf {
    pub(in crate::evaluate) documents: Vec<usize>,
    pub(in crate::evaluate) own: Vec<usize>,
}

impl<'a> Material<'a> {
    /// Returns what lies in one cell.
    pub(in crate::evaluate) fn in_cell(&self, number: usize, cells: &CellsOf) -> Material<'a> {
        let places = |documents: &[usize]| -> Vec<usize> {
            (0..documents.len()).filter(|&at| cells.documents[documents[at]] == number).collect()
        };
        let (attacked_at, spare_at) = (places(&self.attacked), places(&self.spare));
        Material {
            clean: self.clean,
            attacked: attacked_at.iter().map(|&at| self.attacked[at]).collect(),
            spare: spare_at.iter().map(|&at| self.spare[at]).collect(),
            seed: self.seed,
            cell: Some(Cell {
                number,
                attacked: self.attacked.len(),
                spare: self.spare.len(),
                attacked_at,
                spare_at,
                own: (0..cells.own.len()).filter(|&text| cells.own[text] == number).collect(),
            }),
        }
    }

    /// Returns how many spare documents there are in all cells.
    pub(super) fn all_spare(&self) -> usize {
        self.cell.as_ref().map_or(self.spare.len(), |cell| cell.spare)
    }

    /// Returns the attacker's own texts whose vectors make a cloud; `None` if these are all.
    pub(super) fn own_in_cell(&self) -> Option<&[usize]> {
        self.cell.as_ref().map(|cell| cell.own.as_slice())
    }

    /// Returns how many of their own texts attackers make pairs from by default.
    pub(super) fn own_texts(&self) -> usize {
        self.clean.own.stored.nrows().min(OWN_PAIRS)
    }

    /// Returns the documents of this many leaked pairs: the last ones, because the first may be the texts of the
    /// attacker's own pairs.
    pub(in crate::evaluate) fn leaked(&self, pairs: usize) -> &[usize] {
        let first = self.all_spare().saturating_sub(pairs);
        let first = self.cell.as_ref().map_or(first, |cell| cell.spare_at.partition_point(|&at| at < first));
        &self.spare[first..]
    }

    /// Returns how many stored vectors a cloud has if this many are asked for. If the attacker's texts are
    /// spare documents, no document is both a stored one and the attacker's own.
    pub(super) fn cloud(&self, vectors: usize) -> usize {
        let attacked = self.cell.as_ref().map_or(self.attacked.len(), |cell| cell.attacked);
        let documents = attacked + self.all_spare();
        let all = vectors.min(if self.clean.own_is_spare { documents / 2 } else { documents });
        self.cell.as_ref().map_or(all, |cell| {
            let before = |places: &[usize], end: usize| places.partition_point(|&at| at < end);
            before(&cell.attacked_at, all) + before(&cell.spare_at, all.saturating_sub(attacked))
        })
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
