//! The scores of an earlier report, text by text, to compare a new report with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::metrics::{Basis, Metric, by_limit, losses, over_floor};
use super::report::{Report, Row};
use crate::Error;

/// The version of the format.
const FORMAT: u32 = 1;

/// Settings that may differ. The scores of texts do not depend on them, except on the version: a baseline is there
/// to notice when a new version attacks better or defends worse.
const MAY_DIFFER: [&str; 3] = ["embosk", "oracle_queries_undefended", "intervals"];

/// The setting that holds the rules of each metric.
const METRICS: &str = "metrics";

/// The scores of a report, text by text and query by query, and the settings that they were measured with. It
/// holds no text.
///
/// ```
/// use embosk::evaluate::{Baseline, Budget, Corpus, Evaluation, Outcome};
/// # use embosk::Embedder;
/// # let letters = |texts: &[&str]| -> Result<ndarray::Array2<f32>, embosk::BoxError> {
/// #     let count = |text: &str, letter| text.bytes().filter(|&byte| byte == letter).count() as f32;
/// #     Ok(ndarray::Array2::from_shape_fn((texts.len(), 26), |(row, at)| count(texts[row], b'a' + at as u8)))
/// # };
/// let report = Evaluation::new(letters).corpus(Corpus::records(1000, 0)).run()?;
/// let kept = Baseline::of(&report).to_json();
/// let budget = Budget::new().baseline(Baseline::from_json(&kept)?);
/// assert_eq!(report.check(&budget)?.outcome, Outcome::Pass);
/// # Ok::<(), embosk::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    format: u32,
    /// The report's signature: settings, versions, hashes.
    signature: Map<String, Value>,
    rows: Vec<BaselineRow>,
}

/// The columns of a row, by the names under which metrics are limited. For retrieval they hold what is lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BaselineRow {
    defense: String,
    adversary: String,
    scores: BTreeMap<String, Vec<Option<f64>>>,
}

impl Baseline {
    /// Takes the scores of a report.
    pub fn of(report: &Report) -> Self {
        let measured = |row: &Row| BaselineRow {
            defense: row.defense.clone(),
            adversary: row.adversary.clone(),
            scores: report
                .metrics
                .iter()
                .filter_map(|metric| Some((metric.limited_as.clone()?, column(report, row, metric))))
                .filter(|(_, column)| column.iter().any(Option::is_some))
                .collect(),
        };
        let mut signature = report.signature.clone();
        signature.remove("oracle_queries_undefended");
        Self { format: FORMAT, signature, rows: report.rows.iter().map(measured).collect() }
    }

