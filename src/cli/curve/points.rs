//! A report as a curve: what belongs together, which adversary is the worst, and what is on the front.

use std::cmp::Ordering;

use super::find::Answer;
use crate::cli::limit::Limit;
use crate::cli::table;
use crate::defenses::Spec;
use crate::defenses::spec::{Kind, Part};
use crate::evaluate::keys;
use crate::evaluate::statistics::Score;
use crate::evaluate::{Metric, Report, Row, Sweep, Threat};

/// The metric of retrieval that a curve draws.
pub(super) const RETRIEVAL: &str = "ndcg_at_10";

/// The share of retrieval that [`Curve::best`] asks for.
pub(super) const KEPT: f64 = 0.9;

/// A report, arranged as a curve.
pub(super) struct Curve<'a> {
    pub(super) report: &'a Report,
    pub(super) lines: Vec<Line>,
    pub(super) stacks: Vec<MeasuredStack<'a>>,
    /// In the order in which they were given.
    pub(super) adversaries: Vec<&'a str>,
    pub(super) found: Option<(Limit, Answer)>,
    /// The leak that is drawn: the first that can be read. `None` if none can be.
    leak: Option<&'a Metric>,
}

/// A sweep's name, and its axis if it has one range.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) title: String,
    pub(super) axis: Option<Axis>,
}

#[derive(Clone)]
pub(super) struct Axis {
    pub(super) parameter: String,
    pub(super) log: bool,
    pub(super) whole: bool,
}

/// A stack and what was measured under it.
#[derive(Clone)]
pub(super) struct MeasuredStack<'a> {
    pub(super) defense: &'a str,
    /// The number of its line, and its values there.
    pub(super) of: Option<(usize, Vec<f64>)>,
    /// One row per adversary.
    pub(super) rows: Vec<&'a Row>,
    /// The row of the adversary that recovers the most; the first row if nothing was attacked.
    pub(super) worst: &'a Row,
    /// Whether no other stack leaves the worst adversary less and keeps more of retrieval. Stacks for a
    /// stolen store displace only one another, because their figures do not hold against the store's operator.
    pub(super) front: bool,
}

impl<'a> Curve<'a> {
    /// `searched` is the sweep that a search measured more strengths of.
    pub(super) fn new(
        report: &'a Report,
        sweeps: &[Sweep],
        searched: Option<&Sweep>,
        found: Option<(&Limit, &Answer)>,
    ) -> Self {
        let leak = leaks(report).next();
        let mut stacks = Vec::new();
        for row in &report.rows {
            if !stacks.iter().any(|stack: &MeasuredStack<'_>| stack.defense == row.defense) {
                stacks.extend(measured(report, leak, row, place(sweeps, searched, &row.defense)));
            }
        }
        // those of a search came last, and belong between the others
        stacks.sort_by(|a, b| a.of.partial_cmp(&b.of).unwrap_or(std::cmp::Ordering::Equal));
        let mut adversaries: Vec<&str> = Vec::new();
        for row in &report.rows {
            if !adversaries.contains(&row.adversary.as_str()) {
                adversaries.push(&row.adversary);
            }
        }
        let lines = sweeps.iter().map(line).collect();
        let found = found.map(|(limit, answer)| (limit.clone(), answer.clone()));
        let mut curve = Self { report, lines, stacks, adversaries, found, leak };
        curve.mark_front();
        curve
    }

    /// The same by each other leak that can be read, which has its own worst adversaries and its own front.
    pub(super) fn by_other_leaks(&self) -> Vec<Self> {
        leaks(self.report).skip(1).map(|leak| self.by(leak)).collect()
    }

