use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::statistics::Score;

/// What an evaluation found: a row for each defense and adversary.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// All that the scores depend on: settings, versions, hashes, metrics.
    pub signature: Map<String, Value>,
    /// The scores, in the order in which defenses and adversaries were given.
    pub rows: Vec<Row>,
    /// The attack on undefended vectors. `None` where there was no attack.
    pub ceiling: Option<AttackScores>,
    /// The ceiling's outputs held against other texts. `None` where there was no attack.
    pub floor: Option<AttackScores>,
    /// Whether the undefended attack works, so that its failing under a defense says something.
    pub conclusive: bool,
    /// Why not.
    pub reason: Option<String>,
}

impl Report {
    /// The report as indented JSON; a score that was not measured is `null`.
    ///
    /// # Errors
    /// None in practice: everything in a report can be written.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

/// One defense under one adversary: privacy and utility, both measured on the same protected vectors.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Row {
    /// The stack, as its spec is written; a key is its fingerprint.
    pub defense: String,
    /// The adversary, or `none` where only retrieval was measured.
    pub adversary: String,
    /// How many texts were attacked.
    pub n: usize,
    /// What came back of them.
    #[serde(flatten)]
    pub attack: AttackScores,
    /// `(bleu − floor) / (ceiling − floor)`: 1 is as much as without a defense, 0 what chance gives.
    pub leak: Option<Score>,
    /// What is left of retrieval.
    #[serde(flatten)]
    pub retrieval: RetrievalScores,
    /// The map from protected to clean vectors that the adversary chose. `None` where he fits none.
    pub map: Option<String>,
    /// Oracle queries a text, on average.
    pub oracle_queries: Option<f64>,
    /// The first of the attacked texts, where they were asked for: [`Evaluation::examples`](super::Evaluation::examples).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
}

/// An attacked text and what came back of it, both as the embedder's normalizer leaves them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Example {
    /// The text.
    pub text: String,
    /// What the attack made of its protected vector.
    pub recovered: String,
}

/// What came back of the attacked texts. A score is `None` where it was not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttackScores {
    /// The share of texts that came back whole.
    pub exact_match: Option<Score>,
    /// Sentence BLEU, 0 to 100, on average.
    pub bleu: Option<Score>,
    /// F1 over word sets, on average.
    pub token_f1: Option<Score>,
    /// ROUGE-L, on average.
    pub rouge_l: Option<Score>,
    /// The share of labelled names, dates, amounts … that came back, over texts that have any.
    pub entity_recall: Option<Score>,
    /// The cosine between the clean vectors of the recovered and the true text, on average.
    pub cosine: Option<Score>,
}

/// Retrieval by cosine, over the judged queries. A score is `None` where there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetrievalScores {
    /// Normalised discounted cumulative gain of the first ten.
    pub ndcg_at_10: Option<Score>,
    /// The share of relevant documents among the first ten.
    pub recall_at_10: Option<Score>,
    /// One over the rank of the first relevant document among the first ten.
    pub mrr_at_10: Option<Score>,
}
