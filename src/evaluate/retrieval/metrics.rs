use super::Graded;

/// Normalized discounted cumulative gain of the first `k`, as trec_eval's `ndcg_cut`: the gain is the grade, the
/// discount at rank r is `log2(r + 1)`, and the ideal is taken over all judged documents.
///
/// `None` for a query without judgements, which averages leave out; 0 if there are judgements, but none of a relevant
/// document.
pub fn ndcg(found: &Graded<'_>, k: usize) -> Option<f64> {
    let ideal = discounted_gain(found.relevant, k);
    let share = || if ideal > 0.0 { discounted_gain(&found.found, k) / ideal } else { 0.0 };
    found.is_judged.then(share)
}

/// The share of the relevant documents that are among the first `k`, as trec_eval's `recall`.
///
/// `None` for a query without judgements, as for [`ndcg`].
pub fn recall(found: &Graded<'_>, k: usize) -> Option<f64> {
    let count = found.found.iter().take(k).filter(|&&grade| grade > 0).count();
    share(count as f64, found)
}

/// One over the rank of the first relevant document, or 0 if the first `k` have none: trec_eval's `recip_rank` on a
/// run of `k` documents. Its mean over queries is MRR@k.
///
/// `None` for a query without judgements, as for [`ndcg`].
pub fn mrr(found: &Graded<'_>, k: usize) -> Option<f64> {
    let first = found.found.iter().take(k).position(|&grade| grade > 0);
    found.is_judged.then(|| first.map_or(0.0, |rank| 1.0 / (rank + 1) as f64))
}

/// Average precision of the first `k`, as trec_eval's `map_cut`: the precision at the rank of each relevant document
/// found, summed and divided by the number of all that are relevant. Its mean over queries is MAP (trec_eval's `map`
/// if `k` is the length of the ranking).
///
/// `None` for a query without judgements, as for [`ndcg`].
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
    found.is_judged.then(|| of_relevant / found.relevant.len().max(1) as f64)
}

fn discounted_gain(grades: &[i32], k: usize) -> f64 {
    let gains = grades.iter().take(k).enumerate().filter(|&(_, &grade)| grade > 0);
    gains.map(|(rank, &grade)| f64::from(grade) / ((rank + 2) as f64).log2()).sum()
}