    fn by(&self, leak: &'a Metric) -> Self {
        let stack = |stack: &MeasuredStack<'a>| MeasuredStack {
            worst: worst(Some(leak), &stack.rows).unwrap_or(stack.worst),
            front: false,
            ..stack.clone()
        };
        let mut curve = Self {
            report: self.report,
            lines: self.lines.clone(),
            stacks: self.stacks.iter().map(stack).collect(),
            adversaries: self.adversaries.clone(),
            found: self.found.clone(),
            leak: Some(leak),
        };
        curve.mark_front();
        curve
    }

    /// What the worst adversary recovers and what is left of retrieval, if both are known.
    fn both(&self, stack: &MeasuredStack<'_>) -> Option<(f64, f64)> {
        Some((self.recovered(stack.worst)?.value, stack.worst.score(RETRIEVAL)?.value))
    }

    fn mark_front(&mut self) {
        let fronts: Vec<bool> = self.stacks.iter().map(|stack| self.is_on_front(stack)).collect();
        for (stack, front) in self.stacks.iter_mut().zip(fronts) {
            stack.front = front;
        }
    }

    fn is_on_front(&self, stack: &MeasuredStack<'_>) -> bool {
        let Some((leak, ndcg)) = self.both(stack) else { return false };
        let is_better = |other: &MeasuredStack<'_>| {
            self.both(other).is_some_and(|(other_leak, other_ndcg)| {
                other_leak <= leak && other_ndcg >= ndcg && (other_leak < leak || other_ndcg > ndcg)
            })
        };
        let mut rivals =
            self.stacks.iter().filter(|other| stack.is_for_stolen_store() || !other.is_for_stolen_store());
        !rivals.any(is_better)
    }

    /// The leak that is drawn, or BLEU as a share of 100 if none can be read.
    pub(super) fn recovered(&self, row: &Row) -> Option<Score> {
        recovered(self.leak, row)
    }

    /// The name of what [`Self::recovered`] returns.
    pub(super) fn measure(&self) -> &'a str {
        self.leak.map_or("BLEU / 100", |leak| &leak.heading)
    }

    /// The stack on which the conclusion rests: of those that keep most of retrieval, or of all if there is none, the
    /// one that leaks the least. A stack whose key nobody attacks is left out, because its leak says nothing.
    pub(super) fn best(&self) -> Option<&MeasuredStack<'a>> {
        let recovered = |stack: &MeasuredStack<'_>| self.recovered(stack.worst).map(|score| score.value);
        let is_searched = self.undefended_ndcg().is_some();
        let keeps = |stack: &&MeasuredStack<'_>| {
            let kept = self.kept(stack.worst).is_some_and(|kept| kept.value >= KEPT);
            stack.defense != "none" && !keys::is_unattacked(&stack.rows) && (kept || !is_searched)
        };
        let kept = self.stacks.iter().filter(keeps).filter(|stack| recovered(stack).is_some());
        kept.min_by(|a, b| recovered(a).partial_cmp(&recovered(b)).unwrap_or(Ordering::Equal))
    }

    /// What a stack leaks by each other leak that can be read, against its worst adversary by that leak:
    /// `guess leak is 0.83 [0.70, 0.91]`.
    pub(super) fn other_leaks(&self, stack: &MeasuredStack<'_>) -> Vec<String> {
        let others = leaks(self.report).skip(1);
        let said = others.filter_map(|leak| {
            let score = worst(Some(leak), &stack.rows)?.score(&leak.name)?;
            Some(format!("{} is {}", leak.heading, table::long(Some(score), leak.digits)))
        });
        said.collect()
    }

    /// Says that no adversary adapts to the defense, if none does.
    pub(super) fn unadaptive(&self) -> Option<&'static str> {
        let is_so = self.is_attacked() && self.adversaries.iter().all(|adversary| *adversary == "naive");
        is_so.then_some(
            "The only adversary here is naive, which does not adapt to the defense. Attackers who do may recover more.",
        )
    }

    /// Says which threats the noise of the stacks is meant for, if any has noise on documents.
    pub(super) fn threats(&self) -> Option<&'static str> {
        let has = |threat| self.stacks.iter().any(|stack| stack.worst.threat == Some(threat));
        match (has(Threat::StolenStore), has(Threat::Operator)) {
            (false, false) => None,
            (true, false) => Some(
                "Queries have less noise than documents, or none. This is meant for a stolen store; the store's operator \
                 also sees the queries.",
            ),
            (false, true) => Some(
                "Noise is on documents and queries, which is meant for the store's operator, who sees both. If you only \
                 fear a stolen store, put it on documents alone (on=documents).",
            ),
            (true, true) => Some(
                "Noise on documents alone (on=documents) is meant for a stolen store, and noise on queries too for the \
                 store's operator, who sees both.",
            ),
        }
    }

    /// What being on the front means, if any stack is on it.
    pub(super) fn front(&self) -> Option<String> {
        let mut means =
            "on the Pareto front: no other stack both leaks less to its worst adversary and keeps more of retrieval."
                .to_owned();
        if self.stacks.iter().any(MeasuredStack::is_for_stolen_store) {
            means += " Stacks for a stolen store displace only one another.";
        }
        self.stacks.iter().any(|stack| stack.front).then_some(means)
    }

    /// The leak that is drawn.
    pub(super) fn leak(&self) -> Option<&'a Metric> {
        self.leak
    }

    pub(super) fn is_attacked(&self) -> bool {
        self.report.ceiling.is_some()
    }

    /// What is compared, in a few words.
    pub(super) fn heading(&self) -> &'static str {
        match (self.is_attacked(), self.undefended_ndcg().is_some()) {
            (true, true) => "Leak against retrieval",
            (true, false) => "Leak",
            (false, _) => "Retrieval",
        }
    }

    /// nDCG@10 without a defense, if it was measured.
    pub(super) fn undefended_ndcg(&self) -> Option<Score> {
        let none = self.stacks.iter().find(|stack| stack.defense == "none")?;
        none.worst.score(RETRIEVAL).filter(|score| score.value > 0.0)
    }

    /// nDCG@10 divided by that without a defense, and its interval's ends divided in the same way. If all lies within
    /// the interval, no more than all is kept.
    pub(super) fn kept(&self, row: &Row) -> Option<Score> {
        let whole = self.undefended_ndcg()?.value;
        let Score { value, low, high } = row.score(RETRIEVAL)?;
        let [value, low, high] = [value, low, high].map(|ndcg| ndcg / whole);
        let value = if (low..=high).contains(&1.0) { value.min(1.0) } else { value };
        Some(Score { value, low, high })
    }

    pub(super) fn kept_in_percent(&self, row: &Row) -> Option<String> {
        self.kept(row).map(|kept| format!("{:.0} %", 100.0 * kept.value))
    }

    /// The stacks of a line, by rising values.
    pub(super) fn along(&self, line: usize) -> Vec<&MeasuredStack<'a>> {
        let mut stacks: Vec<_> = self.stacks.iter().filter(|stack| stack.values(line).is_some()).collect();
        stacks.sort_by(|a, b| {
            let (a, b) = (a.values(line).unwrap_or_default(), b.values(line).unwrap_or_default());
            a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal)
        });
        stacks
    }

    pub(super) fn found_stack(&self) -> Option<&MeasuredStack<'a>> {
        let strength = self.found.as_ref()?.1.strength?;
        self.stacks.iter().find(|stack| stack.of.as_ref().is_some_and(|(_, values)| values == &[strength]))
    }
}

