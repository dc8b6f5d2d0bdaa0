use std::collections::HashMap;
use std::hash::BuildHasher;

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

/// Average precision of the first `k`, as trec_eval's `map_cut`: the precision at the rank of each relevant
/// document found, summed and divided by the number of all that are relevant. Its mean over queries is MAP
/// (trec_eval's `map` where `k` is the length of the ranking).
///
/// `None` for a query without a relevant document, as for [`ndcg`].
///
/// ```
/// # use embosk::evaluate::retrieval::average_precision;
/// let judged = [(7, 1), (3, 1)].into();
/// assert_eq!(average_precision::<std::hash::RandomState>(&[7, 5, 4, 3], &judged, 100), Some((1.0 + 0.5) / 2.0));
/// ```
pub fn average_precision<S: BuildHasher>(
    ranking: &[usize],
    judged: &HashMap<usize, i32, S>,
    k: usize,
) -> Option<f64> {
    let relevant = judged.values().filter(|&&grade| grade > 0).count();
    let (mut found, mut sum) = (0.0, 0.0);
    for (rank, &document) in ranking.iter().take(k).enumerate() {
        if is_relevant(judged, document) {
            found += 1.0;
            sum += found / (rank + 1) as f64;
        }
    }
    (relevant > 0).then(|| sum / relevant as f64)
}

fn is_relevant<S: BuildHasher>(judged: &HashMap<usize, i32, S>, document: usize) -> bool {
    judged.get(&document).is_some_and(|&grade| grade > 0)
}

fn discounted_gain(grades: impl Iterator<Item = i32>) -> f64 {
    grades.enumerate().map(|(rank, grade)| f64::from(grade) / ((rank + 2) as f64).log2()).sum()
}
