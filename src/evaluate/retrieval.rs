//! What a defense costs in retrieval: exact search, and its scores by the rules of trec_eval.
//!
//! Documents and queries are rows; a document is identified by its row's index. A document is relevant if its grade
//! is 1 or more, and not if it has a grade of 0, a negative one or none. All scores are in `0..=1`.

mod best;
mod codes;
mod judgements;
mod metrics;
mod search;
mod trec;

use ndarray::{ArrayView2, ArrayViewMut2};

pub(super) use best::tie_places;
pub use codes::{search_bits, search_i8};
pub use judgements::{Graded, Judged, Judgements};
pub use metrics::{average_precision, mrr, ndcg, recall};
pub use search::search;
pub use trec::run_file;

/// The documents found for one query, best first, each with its score.
pub type Hits = Vec<(usize, f32)>;

/// Returns whether every row has norm 1, to 1e-3, so that a cosine is an inner product.
pub fn is_unit_norm(vectors: ArrayView2<'_, f32>) -> bool {
    let mut norms = vectors.rows().into_iter().map(|row| row.dot(&row).sqrt());
    norms.all(|norm| norm == 0.0 || (norm - 1.0).abs() < 1e-3)
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
