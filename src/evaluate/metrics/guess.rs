use super::{Metric, Shown};
use crate::evaluate::guess::CANDIDATES;

/// The name of the metric whose leak is that of facts.
pub(in crate::evaluate) const GUESS: &str = "guess";

/// The share of facts that were guessed among their candidates, over texts that have a fact.
pub(super) fn metric() -> Metric {
    Metric::share(GUESS, |pair| pair.guessed)
        .title("facts guessed")
        .without_output()
        .chance(1.0 / CANDIDATES as f64)
        .needs("facts that can be guessed")
        .shown(Shown::Page)
        .signature("one-fact-a-text|likeliest-of-candidates|ties:first-of-a-drawn-order")
}

/// Sets how many candidates there are.
pub(in crate::evaluate) fn set_candidates(metrics: &mut [Metric], candidates: usize) {
    for metric in metrics.iter_mut().filter(|metric| metric.name == GUESS) {
        metric.chance = Some(1.0 / candidates.max(1) as f64);
    }
}
