//! Which units the embedder's gradient would like to see in place of others.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis};

use super::words::Vocabulary;
use crate::{BoxError, Gradient, WhiteBox};

/// The units that are a single piece of the embedder's, and their embeddings.
#[derive(Debug)]
pub(super) struct Pieces {
    /// Numbers of units.
    pub(super) units: Vec<u32>,
    /// Their embeddings, `[units, width]`.
    embeddings: Array2<f32>,
    /// The embeddings of all pieces, `[vocabulary, width]`.
    table: Array2<f32>,
}

impl Pieces {
    /// Finds which of the first `count` units are a single piece.
    pub(super) fn new(
        white_box: &dyn WhiteBox,
        vocabulary: &Vocabulary,
        count: usize,
    ) -> Result<Self, BoxError> {
        let table = white_box.table()?.to_owned();
        let special = white_box.special();
        let (mut units, mut rows) = (Vec::new(), Vec::new());
        for unit in 0..count as u32 {
            if let [piece] = white_box.tokens(vocabulary.unit(unit))?[..]
                && !special.contains(&piece)
                && (piece as usize) < table.nrows()
            {
                units.push(unit);
                rows.push(piece as usize);
            }
        }
        Ok(Self { units, embeddings: table.select(Axis(0), &rows), table })
    }

    /// Estimates how much more similar to their targets hypotheses become if one unit is replaced, for each:
    /// `[places, units]`. `None` where the embedder's pieces cannot be assigned to the units.
    pub(super) fn swaps(
        &self,
        white_box: &dyn WhiteBox,
        hypotheses: &[Split],
        targets: ArrayView2<'_, f32>,
    ) -> Result<Vec<Array2<f32>>, BoxError> {
        let pieces: Vec<&[u32]> = hypotheses.iter().map(|hypothesis| hypothesis.pieces.as_slice()).collect();
        let gradients = white_box.gradients(&pieces, targets)?;
        Ok(hypotheses.iter().zip(&gradients).map(|(split, gradient)| self.of_one(split, gradient)).collect())
    }

    fn of_one(&self, split: &Split, gradient: &Gradient) -> Array2<f32> {
        let by_piece = &gradient.by_piece;
        let firsts: Vec<usize> = split.units.iter().map(|pieces| pieces.start).collect();
        let mut scores = by_piece.select(Axis(0), &firsts).dot(&self.embeddings.t());
        for (mut row, pieces) in scores.rows_mut().into_iter().zip(&split.units) {
            let there = |piece: usize| by_piece.row(piece).dot(&self.table.row(split.pieces[piece] as usize));
            row -= pieces.clone().map(there).sum::<f32>();
        }
        scores
    }
}

/// A hypothesis as the embedder splits it.
#[derive(Debug)]
pub(super) struct Split {
    pieces: Vec<u32>,
    /// The pieces of each unit.
    units: Vec<Range<usize>>,
}

impl Split {
    /// Splits a hypothesis, and finds each unit's pieces from those of the texts that end with it. `None` if a
    /// unit has no piece of its own, as beyond the embedder's window.
    pub(super) fn of(
        white_box: &dyn WhiteBox,
        vocabulary: &Vocabulary,
        hypothesis: &[u32],
    ) -> Result<Option<Self>, BoxError> {
        let pieces = white_box.tokens(&vocabulary.text(hypothesis))?;
        let mut units = Vec::with_capacity(hypothesis.len());
        let mut start = 0;
        for count in 1..=hypothesis.len() {
            let end = if count == hypothesis.len() {
                pieces.len()
            } else {
                white_box.tokens(&vocabulary.text(&hypothesis[..count]))?.len()
            };
            if end <= start || end > pieces.len() {
                return Ok(None);
            }
            units.push(start..end);
            start = end;
        }
        Ok(Some(Self { pieces, units }))
    }
}
