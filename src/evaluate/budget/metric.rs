use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::super::report::{QueryScores, TextScores};
use crate::Error;

/// What a [`Budget`](super::Budget) limits: scores of an attack, of which more is worse, and what a defense
/// takes from retrieval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Metric {
    /// The share of texts that came back whole, 0 to 1.
    ExactMatch,
    /// Sentence BLEU on average, 0 to 100.
    Bleu,
    /// F1 over word sets on average, 0 to 1.
    TokenF1,
    /// ROUGE-L on average, 0 to 1.
    RougeL,
    /// The share of labelled names, dates, amounts … that came back, 0 to 1.
    EntityRecall,
    /// The cosine between the clean vectors of the recovered and the true text on average, −1 to 1.
    Cosine,
    /// `(bleu − floor) / (ceiling − floor)`: 1 is as much as without a defense, 0 what chance gives.
    Leak,
    /// By how much nDCG@10 falls below that of the undefended vectors.
    NdcgDrop,
    /// By how much Recall@10 falls below that of the undefended vectors.
    RecallDrop,
    /// By how much MRR@10 falls below that of the undefended vectors.
    MrrDrop,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::ExactMatch,
        Self::Bleu,
        Self::TokenF1,
        Self::RougeL,
        Self::EntityRecall,
        Self::Cosine,
        Self::Leak,
        Self::NdcgDrop,
        Self::RecallDrop,
        Self::MrrDrop,
    ];

    /// As budget files and reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactMatch => "exact_match",
            Self::Bleu => "bleu",
            Self::TokenF1 => "token_f1",
            Self::RougeL => "rouge_l",
            Self::EntityRecall => "entity_recall",
            Self::Cosine => "cosine",
            Self::Leak => "leak",
            Self::NdcgDrop => "ndcg_drop",
            Self::RecallDrop => "recall_drop",
            Self::MrrDrop => "mrr_drop",
        }
    }

    /// Whether it is of retrieval, whoever attacks.
    pub fn is_retrieval(self) -> bool {
        matches!(self, Self::NdcgDrop | Self::RecallDrop | Self::MrrDrop)
    }

    /// What it is counted over.
    pub fn unit(self) -> &'static str {
        if self.is_retrieval() { "queries" } else { "texts" }
    }

    /// The least and the most that one text can score, or one query lose.
    pub(super) fn range(self) -> (f64, f64) {
        match self {
            Self::Bleu => (0.0, 100.0),
            Self::Cosine | Self::NdcgDrop | Self::RecallDrop | Self::MrrDrop => (-1.0, 1.0),
            _ => (0.0, 1.0),
        }
    }

    /// What a query lost of the score that its metric is of.
    pub(in super::super) fn lost(self, before: &QueryScores, after: &QueryScores) -> f64 {
        match self {
            Self::RecallDrop => before.recall_at_10 - after.recall_at_10,
            Self::MrrDrop => before.mrr_at_10 - after.mrr_at_10,
            _ => before.ndcg_at_10 - after.ndcg_at_10,
        }
    }

    /// Refuses a limit that the metric cannot have.
    pub(super) fn check(self, limit: f64) -> Result<(), Error> {
        let (least, most) = self.range();
        if (least..=most).contains(&limit) {
            return Ok(());
        }
        Err(Error::Setting(format!("`{self}` lies between {least} and {most}; {limit} cannot be its limit")))
    }
}

impl FromStr for Metric {
    type Err = Error;

    /// # Errors
    /// When there is no such metric; the message names those that there are.
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|metric| metric.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Setting(format!("there is no such metric; there are {names}"))
        })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A text's score; `None` where it has none, and for what is not of one text.
pub(in super::super) fn score_of_text(text: &TextScores, metric: Metric) -> Option<f64> {
    match metric {
        Metric::ExactMatch => Some(f64::from(u8::from(text.exact_match))),
        Metric::Bleu => Some(text.bleu),
        Metric::TokenF1 => Some(text.token_f1),
        Metric::RougeL => Some(text.rouge_l),
        Metric::EntityRecall => text.entity_recall,
        Metric::Cosine => Some(text.cosine),
        _ => None,
    }
}
