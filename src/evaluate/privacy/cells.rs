//! Adversaries on stacks whose key does something else to each cell of the space: they attack cell by cell.

use std::collections::BTreeSet;
use std::rc::Rc;

use embosk_defenses::{Defense as _, Stack};
use ndarray::Array2;

use super::Trials;
use crate::Error;
use crate::evaluate::adversaries::{Adversary, CellsOf, Knowledge, KnownDefense, Mapped, Restored};

impl Trials<'_> {
    /// The cells of all documents and of the attacker's own texts; `None` if the stack has none.
    pub(super) fn cells(&mut self, stack: &Stack) -> Result<Option<Rc<CellsOf>>, Error> {
        let name = stack.to_string();
        if let Some(known) = self.cells.get(&name) {
            return Ok(known.clone());
        }
        let clean = self.material.clean;
        let of = |vectors: &Array2<f32>| stack.cells(vectors.view());
        let cells = match (of(&clean.documents.stored)?, of(&clean.own.stored)?) {
            (Some(documents), Some(own)) => Some(Rc::new(CellsOf { documents, own })),
            _ => None,
        };
        self.cells.insert(name, cells.clone());
        Ok(cells)
    }

    /// What `adversary` makes of the vectors of each cell, with the pairs and the clouds of that cell.
    pub(super) fn restored_by_cell(
        &mut self,
        (stack, cells): (&Stack, &CellsOf),
        adversary: &dyn Adversary,
        protected: &Array2<f32>,
        others: Option<&[usize]>,
    ) -> Result<Restored, Error> {
        let documents = others.unwrap_or(&self.material.attacked).to_vec();
        let mut parts = Vec::new();
        for cell in documents.iter().map(|&document| cells.documents[document]).collect::<BTreeSet<_>>() {
            let rows: Vec<usize> =
                (0..documents.len()).filter(|&row| cells.documents[documents[row]] == cell).collect();
            let of_cell: Vec<usize> = rows.iter().map(|&row| documents[row]).collect();
            let material = self.material.in_cell(cell, cells);
            let defense = KnownDefense::new(stack, &material);
            let mut knowledge = Knowledge::new(defense, protected, &adversary.needs(), &mut self.fits);
            if others.is_some() {
                knowledge = knowledge.of_others(&of_cell);
            }
            parts.push((rows, adversary.restore(&mut knowledge)?));
        }
        let estimates = parts.iter().map(|(rows, restored)| (rows.as_slice(), &restored.estimate));
        let observed = parts.iter().map(|(rows, restored)| (rows.as_slice(), &restored.observed));
        Ok(Restored::new(joined(documents.len(), estimates)?, joined(documents.len(), observed)?))
    }
}

/// The vectors of all cells in the order of their rows, under the names of all maps.
fn joined<'a>(count: usize, parts: impl Iterator<Item = (&'a [usize], &'a Mapped)>) -> Result<Mapped, Error> {
    let mut joined: Option<Array2<f32>> = None;
    let mut names = BTreeSet::new();
    for (rows, Mapped { vectors, map }) in parts {
        let all = joined.get_or_insert_with(|| Array2::zeros((count, vectors.ncols())));
        if vectors.dim() != (rows.len(), all.ncols()) {
            return Err(Error::Setting("an adversary restored cells to arrays of different shapes".into()));
        }
        names.extend(map.clone());
        for (&row, vector) in rows.iter().zip(vectors.rows()) {
            all.row_mut(row).assign(&vector);
        }
    }
    let map = (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join(" or "));
    Ok(Mapped { map, ..joined.unwrap_or_default().into() })
}
