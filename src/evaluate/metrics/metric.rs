use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kinds::{Basis, Direction, Interval, Shown, Unit};
use super::pair::TextPair;
use crate::Error;
use crate::evaluate::retrieval::Graded;
use crate::evaluate::statistics::{Score, mean, proportion};

/// How many documents of a ranking a metric of retrieval sees by default.
const DEPTH: usize = 10;

/// Declares one metric: its name, how it is printed and computed, and how a budget may limit it.
///
/// A higher score of a metric of texts must mean worse privacy, so return a similarity rather than a
/// distance. A higher score of a metric of retrieval must be better for its users. A score that is not finite
/// counts as missing.
///
/// ```
/// use embosk::evaluate::metrics::{Metric, TextPair};
///
/// let words = |text: &str| text.split_whitespace().count() as f64;
/// let length_ratio = Metric::mean("length_ratio", move |pair| {
///     Some((words(pair.output) / words(pair.truth)).min(1.0))
/// });
/// assert_eq!(length_ratio.of_pair(&TextPair::new("Ann lives in Rome", "Ann lives")), Some(0.5));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metric {
    /// Its name in reports and files.
    pub name: String,
    /// The heading of its column.
    pub heading: String,
    /// A longer name, for places with room.
    pub title: String,
    /// How many decimals a table shows.
    pub digits: usize,
    /// The lowest and the highest score that one text or query can have.
    pub range: (f64, f64),
    /// The score that chance gives each text. If it is `None`, it is measured, as the score of outputs that
    /// are compared with other texts.
    pub chance: Option<f64>,
    /// Of a leak: by how much the undefended attack must be shown to exceed chance, in the unit of the metric that it is
    /// computed from. If it is `None`, by a tenth of that metric's range.
    #[serde(default)]
    pub least_gap: Option<f64>,
    /// The name under which a budget limits it. `None` if no budget may limit it.
    pub limited_as: Option<String>,
    /// What a corpus must have for it to be measured.
    pub needs: Option<String>,
    /// The rules that the score depends on.
    pub signature: Option<String>,
    /// Where it is shown.
    pub shown: Shown,
    /// The metric whose column comes right before its own.
    pub column_after: Option<String>,
    /// Whether the ceiling and the floor of a report leave it out.
    #[serde(rename = "rows_only")]
    pub(super) is_of_rows_only: bool,
    pub(in crate::evaluate) basis: Basis,
    /// Whether it does not read the attack's outputs, and is measured without an attack too.
    #[serde(default)]
    pub(super) needs_no_output: bool,
    #[serde(skip)]
    compute: Compute,
}

