//! The kinds of metrics.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the score of a row is computed from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::evaluate) enum Basis {
    /// True or false for each text.
    Share,
    /// A number for each text.
    Mean,
    /// A number for each query, from at least `depth` documents found.
    Retrieval { depth: usize },
    /// The scores of the metric of this name for outputs that are compared with other texts.
    FloorOf(String),
    /// The position of the metric of this name between its floor and its ceiling.
    LeakOf(String),
    /// The evaluation measures it as a whole, over these.
    Given(Unit),
}

/// What a metric is counted over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unit {
    /// The attacked texts.
    Texts,
    /// The judged queries.
    Queries,
    /// The stored documents.
    Documents,
}

/// Who benefits from a higher score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The attacker. A budget limits the score itself.
    MoreLeaks,
    /// The users of retrieval. A budget limits how far the score falls below that of undefended vectors.
    MoreServes,
}

/// How the 95 % interval of a metric is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interval {
    /// The exact interval of Clopper and Pearson, for a share.
    ClopperPearson,
    /// The percentile bootstrap, for a mean.
    BootstrapMean,
    /// The percentile bootstrap, for a ratio of means.
    BootstrapRatio,
    /// The evaluation computes it together with the score.
    Given,
}

/// Where a metric is shown. Each place also shows the metrics of the places before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Shown {
    /// In lines that summarize a whole row, as in the progress of an evaluation.
    Line,
    /// In the table on the page of a curve.
    Page,
    /// In the table for the terminal.
    Terminal,
    /// In files: CSV, Markdown, JSON.
    Files,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Texts => "texts",
            Self::Queries => "queries",
            Self::Documents => "documents",
        })
    }
}
