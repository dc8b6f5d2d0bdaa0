//! What a defense costs in retrieval: exact search, and its scores by the rules of trec_eval.
//!
//! Documents and queries are rows; a document is named by its row's index. A grade of 1 or more makes a
//! document relevant; a grade of 0, a negative one and none at all do not. All scores are in `0..=1`.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::hash::BuildHasher;

use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use rayon::prelude::*;

use crate::Error;

// A block of scores (256 KiB) stays in a core's cache while it is sifted.
const QUERY_BLOCK: usize = 64;
const DOCUMENT_BLOCK: usize = 1024;

/// The documents found for one query, best first, each with its score.
pub type Ranking = Vec<(usize, f32)>;

/// The `k` documents of highest inner product for each query, best first: exact, with no index.
///
/// `documents` is `[documents, dim]`, `queries` is `[queries, dim]`, and `ids` names the documents. Pass rows
/// through [`normalize_rows`] first to rank by cosine. Ties are broken as trec_eval breaks them, by
/// descending id, compared as bytes; a score that is not a number ranks last, as −∞. Fewer than `k`
/// documents come back where there are fewer. The order does not depend on the number of threads.
///
/// # Errors
/// Where the two widths differ, or there is not one id for each document.
///
/// ```
/// # use embosk::evaluate::retrieval::search;
/// # use ndarray::array;
/// let documents = array![[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]];
/// let ids = ["a", "b", "c"].map(String::from);
/// let found = search(documents.view(), array![[2.0, 1.0]].view(), 2, &ids)?;
/// assert_eq!(found, [vec![(2, 2.0), (0, 2.0)]]);
/// # Ok::<(), embosk::Error>(())
/// ```
pub fn search(
    documents: ArrayView2<'_, f32>,
    queries: ArrayView2<'_, f32>,
    k: usize,
    ids: &[String],
) -> Result<Vec<Ranking>, Error> {
    if documents.ncols() != queries.ncols() {
        let (documents, queries) = (documents.ncols(), queries.ncols());
        return Err(Error::Setting(format!("documents of {documents} dimensions, queries of {queries}")));
    }
    if documents.nrows() != ids.len() {
        let (documents, ids) = (documents.nrows(), ids.len());
        return Err(Error::Setting(format!("{documents} documents do not have {ids} ids")));
    }
    let places = tie_places(ids);
    let blocks: Vec<_> = queries.axis_chunks_iter(Axis(0), QUERY_BLOCK).collect();
    let of_block = |queries| search_block(&documents, &queries, k, &places);
    Ok(blocks.into_par_iter().flat_map_iter(of_block).collect())
}

/// Whether every row has norm 1, to 1e-3: then a cosine is an inner product.
pub fn is_unit_norm(vectors: ArrayView2<'_, f32>) -> bool {
    vectors.rows().into_iter().all(|row| (row.dot(&row).sqrt() - 1.0).abs() < 1e-3)
}

/// Scales every row of `[rows, dim]` to length 1, so that inner products are cosines. Rows of zeros, and
/// rows whose length is not finite, stay as they are.
pub fn normalize_rows(mut vectors: ArrayViewMut2<'_, f32>) {
    for mut row in vectors.rows_mut() {
        let length = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        if length > 0.0 && length.is_finite() {
            row.mapv_inplace(|x| (f64::from(x) / length) as f32);
        }
    }
}

/// The relevance judgements of a test collection: for each query, the grades of its judged documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgements(pub Vec<HashMap<usize, i32>>);

impl Judgements {
    /// One score for each query that has a relevant document, in the order of the queries. `rankings` is
    /// what [`search`] gave for the same queries.
    ///
    /// ```
    /// # use embosk::evaluate::retrieval::{Judgements, ndcg};
    /// let judgements = Judgements(vec![[(7, 1)].into(), [(3, 0)].into()]);
    /// let rankings = [vec![(7, 0.9), (3, 0.1)], vec![(3, 0.8)]];
    /// assert_eq!(judgements.scores(&rankings, |ranking, judged| ndcg(ranking, judged, 10)), [1.0]);
    /// ```
    pub fn scores<M>(&self, rankings: &[Ranking], metric: M) -> Vec<f64>
    where
        M: Fn(&[usize], &HashMap<usize, i32>) -> Option<f64>,
    {
        let documents = |ranking: &Ranking| ranking.iter().map(|&(document, _)| document).collect::<Vec<_>>();
        self.0
            .iter()
            .zip(rankings)
            .filter_map(|(judged, ranking)| metric(&documents(ranking), judged))
            .collect()
    }
}

