//! The second stage of a search: candidates that coarse vectors found, ordered by exact ones.

use embosk_defenses::{Defense, Precision, Rerank, Stack};
use ndarray::{Array2, ArrayView1, ArrayView2};
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

/// Exact vectors as they are opened, and how the application compares them.
pub(crate) struct Exact {
    documents: Array2<f32>,
    queries: Array2<f32>,
    similarity: Similarity,
}

impl Exact {
    /// Takes documents and queries, `[rows, dim]`, as the embedder makes them. The documents are rounded as they are when
    /// they are sealed.
    pub(crate) fn new(
        [documents, queries]: [ArrayView2<'_, f32>; 2],
        rounding: Precision,
        similarity: Similarity,
    ) -> Result<Self, Error> {
        let [mut documents, mut queries] =
            [documents, queries].map(|vectors| vectors.as_standard_layout().into_owned());
        for mut row in documents.rows_mut() {
            row.as_slice_mut().map_or(Ok(()), |row| rounding.round(row))?;
        }
        if similarity != Similarity::Cosine {
            return Ok(Self { documents, queries, similarity });
        }
        // at norm 1, the cosine is the inner product
        normalize_rows(documents.view_mut());
        normalize_rows(queries.view_mut());
        Ok(Self { documents, queries, similarity: Similarity::Dot })
    }

    /// How alike a query and a document are. Adding 0 turns −0 into the 0 that it ties with.
    pub(crate) fn score(&self, query: usize, document: usize) -> f32 {
        let of = |a: &[f32], b: &[f32]| self.similarity.of(a, b) as f32 + 0.0;
        let rows: [ArrayView1<'_, f32>; 2] = [self.queries.row(query), self.documents.row(document)];
        match rows.each_ref().map(|row| row.as_slice()) {
            [Some(query), Some(document)] => of(query, document),
            _ => of(&rows[0].to_vec(), &rows[1].to_vec()),
        }
    }
}

/// What orders the candidates.
pub(super) struct SecondStage {
    pub(super) cost: Reranked,
    exact: Exact,
}

impl SecondStage {
    /// `None` where `stack` re-ranks nothing.
    pub(super) fn of(clean: &Clean, stack: &Stack, similarity: Similarity) -> Result<Option<Self>, Error> {
        let Some(rerank) = stack.reranking() else { return Ok(None) };
        let vectors = [clean.documents.stored.view(), clean.queries.view()];
        let exact = Exact::new(vectors, rerank.rounding(), similarity)?;
        Ok(Some(Self { cost: cost(&rerank, &exact.documents), exact }))
    }

    /// Orders the candidates of each query and keeps the `depth` best. Ties are broken by descending id.
    pub(super) fn order(&self, candidates: &[Hits], ids: &[String], depth: usize) -> Vec<Hits> {
        let places = tie_places(ids);
        let order = |(query, found): (usize, &Hits)| {
            let score = |&(document, _): &(usize, f32)| (document, self.exact.score(query, document));
            let mut hits: Hits = found.iter().map(score).collect();
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

fn cost(rerank: &Rerank, documents: &Array2<f32>) -> Reranked {
    let row_bytes = rerank.rounding().sealed_bytes(documents.ncols());
    let candidates = rerank.candidates().min(documents.nrows());
    Reranked { candidates, query_bytes: candidates * row_bytes, row_bytes }
}
