use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::KindScore;
use super::conclusion::{Advice, AttackStrength};
use super::metrics::{Columns, Metric, Scores, built_in, check};
use super::second_stage::Reranked;
use super::statistics::Score;
use super::threat::Threat;
use crate::Error;
use crate::digest::Digest;

/// How many digits of a signature's hash are shown.
const HASH_DIGITS: usize = 12;

/// What an evaluation found: a row for each defense and adversary.
///
/// [`Report::to_json`] is for people and scripts. [`Report::to_json_full`] also keeps the scores text by text
/// and query by query, so that a budget can be checked later. Neither contains a text, except for examples
/// that were asked for.
///
/// ```
/// use embosk::evaluate::{Budget, Corpus, Evaluation, Report};
/// # use embosk::Embedder;
/// # let letters = |texts: &[&str]| -> Result<ndarray::Array2<f32>, embosk::BoxError> {
/// #     let count = |text: &str, letter| text.bytes().filter(|&byte| byte == letter).count() as f32;
/// #     Ok(ndarray::Array2::from_shape_fn((texts.len(), 26), |(row, at)| count(texts[row], b'a' + at as u8)))
/// # };
/// let report = Evaluation::new(letters).corpus(Corpus::records(500, 0)).run()?;
/// let kept = report.to_json_full()?;
/// let budget = Budget::new().limit("ndcg_drop", 0.02);
/// assert_eq!(Report::from_json(&kept)?.check(&budget)?, report.check(&budget)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// Everything that the scores depend on: settings, versions, hashes, metrics.
    pub signature: Map<String, Value>,
    /// The scores, in the order in which defenses and adversaries were given.
    pub rows: Vec<Row>,
    /// For each stack that ends in `rerank`: what is recovered by an attacker who has its key, and therefore opens
    /// the exact vectors. It is the undefended leak. Budgets and searches do not count these rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_stolen: Vec<Row>,
    /// The scores of the attack on undefended vectors; with a surrogate, those of the best adversary. `None`
    /// if there was no attack.
    pub ceiling: Option<Scores>,
    /// The scores of the ceiling's outputs, compared with other texts. Each row has its own floor too. `None`
    /// if there was no attack.
    pub floor: Option<Scores>,
    /// The leaks that can be read, such as `leak` and `word_leak`: by their metrics, the undefended attack is shown to
    /// work. Only then does its failure under a defense say anything. Empty if nothing can be concluded.
    #[serde(deserialize_with = "names_or_bool")]
    pub conclusive: Vec<String>,
    /// Why nothing can be concluded. `None` if a leak can be read, or nothing was attacked.
    pub reason: Option<String>,
    /// How strong the undefended attack is, for each leak.
    #[serde(default)]
    pub strengths: Vec<AttackStrength>,
    /// What to do if nothing can be concluded, the best first.
    #[serde(default)]
    pub advice: Vec<Advice>,
    /// What weakens the result: assumptions about the embedder, missing texts, unusual facts, texts cut at its window.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// What was measured, in the order of the scores. Only in the full JSON.
    #[serde(default = "built_in_metrics", skip_serializing)]
    pub metrics: Vec<Metric>,
    /// The scores of undefended vectors, text by text and query by query. Only in the full JSON.
    #[serde(default, skip_serializing)]
    pub undefended: Undefended,
}

/// Version 0.1 had one leak, and wrote whether it can be read.
fn names_or_bool<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Names(Vec<String>),
        Bool(bool),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::Names(names) => names,
        Written::Bool(true) => vec!["leak".into()],
        Written::Bool(false) => Vec::new(),
    })
}

fn built_in_metrics() -> Vec<Metric> {
    built_in().to_vec()
}

impl Report {
    /// Returns whether at least one leak can be read.
    pub fn is_conclusive(&self) -> bool {
        !self.conclusive.is_empty()
    }

    /// Returns the first twelve digits of the SHA-256 of the signature, written as JSON without white space. Reports of
    /// equal settings have the same, and tables print it.
    pub fn signature_hash(&self) -> String {
        let settings = serde_json::to_string(&self.signature).unwrap_or_default();
        let mut digits = Digest::default().raw(settings).hex();
        digits.truncate(HASH_DIGITS);
        digits
    }

    /// Returns the report as indented JSON; a score that was not measured is `null`.
    ///
    /// # Errors
    /// None in practice: everything in a report can be written.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// Returns the report as JSON on one line, with the declarations of its metrics, and with the scores text
    /// by text and query by query.
    ///
    /// # Errors
    /// None in practice: everything in a report can be written.
    pub fn to_json_full(&self) -> Result<String, serde_json::Error> {
        let [rows, key_stolen] = [&self.rows, &self.key_stolen].map(|rows| rows.iter().map(Row::full));
        serde_json::to_string(&FullReport {
            signature: &self.signature,
            rows: rows.collect(),
            key_stolen: key_stolen.collect(),
            ceiling: self.ceiling.as_ref(),
            floor: self.floor.as_ref(),
            conclusive: &self.conclusive,
            reason: self.reason.as_deref(),
            strengths: &self.strengths,
            advice: &self.advice,
            warnings: &self.warnings,
            metrics: &self.metrics,
            undefended: &self.undefended,
        })
    }

