//! Exact search and its scores, for `embosk.retrieval` and retrieval on Spark.

use embosk::evaluate::retrieval::{Judged, ndcg, normalize_rows, search};
use pyo3::prelude::*;

use crate::argument::positive;
use crate::array::Vectors;
use crate::error::of;
use crate::threads::with_threads;

/// For each query, the rows of its `k` documents of highest cosine, best first, and their scores.
#[pyfunction]
pub(crate) fn search_exactly(
    py: Python<'_>,
    documents: &Bound<'_, PyAny>,
    queries: &Bound<'_, PyAny>,
    #[pyo3(from_py_with = count)] k: usize,
    ids: Vec<String>,
) -> PyResult<Vec<Vec<(usize, f32)>>> {
    let mut documents = Vectors::read(documents)?.values;
    let mut queries = Vectors::read(queries)?.values;
    let found = || {
        normalize_rows(documents.view_mut());
        normalize_rows(queries.view_mut());
        search(documents.view(), queries.view(), k, &ids)
    };
    py.detach(|| with_threads(found)).map_err(|error| of(&error))
}

/// The nDCG of the first `k` documents of a ranking, given the judged documents and their grades. `None` if none is
/// judged.
#[pyfunction]
pub(crate) fn ndcg_of(
    ranking: Vec<usize>,
    grades: Vec<(usize, i32)>,
    #[pyo3(from_py_with = count)] k: usize,
) -> Option<f64> {
    ndcg(&grades.into_iter().collect::<Judged>().graded(ranking), k)
}

fn count(k: &Bound<'_, PyAny>) -> PyResult<usize> {
    positive(k, "k").map(|k| k as usize)
}