impl MeasuredStack<'_> {
    /// Whether its noise is meant for a stolen store, and not for the store's operator.
    pub(super) fn is_for_stolen_store(&self) -> bool {
        self.worst.threat == Some(Threat::StolenStore)
    }

    pub(super) fn values(&self, line: usize) -> Option<&[f64]> {
        self.of.as_ref().filter(|(of, _)| *of == line).map(|(_, values)| values.as_slice())
    }
}

/// The leaks that can be read.
pub(super) fn leaks(report: &Report) -> impl Iterator<Item = &Metric> {
    let metric = move |name: &String| report.metrics.iter().find(|metric| metric.name == *name);
    report.conclusive.iter().filter_map(metric)
}

fn recovered(leak: Option<&Metric>, row: &Row) -> Option<Score> {
    if let Some(leak) = leak {
        return row.score(&leak.name);
    }
    let Score { value, low, high } = row.score("bleu")?;
    Some(Score { value: value / 100.0, low: low / 100.0, high: high / 100.0 })
}

fn measured<'a>(
    report: &'a Report,
    leak: Option<&Metric>,
    first: &'a Row,
    of: Option<(usize, Vec<f64>)>,
) -> Option<MeasuredStack<'a>> {
    let mut rows: Vec<&Row> = Vec::new();
    for row in report.rows.iter().filter(|row| row.defense == first.defense) {
        if !rows.iter().any(|other| other.adversary == row.adversary) {
            rows.push(row);
        }
    }
    let worst = worst(leak, &rows)?;
    Some(MeasuredStack { defense: &first.defense, of, rows, worst, front: false })
}

/// The row of the adversary that recovers the most; of equals, the first.
fn worst<'a>(leak: Option<&Metric>, rows: &[&'a Row]) -> Option<&'a Row> {
    let value = |row: &Row| recovered(leak, row).map_or(f64::MIN, |score| score.value);
    rows.iter().copied().rev().max_by(|a, b| value(a).total_cmp(&value(b)))
}

fn line(sweep: &Sweep) -> Line {
    let axis = match sweep.ranges() {
        [range] => Some(Axis { parameter: range.parameter.clone(), log: range.log, whole: range.whole }),
        _ => None,
    };
    Line { title: sweep.to_string(), axis }
}

/// The first line that a stack is on, with its values there.
fn place(sweeps: &[Sweep], searched: Option<&Sweep>, defense: &str) -> Option<(usize, Vec<f64>)> {
    let ranged = sweeps.iter().enumerate().filter(|(_, sweep)| !sweep.ranges().is_empty());
    let on = ranged.clone().find_map(|(line, sweep)| {
        let point = sweep.points().iter().find(|point| point.stack.to_string() == defense)?;
        Some((line, point.values.clone()))
    });
    on.or_else(|| {
        let strength = strength(searched?, defense)?;
        ranged.map(|(line, _)| line).next().map(|line| (line, vec![strength]))
    })
}

/// The value with which a sweep with one range gives exactly this stack, which a report names by its spec.
pub(super) fn strength(sweep: &Sweep, defense: &str) -> Option<f64> {
    let parameter = &sweep.ranges().first()?.parameter;
    let spec: Spec = defense.parse().ok()?;
    let number = |part: &Part| match part.find(parameter)?.kind() {
        Kind::Number(number) => Some(number),
        _ => None,
    };
    let is_this = |value: &f64| sweep.at(&[*value]).is_ok_and(|stack| stack.to_string() == defense);
    spec.parts().iter().filter_map(number).find(is_this)
}