    /// Reads what [`Baseline::to_json`] wrote.
    ///
    /// # Errors
    /// When it is not a baseline, or one of another version.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let bad =
            |message: String| Error::Setting(format!("it is not a baseline that can be read: {message}"));
        let read: Self = serde_json::from_str(text).map_err(|error| {
            // serde's own words may quote the file
            bad(format!("line {} is damaged, or not of the format", error.line()))
        })?;
        match read.format {
            FORMAT => Ok(read),
            other => Err(bad(format!("its format is {other}, and {FORMAT} is known; make it anew"))),
        }
    }

    /// Writes the baseline as JSON, one row per line.
    pub fn to_json(&self) -> String {
        // maps of strings and numbers can always be written
        let json = |value: &dyn Fn() -> serde_json::Result<String>| value().unwrap_or_default();
        let signature = json(&|| serde_json::to_string(&self.signature));
        let mut text = format!("{{\n\"format\": {},\n\"signature\": {signature},\n\"rows\": [", self.format);
        for (at, row) in self.rows.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let _ = write!(text, "{comma}\n{}", json(&|| serde_json::to_string(row)));
        }
        text + "\n]\n}\n"
    }

    /// Returns the names of the settings of `signature` that differ from the baseline's. Settings that `signature`
    /// does not have are not compared, so that some can be checked before the others are known.
    pub fn unlike(&self, signature: &Map<String, Value>) -> Vec<String> {
        let differs = |(name, now): &(&String, &Value)| {
            !MAY_DIFFER.contains(&name.as_str())
                && !self.signature.get(*name).is_some_and(|then| match name.as_str() {
                    METRICS => same_rules(then, now),
                    _ => same(then, now),
                })
        };
        let told = |(name, now): (&String, &Value)| {
            let short = |value: &Value| {
                let text = value.to_string();
                if name.ends_with("sha256") || text.len() > 200 { None } else { Some(text) }
            };
            match (self.signature.get(name).map(short), short(now)) {
                (None, _) => format!("{name} (not in the baseline)"),
                (Some(Some(then)), Some(now)) => format!("{name} ({then}, now {now})"),
                _ => name.clone(),
            }
        };
        signature.iter().filter(differs).map(told).collect()
    }

    /// Refuses a signature with other settings than the baseline's.
    ///
    /// # Errors
    /// [`Error::Setting`], which lists the settings that differ.
    pub fn check(&self, signature: &Map<String, Value>) -> Result<(), Error> {
        let unlike = self.unlike(signature);
        if unlike.is_empty() {
            return Ok(());
        }
        Err(Error::Setting(format!(
            "the baseline cannot be compared, as it was made with other settings: {}; go back to these, or make it anew",
            unlike.join(", ")
        )))
    }

    /// How much worse each text and query scores than in the baseline, for the metrics with a tolerance.
    pub(super) fn changes<'a>(
        &self,
        report: &'a Report,
        tolerances: &[(String, f64)],
    ) -> Result<Vec<Change<'a>>, Error> {
        self.check(&report.signature)?;
        let tolerances = tolerances
            .iter()
            .map(|(name, tolerance)| Ok((by_limit(&report.metrics, name)?, *tolerance)))
            .collect::<Result<Vec<(&Metric, f64)>, Error>>()?;
        let gone = self.signature.keys().find(|name| {
            !MAY_DIFFER.contains(&name.as_str()) && !report.signature.contains_key(name.as_str())
        });
        if let Some(gone) = gone {
            return Err(Error::Setting(format!(
                "the baseline cannot be compared: it was made with {gone}, and the report was not"
            )));
        }
        let mut changes = Vec::new();
        for (at, row) in report.rows.iter().enumerate() {
            let again = report.rows[..at].iter().any(|other| other.defense == row.defense);
            for &(metric, tolerance) in
                tolerances.iter().filter(|(metric, _)| !(again && metric.is_retrieval()))
            {
                let now = column(report, row, metric);
                if now.iter().any(Option::is_some) {
                    let worse = self.worse(row, metric, &now)?;
                    changes.push(Change { row, metric, tolerance, worse });
                }
            }
        }
        Ok(changes)
    }

    fn worse(&self, row: &Row, metric: &Metric, now: &[Option<f64>]) -> Result<Vec<f64>, Error> {
        let same_row = |then: &&BaselineRow| then.defense == row.defense && then.adversary == row.adversary;
        let then = self.rows.iter().find(same_row).and_then(|then| then.scores.get(metric.limit_name()));
        let then = then.filter(|then| then.len() == now.len()).ok_or_else(|| {
            Error::Setting(format!(
                "the baseline has no `{}` of as many texts or queries for {}, {}; make it anew",
                metric.limit_name(),
                row.defense,
                row.adversary
            ))
        })?;
        Ok(now.iter().zip(then).filter_map(|(now, then)| Some((*now)? - (*then)?)).collect())
    }
}

/// A metric of a row, and how much worse it became, text by text or query by query.
pub(super) struct Change<'a> {
    pub(super) row: &'a Row,
    pub(super) metric: &'a Metric,
    pub(super) tolerance: f64,
    pub(super) worse: Vec<f64>,
}

/// One number for each text or query, where more is worse. `None` for a text without a score. Empty if the metric was
/// not measured.
fn column(report: &Report, row: &Row, metric: &Metric) -> Vec<Option<f64>> {
    let undefended = &report.undefended;
    match &metric.basis {
        Basis::Retrieval { .. } => losses(metric, &undefended.queries, &row.queries),
        Basis::LeakOf(base) => leaks(over_floor(base, &row.texts, &row.unrelated, &undefended.texts)),
        _ => row.texts.column(&metric.name).to_vec(),
    }
}

/// What each text contributes to a leak; the mean of these is the leak.
fn leaks(over_floor: Vec<Option<(f64, f64)>>) -> Vec<Option<f64>> {
    let terms = over_floor.iter().flatten();
    let (range, n) = (terms.clone().map(|(_, ceiling)| ceiling).sum::<f64>(), terms.count());
    let share = range / n.max(1) as f64;
    let leak = |term: Option<(f64, f64)>| term.filter(|_| share > 0.0).map(|(score, _)| score / share);
    over_floor.into_iter().map(leak).collect()
}

/// Whether the metrics that both sides know have the same rules.
fn same_rules(then: &Value, now: &Value) -> bool {
    let rules = now.as_object().into_iter().flatten();
    rules.filter_map(|(metric, rules)| Some((then.get(metric)?, rules))).all(|(then, now)| then == now)
}

/// Whether two settings are equal. The order of a list does not matter.
fn same(then: &Value, now: &Value) -> bool {
    match (then.as_array(), now.as_array()) {
        (Some(then), Some(now)) => {
            let set = |list: &[Value]| list.iter().map(Value::to_string).collect::<BTreeSet<_>>();
            set(then) == set(now)
        }
        _ => then == now,
    }
}
