use std::fmt::Write as _;

use super::Hits;
use crate::Error;

/// Writes the rankings as a run file of trec_eval: for each document found, a line with query id, `Q0`, document id,
/// rank from 1, score, and `tag`, the run's name, separated by spaces.
///
/// `queries` and `documents` are the ids; a score is written so that reading it gives the same `f32`, so
/// that trec_eval sees the same ties.
///
/// # Errors
/// If an id or the tag is empty or contains white space, which would shift the columns; if there is not one query id
/// for each ranking; or if a ranking holds a document that has no id.
///
/// ```
/// # use embosk::evaluate::retrieval::run_file;
/// let (queries, documents) = (["q1"].map(String::from), ["a", "b"].map(String::from));
/// let run = run_file("mine", &queries, &documents, &[vec![(1, 0.5), (0, 0.25)]])?;
/// assert_eq!(run, "q1 Q0 b 1 0.5 mine\nq1 Q0 a 2 0.25 mine\n");
/// # Ok::<(), embosk::Error>(())
/// ```
pub fn run_file(
    tag: &str,
    queries: &[String],
    documents: &[String],
    rankings: &[Hits],
) -> Result<String, Error> {
    if queries.len() != rankings.len() {
        return Err(Error::Setting(format!("{} rankings, but {} query ids", rankings.len(), queries.len())));
    }
    let mut run = String::new();
    for (query, ranking) in queries.iter().zip(rankings) {
        for (&(document, score), rank) in ranking.iter().zip(1..) {
            let document = documents
                .get(document)
                .ok_or_else(|| Error::Setting("a ranking holds a document that has no id".into()))?;
            for column in [query.as_str(), document, tag] {
                check(column)?;
            }
            let _ = writeln!(run, "{query} Q0 {document} {rank} {score} {tag}");
        }
    }
    Ok(run)
}

fn check(column: &str) -> Result<(), Error> {
    if column.is_empty() || column.contains(char::is_whitespace) {
        return Err(Error::Setting(
            "a run file has no place for an id or a tag that is empty or has white space in it".into(),
        ));
    }
    Ok(())
}
