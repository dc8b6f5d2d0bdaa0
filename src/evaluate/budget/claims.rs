//! The limits of a budget on the stacks of a report, and the evidence for each.

use super::super::metrics::{Basis, Columns, Metric, by_limit, find, losses, over_floor};
use super::super::report::{Report, Row};
use super::Budget;
use super::evidence::Measurement;
use crate::Error;

/// A limit on a stack, and what each adversary's attack says about it.
pub(super) struct Claim<'a> {
    pub(super) defense: &'a str,
    pub(super) metric: &'a Metric,
    pub(super) limit: f64,
    /// The evidence, with each adversary's name; for retrieval, one without a name.
    pub(super) evidence: Vec<(Option<&'a str>, Measurement)>,
}

/// Each limit with its evidence, stack by stack.
pub(super) fn claims<'a>(report: &'a Report, budget: &Budget, seed: u64) -> Result<Vec<Claim<'a>>, Error> {
    if let Some((stack, ..)) =
        budget.of_stacks.iter().find(|(stack, ..)| report.rows.iter().all(|row| row.defense != *stack))
    {
        return Err(Error::Setting(format!("the budget has a limit of `{stack}`, which was not measured")));
    }
    let mut claims: Vec<Claim<'_>> = Vec::new();
    for row in &report.rows {
        if claims.iter().any(|claim| claim.defense == row.defense) {
            continue;
        }
        for (name, limit) in budget.limits_of(&row.defense) {
            let metric = by_limit(&report.metrics, &name)?;
            let rows = report.rows.iter().filter(|other| other.defense == row.defense);
            let evidence = rows.map(|row| Ok((adversary(row, metric), measured(report, row, metric, seed)?)));
            let mut evidence = evidence.collect::<Result<Vec<_>, Error>>()?;
            if metric.is_retrieval() {
                evidence.truncate(1);
            }
            claims.push(Claim { defense: &row.defense, metric, limit, evidence });
        }
    }
    Ok(claims)
}

pub(super) fn adversary<'a>(row: &'a Row, metric: &Metric) -> Option<&'a str> {
    (!metric.is_retrieval()).then_some(row.adversary.as_str())
}

/// What one row says about a metric.
fn measured(report: &Report, row: &Row, metric: &Metric, seed: u64) -> Result<Measurement, Error> {
    let undefended = &report.undefended;
    let evidence = match &metric.basis {
        Basis::Retrieval { .. } => {
            let lost = losses(metric, &undefended.queries, &row.queries);
            let lost: Vec<f64> = lost.into_iter().flatten().collect();
            Measurement::bounded(&lost, metric.limits(), seed)
        }
        Basis::LeakOf(base) => {
            let (least, most) = find(&report.metrics, base).map_or(metric.range, |base| base.range);
            let terms = over_floor(base, &row.texts, &row.unrelated, &undefended.texts);
            let terms = terms.into_iter().flatten().collect();
            Measurement::ratio(terms, ((least - most, 0.0), (most - least, 0.0)), seed)
        }
        _ => of_texts(&row.texts, metric, seed),
    };
    if evidence.n > 0 {
        return Ok(evidence);
    }
    let name = metric.limit_name();
    Err(Error::Setting(if row.score(&metric.name).is_some() {
        format!(
            "`{name}` cannot be checked: the report has no scores text by text; write it with `to_json_full`"
        )
    } else {
        format!(
            "the budget limits `{name}`, which was not measured: {}",
            match &metric.needs {
                Some(what) => format!("the corpus has no {what}, or nothing was attacked"),
                None if metric.is_retrieval() => "the corpus has no judged queries".into(),
                None => "nothing was attacked".into(),
            }
        )
    }))
}

pub(super) fn of_texts(texts: &Columns, metric: &Metric, seed: u64) -> Measurement {
    let scores = texts.values(&metric.name);
    match metric.basis {
        Basis::Share => Measurement::share(&scores.iter().map(|score| *score > 0.5).collect::<Vec<_>>()),
        _ => Measurement::bounded(&scores, metric.range, seed),
    }
}
