use super::Graded;

/// Normalised discounted cumulative gain of the first `k`, as trec_eval's `ndcg_cut`: the gain is the grade,
/// the discount at rank r is `log2(r + 1)`, and the ideal is taken over all judged documents.
///
/// `None` for a query without a relevant document: its score is undefined, and averages leave it out
/// (trec_eval leaves out a query that has no judgements, but counts 0 where all its grades are 0).
pub fn ndcg(found: &Graded<'_>, k: usize) -> Option<f64> {
    match (found.relevant.is_empty(), k) {
        (true, _) => None,
        (false, 0) => Some(0.0),
        (false, _) => Some(discounted_gain(&found.found, k) / discounted_gain(found.relevant, k)),
    }
}

/// The share of the relevant documents that are among the first `k`, as trec_eval's `recall`.
///
/// `None` for a query without a relevant document, as for [`ndcg`].
pub fn recall(found: &Graded<'_>, k: usize) -> Option<f64> {
    let count = found.found.iter().take(k).filter(|&&grade| grade > 0).count();
    share(count as f64, found)
}

/// One over the rank of the first relevant document, 0 where the first `k` have none: trec_eval's
/// `recip_rank` on a run of `k` documents. Its mean over queries is MRR@k.
///
/// `None` for a query without a relevant document, as for [`ndcg`].
pub fn mrr(found: &Graded<'_>, k: usize) -> Option<f64> {
    let first = found.found.iter().take(k).position(|&grade| grade > 0);
    (!found.relevant.is_empty()).then(|| first.map_or(0.0, |rank| 1.0 / (rank + 1) as f64))
}

/// Average precision of the first `k`, as trec_eval's `map_cut`: the precision at the rank of each relevant
/// document found, summed and divided by the number of all that are relevant. Its mean over queries is MAP
/// (trec_eval's `map` where `k` is the length of the ranking).
///
/// `None` for a query without a relevant document, as for [`ndcg`].
///
/// ```
/// # use embosk::evaluate::retrieval::{Judged, average_precision};
/// let judged = Judged::from([(7, 1), (3, 1)]);
/// assert_eq!(average_precision(&judged.graded([7, 5, 4, 3]), 100), Some((1.0 + 0.5) / 2.0));
/// ```
pub fn average_precision(found: &Graded<'_>, k: usize) -> Option<f64> {
    let (mut count, mut sum) = (0.0, 0.0);
    for (rank, _) in found.found.iter().take(k).enumerate().filter(|&(_, &grade)| grade > 0) {
        count += 1.0;
        sum += count / (rank + 1) as f64;
    }
    share(sum, found)
}

fn share(of_relevant: f64, found: &Graded<'_>) -> Option<f64> {
    let relevant = found.relevant.len();
    (relevant > 0).then(|| of_relevant / relevant as f64)
}

fn discounted_gain(grades: &[i32], k: usize) -> f64 {
    let gains = grades.iter().take(k).enumerate().filter(|&(_, &grade)| grade > 0);
    gains.map(|(rank, &grade)| f64::from(grade) / ((rank + 2) as f64).log2()).sum()
}
