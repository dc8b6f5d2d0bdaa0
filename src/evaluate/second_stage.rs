//! The second stage of a search: candidates that coarse vectors found, ordered by exact ones.

use embosk_defenses::{Defense, Rerank, Stack};
use ndarray::Array2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::clean::Clean;
use super::metrics::{FIRST_STAGE_RECALL, TOP_10_KEPT};
use super::retrieval::{self, Hits, Judgements, normalize_rows, tie_places};
use super::statistics::{Score, mean};
use crate::Error;
use crate::embedder::Similarity;

/// A score that the evaluation measured as a whole, by its name.
pub(super) type Given = (&'static str, Option<Score>);

/// How many of the undefended search's documents should be among the candidates.
pub(super) const TOP: usize = 10;

/// What re-ranking costs each query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reranked {
    /// How many candidates are opened: as many as the stack says, or all documents if there are fewer.
    pub candidates: usize,
    /// How many bytes of sealed vectors the store sends.
    pub query_bytes: usize,
    /// How many bytes the sealed vector adds to each stored row.
    pub row_bytes: usize,
}

/// Exact vectors, of norm 1, as they are opened.
pub(super) struct SecondStage {
    pub(super) cost: Reranked,
    documents: Array2<f32>,
    queries: Array2<f32>,
}

impl SecondStage {
    /// `None` where `stack` re-ranks nothing.
    pub(super) fn of(clean: &Clean, stack: &Stack) -> Result<Option<Self>, Error> {
        let Some(rerank) = stack.reranking() else { return Ok(None) };
        let mut documents = clean.documents.stored.as_standard_layout().into_owned();
        let mut queries = clean.queries.clone();
        let round = |mut row: ndarray::ArrayViewMut1<'_, f32>| match row.as_slice_mut() {
            Some(row) => rerank.rounding().round(row),
            None => Ok(()),
        };
        documents.rows_mut().into_iter().try_for_each(round)?;
        normalize_rows(documents.view_mut());
        normalize_rows(queries.view_mut());
        Ok(Some(Self { cost: cost(&rerank, &documents), documents, queries }))
    }

    /// Orders the candidates of each query and keeps the `depth` best. Ties are broken by descending id.
    pub(super) fn order(&self, candidates: &[Hits], ids: &[String], depth: usize) -> Vec<Hits> {
        let places = tie_places(ids);
        let order = |(query, found): (usize, &Hits)| {
            let exact = self.queries.row(query);
            let mut hits: Hits = found
                .iter()
                .map(|&(document, _)| {
                    let score = score(exact, self.documents.row(document));
                    (document, score)
                })
                .collect();
            hits.sort_by(|a, b| b.1.total_cmp(&a.1).then(places[a.0].cmp(&places[b.0])));
            hits.truncate(depth);
            hits
        };
        candidates.par_iter().enumerate().map(order).collect()
    }
}

/// What the first stage kept: the names of the scores, and the scores.
pub(super) fn kept(
    candidates: &[Hits],
    undefended: &[Hits],
    judgements: &Judgements,
    seed: u64,
) -> Vec<Given> {
    let recall = judgements.scores(candidates, |found| retrieval::recall(found, usize::MAX));
    let share = |(found, best): (&Hits, &Hits)| {
        let best = &best[..best.len().min(TOP)];
        let kept = best.iter().filter(|(document, _)| found.iter().any(|(other, _)| other == document));
        kept.count() as f64 / best.len().max(1) as f64
    };
    let top: Vec<f64> = candidates.iter().zip(undefended).map(share).collect();
    vec![(FIRST_STAGE_RECALL, mean(&recall, seed)), (TOP_10_KEPT, mean(&top, seed))]
}

/// The cosine of two vectors of norm 1. Adding 0 turns −0 into the 0 that it ties with.
fn score(a: ndarray::ArrayView1<'_, f32>, b: ndarray::ArrayView1<'_, f32>) -> f32 {
    let of = |a: &[f32], b: &[f32]| Similarity::Dot.of(a, b) as f32 + 0.0;
    match (a.as_slice(), b.as_slice()) {
        (Some(a), Some(b)) => of(a, b),
        _ => of(&a.to_vec(), &b.to_vec()),
    }
}

fn cost(rerank: &Rerank, documents: &Array2<f32>) -> Reranked {
    let row_bytes = rerank.rounding().sealed_bytes(documents.ncols());
    let candidates = rerank.candidates().min(documents.nrows());
    Reranked { candidates, query_bytes: candidates * row_bytes, row_bytes }
}
