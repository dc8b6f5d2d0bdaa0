use ndarray::ArrayView1;

use crate::evaluate::text::{ContentWords, ENGLISH};

/// An attacked text and what was recovered of it, as a metric of texts sees them.
///
/// An evaluation fills in everything but the labels of the output. Pairs from elsewhere, such as those of
/// `embosk score`, may hold only the two texts. A metric returns `None` if something that it needs is
/// missing.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct TextPair<'a> {
    /// The text, after the embedder's normalizer.
    pub truth: &'a str,
    /// What the attack recovered from its vector, after the same normalizer.
    pub output: &'a str,
    /// Which words carry content: what is neither an English stop word nor common in the corpus. Pairs from elsewhere
    /// have no corpus, so only stop words are left out.
    pub content_words: &'a ContentWords,
    /// The labelled names, dates, amounts … of the text.
    pub entities: &'a [&'a str],
    /// The labelled parts of the output. `None` if it is not labelled.
    pub output_entities: Option<&'a [&'a str]>,
    /// The clean vector of the text, `[dim]`.
    pub truth_vector: Option<ArrayView1<'a, f32>>,
    /// The clean vector of the output, `[dim]`.
    pub output_vector: Option<ArrayView1<'a, f32>>,
    /// The adversary's estimate of the text's clean vector, `[dim]`. `None` if the output is compared with a
    /// text that is not its own.
    pub restored_vector: Option<ArrayView1<'a, f32>>,
    /// Whether the adversary guessed the fact that was asked for. `None` if none was.
    pub guessed: Option<bool>,
}

impl<'a> TextPair<'a> {
    /// Creates a pair of texts without labels and vectors.
    pub fn new(truth: &'a str, output: &'a str) -> Self {
        Self {
            truth,
            output,
            content_words: &ENGLISH,
            entities: &[],
            output_entities: None,
            truth_vector: None,
            output_vector: None,
            restored_vector: None,
            guessed: None,
        }
    }

    /// Adds the labelled names, dates, amounts … of the text and, if it is labelled, of the output.
    pub fn entities(self, entities: &'a [&'a str], output_entities: Option<&'a [&'a str]>) -> Self {
        Self { entities, output_entities, ..self }
    }

    /// Returns the cosine between the clean vectors of the text and the output.
    pub fn output_cosine(&self) -> Option<f64> {
        Some(cosine(self.truth_vector?, self.output_vector?))
    }

    /// Returns the cosine between the clean vector of the text and the restored one.
    pub fn restored_cosine(&self) -> Option<f64> {
        Some(cosine(self.truth_vector?, self.restored_vector?))
    }
}

/// The cosine between two vectors; 0 if one has no direction.
pub(in crate::evaluate) fn cosine(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    let norms = (a.dot(&a) * b.dot(&b)).sqrt();
    if norms > 0.0 { f64::from(a.dot(&b) / norms) } else { 0.0 }
}