/// Normalised discounted cumulative gain of the first `k`, as trec_eval's `ndcg_cut`: the gain is the grade,
/// the discount at rank r is `log2(r + 1)`, and the ideal is taken over all judged documents.
///
/// `None` for a query without a relevant document: its score is undefined, and averages leave it out
/// (trec_eval leaves out a query that has no judgements, but counts 0 where all its grades are 0).
pub fn ndcg<S: BuildHasher>(ranking: &[usize], judged: &HashMap<usize, i32, S>, k: usize) -> Option<f64> {
    let mut ideal: Vec<i32> = judged.values().copied().filter(|&grade| grade > 0).collect();
    ideal.sort_unstable_by(|a, b| b.cmp(a));
    let found = ranking.iter().map(|document| judged.get(document).copied().unwrap_or(0).max(0));
    match (ideal.is_empty(), k) {
        (true, _) => None,
        (false, 0) => Some(0.0),
        (false, _) => Some(discounted_gain(found.take(k)) / discounted_gain(ideal.into_iter().take(k))),
    }
}

/// The share of the relevant documents that are among the first `k`, as trec_eval's `recall`.
///
/// `None` for a query without a relevant document, as for [`ndcg`].
pub fn recall<S: BuildHasher>(ranking: &[usize], judged: &HashMap<usize, i32, S>, k: usize) -> Option<f64> {
    let relevant = judged.values().filter(|&&grade| grade > 0).count();
    let found = ranking.iter().take(k).filter(|&&document| is_relevant(judged, document)).count();
    (relevant > 0).then(|| found as f64 / relevant as f64)
}

/// One over the rank of the first relevant document, 0 where the first `k` have none: trec_eval's
/// `recip_rank` on a run of `k` documents. Its mean over queries is MRR@k.
///
/// `None` for a query without a relevant document, as for [`ndcg`].
pub fn mrr<S: BuildHasher>(ranking: &[usize], judged: &HashMap<usize, i32, S>, k: usize) -> Option<f64> {
    let first = ranking.iter().take(k).position(|&document| is_relevant(judged, document));
    judged.values().any(|&grade| grade > 0).then(|| first.map_or(0.0, |rank| 1.0 / (rank + 1) as f64))
}

fn is_relevant<S: BuildHasher>(judged: &HashMap<usize, i32, S>, document: usize) -> bool {
    judged.get(&document).is_some_and(|&grade| grade > 0)
}

fn discounted_gain(grades: impl Iterator<Item = i32>) -> f64 {
    grades.enumerate().map(|(rank, grade)| f64::from(grade) / ((rank + 2) as f64).log2()).sum()
}

/// Where each document stands among documents of the same score: ids descending, twins by row.
fn tie_places(ids: &[String]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_by(|&a, &b| ids[b].cmp(&ids[a]));
    let mut places = vec![0; ids.len()];
    for (place, document) in order.into_iter().enumerate() {
        places[document] = place;
    }
    places
}

fn search_block(
    documents: &ArrayView2<'_, f32>,
    queries: &ArrayView2<'_, f32>,
    k: usize,
    places: &[usize],
) -> Vec<Ranking> {
    let mut best = vec![BinaryHeap::new(); queries.nrows()];
    for (block, documents) in documents.axis_chunks_iter(Axis(0), DOCUMENT_BLOCK).enumerate() {
        let scores = queries.dot(&documents.t());
        for (hits, scores) in best.iter_mut().zip(scores.rows()) {
            for (document, &score) in (block * DOCUMENT_BLOCK..).zip(scores) {
                keep_best(hits, k, Hit::new(document, score, places[document]));
            }
        }
    }
    best.into_iter().map(into_ranking).collect()
}

/// The heap's top is the worst hit kept.
fn keep_best(hits: &mut BinaryHeap<Hit>, k: usize, hit: Hit) {
    if hits.len() < k {
        hits.push(hit);
    } else if let Some(mut worst) = hits.peek_mut().filter(|worst| hit < **worst) {
        *worst = hit;
    }
}

fn into_ranking(hits: BinaryHeap<Hit>) -> Ranking {
    hits.into_sorted_vec().into_iter().map(|hit| (hit.document, hit.score)).collect()
}

/// A document found; the lesser of two hits is the better.
#[derive(Debug, Clone, Copy)]
struct Hit {
    score: f32,
    place: usize,
    document: usize,
}

impl Hit {
    /// Adding 0 turns −0, which some matrix products give, into the 0 that it has to tie with.
    fn new(document: usize, score: f32, place: usize) -> Self {
        let score = if score.is_nan() { f32::NEG_INFINITY } else { score + 0.0 };
        Self { score, place, document }
    }
}

impl Ord for Hit {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Hit {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Hit {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Hit {}
