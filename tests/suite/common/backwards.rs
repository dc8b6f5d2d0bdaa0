//! An attack that recovers words and not their order.

use std::fmt;

use embosk::attacks::{self, Attack, Inversion, Resources};
use ndarray::ArrayView2;

use super::lookup::Lookup;

/// Finds the text, and gives its words in the opposite order: hardly any BLEU, and every word.
#[derive(Debug)]
pub(crate) struct Backwards(pub(crate) Lookup);

impl fmt::Display for Backwards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "backwards({})", self.0)
    }
}

impl Attack for Backwards {
    fn invert(
        &self,
        vectors: ArrayView2<'_, f32>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, attacks::Error> {
        let backwards = |text: &str| text.split_whitespace().rev().collect::<Vec<_>>().join(" ");
        let found = self.0.invert(vectors, resources)?;
        Ok(found.into_iter().map(|found| Inversion { output: backwards(&found.output), ..found }).collect())
    }
}
