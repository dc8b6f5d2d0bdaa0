//! Looks up metrics in a table, and checks tables.

use super::Metric;
use super::kinds::Basis;
use crate::Error;

/// Fields of a row that are not scores; the last five are those of a curve.
const RESERVED: [&str; 21] = [
    "defense",
    "adversary",
    "n",
    "map",
    "oracle_queries",
    "recovered",
    "conclusive",
    "threat",
    "key_attacked",
    "examples",
    "guess_candidates",
    "guess_by_kind",
    "texts",
    "unrelated",
    "queries",
    "warnings",
    "sweep",
    "strength",
    "ndcg_kept",
    "worst",
    "front",
];

/// Finds the metric of this name.
pub(in crate::evaluate) fn find<'m>(metrics: &'m [Metric], name: &str) -> Option<&'m Metric> {
    metrics.iter().find(|metric| metric.name == name)
}

/// Finds the metric that a budget limits under this name, such as `bleu` or `ndcg_drop`.
///
/// # Errors
/// When there is no such metric; the message lists those that exist.
pub fn by_limit<'m>(metrics: &'m [Metric], name: &str) -> Result<&'m Metric, Error> {
    metrics.iter().find(|metric| metric.limited_as.as_deref() == Some(name)).ok_or_else(|| {
        let names: Vec<&str> = metrics.iter().filter_map(|metric| metric.limited_as.as_deref()).collect();
        Error::Setting(format!("there is no such metric{}; there are {}", quoted(name), names.join(", ")))
    })
}

/// Returns " as `blue`" for messages about an unknown name; nothing for a text that may be a key in the wrong place.
pub(in crate::evaluate) fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-(), ".contains(c);
    let can_be_shown = (1..=24).contains(&name.len()) && name.chars().all(is_plain);
    if can_be_shown { format!(" as `{name}`") } else { String::new() }
}

/// Sorts the metrics by the order of their columns in tables.
pub fn in_column_order(metrics: &[Metric]) -> Vec<&Metric> {
    let mut columns: Vec<&Metric> = Vec::with_capacity(metrics.len());
    let (placed, usual): (Vec<&Metric>, Vec<&Metric>) =
        metrics.iter().partition(|metric| metric.column_after.is_some());
    columns.extend(usual);
    for metric in placed {
        let before = columns.iter().position(|other| Some(&other.name) == metric.column_after.as_ref());
        columns.insert(before.map_or(columns.len(), |before| before + 1), metric);
    }
    columns
}

/// Refuses a table with names that clash, ranges that are empty, or bases that are missing.
pub(crate) fn check(metrics: &[Metric]) -> Result<(), Error> {
    for (at, metric) in metrics.iter().enumerate() {
        check_one(metric, &metrics[..at]).map_err(Error::Setting)?;
    }
    Ok(())
}

fn check_one(metric: &Metric, before: &[Metric]) -> Result<(), String> {
    let name = metric.name.as_str();
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(
            "a metric's name has only lower-case letters, digits and `_`, as in length_ratio; rename it"
                .into(),
        );
    }
    if RESERVED.contains(&name) {
        return Err(format!("every row already has a field `{name}`; give the metric another name"));
    }
    if find(before, name).is_some() {
        return Err(format!("there are two metrics `{name}`; give one of them another name"));
    }
    if let Some(limit) = &metric.limited_as
        && before.iter().any(|other| other.limited_as.as_ref() == Some(limit))
    {
        return Err(format!("two metrics are limited as `{limit}`; give one of them another name there"));
    }
    let (least, most) = metric.range;
    if !(least.is_finite() && most.is_finite() && least < most) {
        return Err(format!("the range of `{name}` must go from a finite number to a larger one"));
    }
    if metric.least_gap.is_some_and(|gap| !gap.is_finite() || gap <= 0.0) {
        return Err(format!("the least gap of `{name}` must be a number above 0"));
    }
    match &metric.basis {
        Basis::FloorOf(base) | Basis::LeakOf(base)
            if !find(before, base).is_some_and(Metric::is_of_texts) =>
        {
            Err(format!(
                "`{name}` is computed from `{base}`, which must be a metric of texts that is added before it"
            ))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::evaluate::metrics::built_in;

    fn own(name: &str) -> Metric {
        Metric::mean(name, |_| None)
    }

    #[test]
    fn the_built_in_table_is_in_order() {
        check(built_in()).unwrap();
        let columns: Vec<&str> =
            in_column_order(built_in()).iter().map(|metric| metric.name.as_str()).collect();
        assert_eq!(
            columns.join(" "),
            "exact_match bleu token_f1 rouge_l word_recall word_f1 entity_recall guess cosine restored_cosine floor leak \
             word_leak guess_leak ndcg_at_10 recall_at_10 mrr_at_10 first_stage_recall top_10_kept linkage_recall_at_1 \
             membership_tpr membership_auc candidate_recall_at_1 candidate_recall_at_10"
        );
        assert_eq!(by_limit(built_in(), "ndcg_drop").unwrap().name, "ndcg_at_10");
        let message = by_limit(built_in(), "ndcg_at_10").unwrap_err().to_string();
        assert!(message.starts_with("there is no such metric as `ndcg_at_10`; "), "{message}");
        assert!(
            message.ends_with(
                "there are exact_match, bleu, token_f1, rouge_l, word_recall, word_f1, entity_recall, guess, cosine, \
                 leak, word_leak, guess_leak, ndcg_drop, recall_drop, mrr_drop"
            ),
            "{message}"
        );
    }

    #[test]
    fn a_table_with_a_fault_is_refused() {
        let with = |more: Vec<Metric>| check(&[built_in().to_vec(), more].concat());
        with(vec![own("ratio"), Metric::leak_of("ratio_leak", "ratio"), Metric::floor_of("low", "ratio")])
            .unwrap();
        for (more, part) in [
            (own("Ratio"), "lower-case letters"),
            (own(""), "lower-case letters"),
            (own("texts"), "a field `texts`"),
            (own("bleu"), "two metrics `bleu`"),
            (own("ratio").limited_as("ndcg_drop"), "limited as `ndcg_drop`"),
            (own("ratio").range(1.0, 1.0), "the range of `ratio`"),
            (own("ratio").range(0.0, f64::INFINITY), "the range of `ratio`"),
            (Metric::leak_of("ratio_leak", "ratio"), "computed from `ratio`"),
            (Metric::leak_of("ratio_leak", "bleu").least_gap(0.0), "the least gap of `ratio_leak`"),
            (Metric::leak_of("ratio_leak", "ndcg_at_10"), "a metric of texts"),
            (Metric::floor_of("ratio_floor", "leak"), "a metric of texts"),
        ] {
            let message = with(vec![more]).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
