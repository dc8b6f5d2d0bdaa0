use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::statistics::{Score, mean, proportion};

/// What an evaluation found: a row for each defense and adversary.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// All that the scores depend on: settings, versions, hashes, metrics.
    pub signature: Map<String, Value>,
    /// The scores, in the order in which defenses and adversaries were given.
    pub rows: Vec<Row>,
    /// The attack on undefended vectors; with a surrogate, as the best of the adversaries carries it over.
    /// `None` where there was no attack.
    pub ceiling: Option<AttackScores>,
    /// The ceiling's outputs held against other texts; each row has a floor of its own. `None` where there was
    /// no attack.
    pub floor: Option<AttackScores>,
    /// Whether the undefended attack works, so that its failing under a defense says something.
    pub conclusive: bool,
    /// Why not.
    pub reason: Option<String>,
    /// What the scores of undefended vectors are made of. Not in the JSON.
    #[serde(skip)]
    pub undefended: Undefended,
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
    /// The BLEU of the row's outputs, each held against another text: what chance gives.
    pub floor: Option<Score>,
    /// `(bleu − floor) / (ceiling − floor)`: 1 is as much as without a defense, 0 what chance gives.
    pub leak: Option<Score>,
    /// What is left of retrieval.
    #[serde(flatten)]
    pub retrieval: RetrievalScores,
    /// The share of documents whose vectors under two keys are told to belong together, by norm and
    /// neighbourhood; chance is one in as many documents. `None` for a defense without a key.
    #[serde(rename = "linkage_recall_at_1")]
    pub linkage: Option<Score>,
    /// The cosine between the clean vectors and what the adversary made of the protected ones before
    /// the attack proper, on average: what their map is worth, whatever the language model.
    pub restored_cosine: Option<Score>,
    /// The map from protected to clean vectors that the adversary chose. `None` where there is none.
    pub map: Option<String>,
    /// Oracle queries a text, on average.
    pub oracle_queries: Option<f64>,
    /// The first of the attacked texts, where they were asked for: [`Evaluation::examples`](super::Evaluation::examples).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
    /// What came back of each attacked text, in the same order in every row. Not in the JSON.
    #[serde(skip)]
    pub texts: Vec<TextScores>,
    /// The BLEU of each of these outputs, held against another text. Not in the JSON.
    #[serde(skip)]
    pub unrelated: Vec<f64>,
    /// Retrieval of each judged query, in the same order in every row. Not in the JSON.
    #[serde(skip)]
    pub queries: Vec<QueryScores>,
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

/// The scores of undefended vectors, text by text and query by query, in the order of the rows'.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Undefended {
    /// Oracle queries a text, on average. `None` where there was no attack.
    pub oracle_queries: Option<f64>,
    /// What came back of each text: the ceiling. Empty where there was no attack.
    pub texts: Vec<TextScores>,
    /// The same outputs, each held against another text: the floor.
    pub unrelated: Vec<TextScores>,
    /// Retrieval of each judged query.
    pub queries: Vec<QueryScores>,
}

/// What came back of one text, in the units of [`AttackScores`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct TextScores {
    pub exact_match: bool,
    pub bleu: f64,
    pub token_f1: f64,
    pub rouge_l: f64,
    /// `None` for a text in which nothing is labelled.
    pub entity_recall: Option<f64>,
    pub cosine: f64,
}

/// Retrieval of one query, in the units of [`RetrievalScores`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct QueryScores {
    pub ndcg_at_10: f64,
    pub recall_at_10: f64,
    pub mrr_at_10: f64,
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

impl AttackScores {
    /// The means over texts.
    pub(super) fn of(texts: &[TextScores], seed: u64) -> Self {
        let average = |score: fn(&TextScores) -> Option<f64>| {
            mean(&texts.iter().filter_map(score).collect::<Vec<_>>(), seed)
        };
        let exact = texts.iter().filter(|text| text.exact_match).count();
        Self {
            exact_match: Some(proportion(exact, texts.len())),
            bleu: average(|text| Some(text.bleu)),
            token_f1: average(|text| Some(text.token_f1)),
            rouge_l: average(|text| Some(text.rouge_l)),
            entity_recall: average(|text| text.entity_recall),
            cosine: average(|text| Some(text.cosine)),
        }
    }
}

impl RetrievalScores {
    /// The means over queries.
    pub(super) fn of(queries: &[QueryScores], seed: u64) -> Self {
        let average =
            |score: fn(&QueryScores) -> f64| mean(&queries.iter().map(score).collect::<Vec<_>>(), seed);
        Self {
            ndcg_at_10: average(|query| query.ndcg_at_10),
            recall_at_10: average(|query| query.recall_at_10),
            mrr_at_10: average(|query| query.mrr_at_10),
        }
    }
}
