//! Scores a model's outputs for the held-out texts: two scores, by the kind of model.

use ndarray::Array2;
use serde_json::{Value, json};

use crate::attacks::vec2text::train::Outputs;
use crate::evaluate::statistics::{SIMILARITY_PAIRS, similarity_correlation};
use crate::evaluate::text::{bleu, exact_match};

/// What outputs are compared with.
pub(super) enum HeldOut {
    /// The texts that an attack should recover: exact match and BLEU.
    Texts(Vec<String>),
    /// The teacher's vectors of norm 1: mean cosine, and Spearman's correlation of pairwise cosines.
    Vectors(Array2<f32>),
}

impl HeldOut {
    /// The names of the scores in `log.csv`.
    pub(super) fn columns(&self) -> [&'static str; 2] {
        match self {
            Self::Texts(_) => ["held_out_exact_match", "held_out_bleu"],
            Self::Vectors(_) => ["held_out_cosine", "held_out_spearman"],
        }
    }

    /// The two scores; `None` for outputs of another kind of model.
    pub(super) fn scores(&self, outputs: &Outputs) -> Option<(f64, f64)> {
        match (self, outputs) {
            (Self::Texts(texts), Outputs::Texts(outputs)) => {
                let pairs = outputs.iter().zip(texts);
                let exact = pairs.clone().filter(|(output, text)| exact_match(output, text)).count();
                let total: f64 = pairs.map(|(output, text)| bleu(output, text)).sum();
                let count = outputs.len().max(1) as f64;
                Some((exact as f64 / count, total / count))
            }
            (Self::Vectors(vectors), Outputs::Vectors(outputs)) => {
                let pairs = vectors.rows().into_iter().zip(outputs.rows());
                let total: f64 = pairs.map(|(vector, output)| f64::from(vector.dot(&output))).sum();
                let structure = similarity_correlation(vectors.view(), outputs.view(), 0);
                Some((total / vectors.nrows().max(1) as f64, structure))
            }
            _ => None,
        }
    }

    /// The scores as `log.csv` has them.
    pub(super) fn fields(&self, (first, second): (f64, f64)) -> String {
        match self {
            Self::Texts(_) => format!("{first:.4},{second:.2}"),
            Self::Vectors(_) => format!("{first:.5},{second:.5}"),
        }
    }

    /// The scores as the progress bar shows them.
    pub(super) fn told(&self, (first, second): (f64, f64)) -> String {
        match self {
            Self::Texts(_) => format!("held-out BLEU {second:.1}, exact {:.0} %", 100.0 * first),
            Self::Vectors(_) => format!("held-out cosine {first:.3}, Spearman {second:.3}"),
        }
    }

    /// The scores as the manifest has them.
    pub(super) fn listed(&self, (first, second): (f64, f64)) -> Value {
        match self {
            Self::Texts(texts) => json!({
                "texts": texts.len(), "decoding": "greedy, one pass", "exact_match": first, "bleu": second,
            }),
            Self::Vectors(vectors) => json!({
                "texts": vectors.nrows(), "cosine": first, "spearman": second, "pairs": SIMILARITY_PAIRS,
            }),
        }
    }
}