    /// Reads what [`Report::to_json`] or [`Report::to_json_full`] wrote. Only the full form has the scores
    /// text by text, so only the full form can be checked against a budget.
    ///
    /// # Errors
    /// When the text is not a report.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let report: Self = serde_json::from_str(text).map_err(|error| {
            // serde's own message may quote the file, which may hold texts
            let (line, column) = (error.line(), error.column());
            Error::Setting(format!(
                "line {line}, column {column}: this is not a report; give a file that `embosk evaluate --format json` \
                 or `Report::to_json_full` wrote"
            ))
        })?;
        check(&report.metrics)?;
        Ok(report)
    }
}

/// The full form of a report.
#[derive(Serialize)]
struct FullReport<'a> {
    signature: &'a Map<String, Value>,
    rows: Vec<FullRow<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    key_stolen: Vec<FullRow<'a>>,
    ceiling: Option<&'a Scores>,
    floor: Option<&'a Scores>,
    conclusive: &'a [String],
    reason: Option<&'a str>,
    strengths: &'a [AttackStrength],
    advice: &'a [Advice],
    warnings: &'a [String],
    metrics: &'a [Metric],
    undefended: &'a Undefended,
}

/// The full form of a row.
#[derive(Serialize)]
pub(crate) struct FullRow<'a> {
    #[serde(flatten)]
    row: &'a Row,
    texts: &'a Columns,
    unrelated: &'a Columns,
    queries: &'a Columns,
}

/// One defense under one adversary: privacy and utility, both measured on the same protected vectors.
///
/// In JSON, its scores are fields next to the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Row {
    /// The stack's spec; a key is shown as its fingerprint.
    pub defense: String,
    /// The adversary, or `none` if only retrieval was measured.
    pub adversary: String,
    /// How many texts were attacked.
    pub n: usize,
    /// How many of them were recovered word for word: as the embedder reads them, apart from white space.
    #[serde(default)]
    pub recovered: usize,
    /// The leaks of this row that can be read. Those of the [report](Report::conclusive), unless the row is of a
    /// retrained attack that does not work by itself.
    #[serde(default)]
    pub conclusive: Vec<String>,
    /// The score of each metric.
    #[serde(flatten)]
    pub scores: Scores,
    /// Who sees the vectors: a thief of the store, or its operator, who also sees queries. `None` if the stack has no
    /// noise on documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threat: Option<Threat>,
    /// Whether the adversary attacks the stack's key with enough means: with at least as many leaked pairs as the stored
    /// vectors have dimensions, or so that the restored vectors come near the clean ones. `None` if the stack has no key
    /// that turns the space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_attacked: Option<bool>,
    /// How many candidates there were for each fact. `None` if nothing was to be guessed.
    #[serde(default)]
    pub guess_candidates: Option<usize>,
    /// How often facts of each kind were guessed.
    #[serde(default)]
    pub guess_by_kind: BTreeMap<String, KindScore>,
    /// The map from protected to clean vectors that the adversary chose. `None` if it chose none.
    pub map: Option<String>,
    /// Oracle queries per text, on average.
    pub oracle_queries: Option<f64>,
    /// What re-ranking costs each query. `None` if the stack does not end in `rerank`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reranked: Option<Reranked>,
    /// The first of the attacked texts, if they were asked for:
    /// [`Evaluation::examples`](super::Evaluation::examples).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
    /// The scores of each attacked text, in the same order in every row. Only in the full JSON.
    #[serde(default, skip_serializing)]
    pub texts: Columns,
    /// The scores of these outputs, each compared with another text: the score of chance. It has only the metrics
    /// from which a floor or a leak is computed. Only in the full JSON.
    #[serde(default, skip_serializing)]
    pub unrelated: Columns,
    /// The retrieval scores of each judged query, in the same order in every row. Only in the full JSON.
    #[serde(default, skip_serializing)]
    pub queries: Columns,
}

impl Row {
    /// Returns the score of a metric: `row.score("bleu")`. `None` if it was not measured.
    pub fn score(&self, metric: &str) -> Option<Score> {
        self.scores.score(metric)
    }

    /// The row with its scores text by text, as JSON.
    pub(crate) fn full(&self) -> FullRow<'_> {
        FullRow { row: self, texts: &self.texts, unrelated: &self.unrelated, queries: &self.queries }
    }
}

/// An attacked text and what was recovered of it, both after the embedder's normalizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Example {
    /// The text.
    pub text: String,
    /// What the attack made of its protected vector.
    pub recovered: String,
}

/// The scores of undefended vectors, text by text and query by query, in the same order as in the rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Undefended {
    /// Oracle queries per text, on average. `None` if there was no attack.
    pub oracle_queries: Option<f64>,
    /// The scores of each text: the ceiling. Empty if there was no attack.
    pub texts: Columns,
    /// The scores of the same outputs, each compared with another text: the floor.
    pub unrelated: Columns,
    /// The retrieval scores of each judged query.
    pub queries: Columns,
}
