use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::ArrayView2;
use rayon::prelude::*;

use super::Hits;
use super::best::{Best, tie_places};
use crate::Error;

/// The scores of a block of queries and a block of documents (at most 1 MiB) stay in a core's cache while they are
/// scanned. The blocks do not depend on the number of threads, and so neither does rounding.
const QUERY_BLOCK: usize = 512;
const DOCUMENT_BLOCK: usize = 512;

/// Returns the `k` documents of highest inner product for each query, best first, by exact search without an index.
///
/// `documents` is `[documents, dim]`, `queries` is `[queries, dim]`, and `ids` names the documents. Pass rows through
/// [`normalize_rows`](super::normalize_rows) first to rank by cosine. Ties are broken as trec_eval breaks them, by
/// descending id, compared as bytes; a score that is not a number ranks last, as −∞. If there are fewer than `k`
/// documents, all are returned. The order does not depend on the number of threads.
///
/// # Errors
/// If the two widths differ, or there is not one id for each document.
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
) -> Result<Vec<Hits>, Error> {
    check(documents.dim(), queries.dim(), ids)?;
    let (count, dim) = queries.dim();
    let (documents, queries) = (documents.as_standard_layout(), queries.as_standard_layout());
    let (documents, queries) = (documents.as_slice().unwrap_or(&[]), queries.as_slice().unwrap_or(&[]));
    let multiply = |query_rows: Range<usize>, document_rows: Range<usize>, scores: &mut [f32]| {
        let (rows, columns) = (query_rows.len(), document_rows.len());
        let block = |rows: Range<usize>| rows.start * dim..rows.end * dim;
        let left = &queries[block(query_rows)];
        let right = &documents[block(document_rows)];
        matmul(
            MatMut::from_row_major_slice_mut(scores, rows, columns),
            Accum::Replace,
            MatRef::from_row_major_slice(left, rows, dim),
            MatRef::from_row_major_slice(right, columns, dim).transpose(),
            1.0,
            Par::Seq,
        );
    };
    Ok(search_blocks(count, k, ids, multiply))
}

/// Refuses vectors of different widths, and ids unless there is one for each document.
pub(super) fn check(documents: (usize, usize), queries: (usize, usize), ids: &[String]) -> Result<(), Error> {
    if documents.1 != queries.1 {
        let (documents, queries) = (documents.1, queries.1);
        return Err(Error::Setting(format!("documents of {documents} dimensions, queries of {queries}")));
    }
    if documents.0 != ids.len() {
        let (documents, ids) = (documents.0, ids.len());
        return Err(Error::Setting(format!("{documents} documents do not have {ids} ids")));
    }
    Ok(())
}

/// The rankings of this many queries, block by block and in parallel. `score` writes the scores of a range of queries
/// and a range of documents, `[queries, documents]`.
pub(super) fn search_blocks(
    queries: usize,
    k: usize,
    ids: &[String],
    score: impl Fn(Range<usize>, Range<usize>, &mut [f32]) + Sync,
) -> Vec<Hits> {
    let places = tie_places(ids);
    let document_blocks = even_blocks(ids.len(), DOCUMENT_BLOCK);
    let of_block = |block: Range<usize>| {
        let mut best: Vec<Best> = block.clone().map(|_| Best::new(k)).collect();
        let mut scores = vec![0.0; block.len() * DOCUMENT_BLOCK.min(ids.len())];
        for documents in &document_blocks {
            let scores = &mut scores[..block.len() * documents.len()];
            score(block.clone(), documents.clone(), scores);
            for (best, scores) in best.iter_mut().zip(scores.chunks(documents.len())) {
                best.offer(documents.start, scores, &places);
            }
        }
        best.into_iter().map(Best::into_hits).collect::<Vec<_>>()
    };
    // a few queries are spread over threads too
    let block = (queries / 8).clamp(16, QUERY_BLOCK);
    even_blocks(queries, block).into_par_iter().flat_map_iter(of_block).collect()
}

/// `0..n` in the fewest blocks of at most `most`, with lengths that differ by at most one. A remainder of a single
/// vector would be multiplied, and rounded, in another way.
fn even_blocks(n: usize, most: usize) -> Vec<Range<usize>> {
    let blocks = n.div_ceil(most);
    (0..blocks).map(|block| block * n / blocks..(block + 1) * n / blocks).collect()
}
