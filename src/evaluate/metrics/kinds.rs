//! What kinds of metrics there are.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the score of a row is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::evaluate) enum Basis {
    /// A yes or no of each text.
    Share,
    /// A number of each text.
    Mean,
    /// A number of each query, from so many documents found.
    Retrieval { depth: usize },
    /// The metric of this name, of outputs that are held against other texts.
    FloorOf(String),
    /// Where the metric of this name lies between its floor and its ceiling.
    LeakOf(String),
    /// The evaluation measures it as a whole.
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

/// Whom more of a metric serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The attacker: a budget limits the score itself.
    MoreLeaks,
    /// The users of retrieval: a budget limits by how much the score falls below that of undefended vectors.
    MoreServes,
}

/// How the 95 % interval of a metric is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interval {
    /// Clopper and Pearson's, of a share.
    ClopperPearson,
    /// The percentile bootstrap of a mean.
    BootstrapMean,
    /// The percentile bootstrap of a ratio of means.
    BootstrapRatio,
    /// The evaluation's own, of what it measures as a whole.
    Given,
}

/// Where a metric is shown: each place also shows what the places before it show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Shown {
    /// Where one line speaks for a whole row, as in the progress of an evaluation.
    Line,
    /// On the page of a curve.
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