/// Constructors, by what a metric is counted over.
impl Metric {
    /// Declares the share of attacked texts for which `holds` returns true, with the interval of Clopper and
    /// Pearson. A text for which it returns `None` does not count.
    pub fn share(name: &str, holds: impl Fn(&TextPair<'_>) -> Option<bool> + Send + Sync + 'static) -> Self {
        let score = move |pair: &TextPair<'_>| holds(pair).map(|holds| f64::from(u8::from(holds)));
        Self { compute: Compute::Text(Arc::new(score)), ..Self::new(name, Basis::Share) }
    }

    /// Declares the mean of `score` over the attacked texts, with a bootstrap interval. A text for which it
    /// returns `None` does not count. Scores lie between 0 and 1 unless [`Metric::range`] says otherwise.
    pub fn mean(name: &str, score: impl Fn(&TextPair<'_>) -> Option<f64> + Send + Sync + 'static) -> Self {
        Self { compute: Compute::Text(Arc::new(score)), ..Self::new(name, Basis::Mean) }
    }

    /// Declares the mean of `score` over the judged queries, with a bootstrap interval. A query for which it
    /// returns `None` does not count. Scores lie between 0 and 1 unless [`Metric::range`] says otherwise.
    pub fn retrieval(name: &str, score: impl Fn(&Graded<'_>) -> Option<f64> + Send + Sync + 'static) -> Self {
        let limit = format!("{name}_drop");
        Self {
            compute: Compute::Query(Arc::new(score)),
            ..Self::new(name, Basis::Retrieval { depth: DEPTH })
        }
        .digits(3)
        .limited_as(&limit)
    }

    /// Declares the score of chance: the score of the metric of texts called `base` for a row's outputs, each
    /// compared with another text.
    pub fn floor_of(name: &str, base: &str) -> Self {
        Self::new(name, Basis::FloorOf(base.to_owned()))
            .signature("row's-outputs~next-sample")
            .not_limited()
            .shown(Shown::Files)
    }

    /// Declares `(score − floor) / (ceiling − floor)` of the metric of texts called `base`: 1 is as much as
    /// without a defense, and 0 is what chance gives. Neither the value nor the interval is clamped to 0 and
    /// 1. It has a value only if the undefended attack exceeds chance by the [least gap](Metric::least_gap).
    pub fn leak_of(name: &str, base: &str) -> Self {
        Self::new(name, Basis::LeakOf(base.to_owned()))
            .signature(&format!("({base}-floor)/(ceiling-floor)"))
            .shown(Shown::Line)
    }

    /// Declares a score that the evaluation measures as a whole and passes in by name.
    pub(in crate::evaluate) fn given(name: &str, unit: Unit) -> Self {
        Self::new(name, Basis::Given(unit)).not_limited()
    }

    fn new(name: &str, basis: Basis) -> Self {
        Self {
            name: name.to_owned(),
            heading: name.to_owned(),
            title: name.to_owned(),
            digits: 2,
            range: (0.0, 1.0),
            chance: None,
            least_gap: None,
            basis,
            limited_as: Some(name.to_owned()),
            needs: None,
            signature: None,
            shown: Shown::Page,
            column_after: None,
            is_of_rows_only: false,
            needs_no_output: false,
            compute: Compute::Nothing,
        }
    }

    /// Sets the heading of its column, and the title with it. Default: the name.
    pub fn heading(self, heading: &str) -> Self {
        Self { heading: heading.to_owned(), ..self }.title(heading)
    }

    /// Sets a longer name for places with room. Call it after [`Metric::heading`]. Default: the heading.
    pub fn title(self, title: &str) -> Self {
        Self { title: title.to_owned(), ..self }
    }

    /// Sets how many decimals a table shows. Default: 2, or 3 for retrieval.
    pub fn digits(self, digits: usize) -> Self {
        Self { digits, ..self }
    }

    /// Sets the lowest and the highest score that one text or query can have. The bounds of a budget rely on
    /// this range, so an evaluation refuses scores outside it. Default: 0 to 1.
    pub fn range(self, lowest: f64, highest: f64) -> Self {
        Self { range: (lowest, highest), ..self }
    }

    /// Sets the score that chance gives each text, if it is known. Default: it is measured, as the score of
    /// outputs that are compared with other texts.
    pub fn chance(self, chance: f64) -> Self {
        Self { chance: Some(chance), ..self }
    }

    /// Sets by how much the undefended attack must be shown to exceed chance before this leak can be read: at the lower
    /// end of the 95 % interval, in the unit of the metric that it is computed from. Default: a tenth of that metric's
    /// range.
    pub fn least_gap(self, gap: f64) -> Self {
        Self { least_gap: Some(gap), ..self }
    }

    /// Sets the name under which a budget limits it. Default: its own name. For retrieval, a budget limits
    /// the loss, and the default is its own name followed by `_drop`.
    pub fn limited_as(self, name: &str) -> Self {
        Self { limited_as: Some(name.to_owned()), ..self }
    }

    /// Forbids budgets from limiting it.
    pub fn not_limited(self) -> Self {
        Self { limited_as: None, ..self }
    }

    /// Names what a corpus must have for it to be measured, as in `labelled entities`.
    pub fn needs(self, what: &str) -> Self {
        Self { needs: Some(what.to_owned()), ..self }
    }

    /// Sets the rules that the score depends on. The report's signature shows them, and they distinguish two
    /// metrics of the same name. Default: none.
    pub fn signature(self, rules: &str) -> Self {
        Self { signature: Some(rules.to_owned()), ..self }
    }

    /// Sets where it is shown. Default: [`Shown::Page`].
    pub fn shown(self, shown: Shown) -> Self {
        Self { shown, ..self }
    }

    /// Sets the metric whose column comes right before its own. Default: the one that was added before it.
    pub fn column_after(self, name: &str) -> Self {
        Self { column_after: Some(name.to_owned()), ..self }
    }

    /// Sets how many documents of a ranking a metric of retrieval sees, at least. Default: 10.
    pub fn depth(self, depth: usize) -> Self {
        match self.basis {
            Basis::Retrieval { .. } => Self { basis: Basis::Retrieval { depth }, ..self },
            _ => self,
        }
    }

    /// Measures it even if no attack writes a text.
    pub(super) fn without_output(self) -> Self {
        Self { needs_no_output: true, ..self }
    }

    /// Leaves it out of the ceiling and the floor of a report.
    pub(super) fn of_rows_only(self) -> Self {
        Self { is_of_rows_only: true, ..self }
    }
}

/// Properties that follow from a declaration.
impl Metric {
    /// Returns how many decimals are shown if a decision depends on the number.
    pub fn fine_digits(&self) -> usize {
        if self.range.1 - self.range.0 >= 10.0 { 1 } else { 3 }
    }

    /// Returns what it is counted over.
    pub fn unit(&self) -> Unit {
        match &self.basis {
            Basis::Retrieval { .. } => Unit::Queries,
            Basis::Given(unit) => *unit,
            _ => Unit::Texts,
        }
    }

    /// Returns who benefits from a higher score.
    pub fn direction(&self) -> Direction {
        if self.is_retrieval() { Direction::MoreServes } else { Direction::MoreLeaks }
    }

    /// Returns how its interval is computed.
    pub fn interval(&self) -> Interval {
        match self.basis {
            Basis::Share => Interval::ClopperPearson,
            Basis::LeakOf(_) => Interval::BootstrapRatio,
            Basis::Given(_) => Interval::Given,
            _ => Interval::BootstrapMean,
        }
    }

    /// Returns whether it is a metric of retrieval, which does not depend on the adversary.
    pub fn is_retrieval(&self) -> bool {
        self.unit() == Unit::Queries
    }

    /// Returns whether it is computed from each attacked text.
    pub fn is_of_texts(&self) -> bool {
        matches!(self.basis, Basis::Share | Basis::Mean)
    }

    /// Returns whether it reads what an attack wrote.
    pub(crate) fn reads_outputs(&self) -> bool {
        self.is_of_texts() && !self.needs_no_output
    }

    /// Returns the name of the metric whose leak it is. `None` if it is not a leak.
    pub fn leaking(&self) -> Option<&str> {
        match &self.basis {
            Basis::LeakOf(base) => Some(base),
            _ => None,
        }
    }

    /// Returns the least gap of a leak that is computed from `base`.
    pub(in crate::evaluate) fn least_gap_over(&self, base: &Self) -> f64 {
        self.least_gap.unwrap_or((base.range.1 - base.range.0) / 10.0)
    }

    /// Returns the name that budgets and their findings use: [`Metric::limited_as`], or its own.
    pub fn limit_name(&self) -> &str {
        self.limited_as.as_deref().unwrap_or(&self.name)
    }

    /// Returns whether this place shows it.
    pub fn is_shown(&self, place: Shown) -> bool {
        self.shown <= place
    }

    /// Returns the lowest and the highest limit that a budget can set.
    pub(in crate::evaluate) fn limits(&self) -> (f64, f64) {
        let (lowest, highest) = self.range;
        match self.direction() {
            Direction::MoreLeaks => self.range,
            Direction::MoreServes => (lowest - highest, highest - lowest),
        }
    }

    /// Refuses a limit that no score can reach; `what` is what the number is set as.
    pub(crate) fn check_limit(&self, name: &str, limit: f64, what: &str) -> Result<(), Error> {
        let (least, most) = self.limits();
        if (least..=most).contains(&limit) {
            return Ok(());
        }
        Err(Error::Setting(format!("`{name}` lies between {least} and {most}; {limit} cannot be its {what}")))
    }

    /// Returns whether this is a known chance, and no score that a text can have.
    fn is_chance(&self, score: f64) -> bool {
        let is_this = |chance: f64| (score - chance).abs() < f64::EPSILON && chance > 0.0 && chance < 1.0;
        self.basis == Basis::Share && self.chance.is_some_and(is_this)
    }

    /// Returns whether a score lies in its range, apart from rounding.
    pub(super) fn allows(&self, score: f64) -> bool {
        let (lowest, highest) = self.range;
        let rounding = 1e-6 * (highest - lowest);
        (lowest - rounding..=highest + rounding).contains(&score)
    }
}

/// Scores.
impl Metric {
    /// Scores one text. `None` if the text has no score, if it is not a metric of texts, or if the metric was
    /// read from a report.
    pub fn of_pair(&self, pair: &TextPair<'_>) -> Option<f64> {
        match &self.compute {
            Compute::Text(score) => score(pair).filter(|score| score.is_finite()),
            _ => None,
        }
    }

    /// Scores one query. `None` if the query has no score, if it is not a metric of retrieval, or if the
    /// metric was read from a report.
    pub fn of_query(&self, found: &Graded<'_>) -> Option<f64> {
        match &self.compute {
            Compute::Query(score) => score(found).filter(|score| score.is_finite()),
            _ => None,
        }
    }

    /// Summarizes the scores of texts or queries, with the 95 % interval. `None` if none of them has a score,
    /// and for leaks and scores that the evaluation measures as a whole.
    pub fn summary(&self, scores: &[Option<f64>], seed: u64) -> Option<Score> {
        let scores: Vec<f64> = scores.iter().copied().flatten().collect();
        match self.interval() {
            _ if scores.is_empty() => None,
            _ if scores.iter().all(|score| self.is_chance(*score)) => {
                let value = scores[0];
                Some(Score { value, low: value, high: value })
            }
            Interval::ClopperPearson => Some(proportion(hits(&scores), scores.len())),
            Interval::BootstrapMean => mean(&scores, seed),
            Interval::BootstrapRatio | Interval::Given => None,
        }
    }
}

/// Counts the scores of a share that mean true.
fn hits(scores: &[f64]) -> usize {
    scores.iter().filter(|score| **score > 0.5).count()
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Scores a text; `None` if it has no score.
type OfText = dyn Fn(&TextPair<'_>) -> Option<f64> + Send + Sync;
/// Scores a query; `None` if it has no score.
type OfQuery = dyn Fn(&Graded<'_>) -> Option<f64> + Send + Sync;

/// How a score is computed.
#[derive(Clone, Default)]
enum Compute {
    /// The score is derived or passed in, or the declaration was read from a report.
    #[default]
    Nothing,
    Text(Arc<OfText>),
    Query(Arc<OfQuery>),
}

/// Functions cannot be compared, so metrics are equal if their declarations are.
impl PartialEq for Compute {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Text(_) => "Text",
            Self::Query(_) => "Query",
        })
    }
}
