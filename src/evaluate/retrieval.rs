//! What a defense costs in retrieval: exact search, and its scores by the rules of trec_eval.
//!
//! Documents and queries are rows; a document is named by its row's index. A grade of 1 or more makes a
//! document relevant; a grade of 0, a negative one and none at all do not. All scores are in `0..=1`.

mod best;
mod codes;
mod metrics;
mod search;
mod trec;

use std::collections::HashMap;

use ndarray::ArrayViewMut2;

pub use codes::{search_bits, search_i8};
pub use metrics::{average_precision, mrr, ndcg, recall};
pub use search::search;
pub use trec::run_file;

/// The documents found for one query, best first, each with its score.
pub type Ranking = Vec<(usize, f32)>;

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
