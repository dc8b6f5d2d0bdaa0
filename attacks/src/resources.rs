//! What an attack works with besides the vectors that it attacks.

use std::fmt;

use ndarray::ArrayView2;

use crate::{Error, Oracle};

/// What an attack works with besides the attacked vectors: an oracle, and perhaps the attacker's own texts.
///
/// ```
/// use embosk_attacks::{BoxError, OwnTexts, Resources};
/// use ndarray::{Array2, array};
///
/// let oracle = |texts: &[&str]| -> Result<Array2<f32>, BoxError> { Ok(Array2::ones((texts.len(), 2))) };
/// let texts = ["a letter".to_owned()];
/// let vectors = array![[1.0, 1.0]];
/// let resources = Resources::new(&oracle).own_texts(OwnTexts::new(&texts, vectors.view())?);
/// assert_eq!(resources.own.map(|own| own.texts.len()), Some(1));
/// # Ok::<(), embosk_attacks::Error>(())
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Resources<'a> {
    /// The clean embedder, in whose space the attacked vectors are.
    pub oracle: &'a dyn Oracle,
    /// Texts of the same kind as the attacked ones, with their clean vectors. `None` if the attacker has
    /// none.
    pub own: Option<OwnTexts<'a>>,
    /// More texts of the same kind, which the attacker does not embed. They teach an attack language.
    pub language: &'a [String],
}

impl<'a> Resources<'a> {
    /// Creates resources with an oracle and nothing else.
    pub fn new(oracle: &'a dyn Oracle) -> Self {
        Self { oracle, own: None, language: &[] }
    }

    /// Adds the attacker's own texts.
    pub fn own_texts(self, own: OwnTexts<'a>) -> Self {
        Self { own: Some(own), ..self }
    }

    /// Adds texts that the attacker does not embed.
    pub fn language(self, texts: &'a [String]) -> Self {
        Self { language: texts, ..self }
    }

    /// Replaces the oracle, for an attack that wraps another one.
    pub fn with_oracle<'b>(self, oracle: &'b dyn Oracle) -> Resources<'b>
    where
        'a: 'b,
    {
        let own = self.own.map(|own| OwnTexts { texts: own.texts, vectors: own.vectors.reborrow() });
        Resources { oracle, own, language: self.language }
    }
}

impl fmt::Debug for Resources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resources")
            .field("own", &self.own)
            .field("language", &self.language.len())
            .finish_non_exhaustive()
    }
}

/// The attacker's own texts and their clean vectors, row by row.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct OwnTexts<'a> {
    /// The texts.
    pub texts: &'a [String],
    /// Their vectors as documents, in the oracle's space, `[texts, dim]`.
    pub vectors: ArrayView2<'a, f32>,
}

impl<'a> OwnTexts<'a> {
    /// Pairs each text with its vector.
    ///
    /// # Errors
    /// [`Error::Setting`] unless there are as many vectors as texts.
    pub fn new(texts: &'a [String], vectors: ArrayView2<'a, f32>) -> Result<Self, Error> {
        if texts.len() == vectors.nrows() {
            return Ok(Self { texts, vectors });
        }
        let (texts, rows) = (texts.len(), vectors.nrows());
        Err(Error::Setting(format!("the attacker has {texts} own texts, but {rows} vectors of them")))
    }
}

/// Prints how many there are, but no text.
impl fmt::Debug for OwnTexts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnTexts")
            .field("texts", &self.texts.len())
            .field("dim", &self.vectors.ncols())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::BoxError;

    #[test]
    fn a_text_without_a_vector_is_refused_and_no_text_is_printed() {
        let texts = ["a secret".to_owned(), "another secret".to_owned()];
        let vectors = Array2::zeros((2, 3));
        let message = OwnTexts::new(&texts[..1], vectors.view()).unwrap_err().to_string();
        assert!(message.contains("1 own texts, but 2 vectors"), "{message}");
        let oracle =
            |texts: &[&str]| -> Result<Array2<f32>, BoxError> { Ok(Array2::zeros((texts.len(), 3))) };
        let own = OwnTexts::new(&texts, vectors.view()).unwrap();
        let printed = format!("{:?}", Resources::new(&oracle).own_texts(own));
        assert!(printed.contains("texts: 2, dim: 3") && !printed.contains("secret"), "{printed}");
    }
}
