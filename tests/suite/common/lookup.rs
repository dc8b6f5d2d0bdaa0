//! An attack that needs no model.

use std::fmt;

use embosk::attacks::{self, Attack, Inversion, Resources};
use ndarray::ArrayView2;

/// Knows texts, and returns the one whose clean vector is nearest.
#[derive(Debug)]
pub(crate) struct Lookup(pub(crate) Vec<String>);

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lookup({})", self.0.len())
    }
}

impl Attack for Lookup {
    fn invert(
        &self,
        vectors: ArrayView2<'_, f32>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, attacks::Error> {
        let texts: Vec<&str> = self.0.iter().map(String::as_str).collect();
        let known = resources.oracle.embed(&texts).map_err(attacks::Error::Oracle)?;
        let cosines = vectors.dot(&known.t());
        Ok(cosines.rows().into_iter().map(|row| best(&texts, |text| row[text])).collect())
    }
}

/// The text that scores best.
pub(crate) fn best(texts: &[&str], score: impl Fn(usize) -> f32) -> Inversion {
    let scores: Vec<f32> = (0..texts.len()).map(score).collect();
    let best = (0..texts.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0);
    Inversion {
        steps: vec![],
        output: texts[best].to_owned(),
        cosine: scores[best],
        queries: texts.len(),
        local_gain: 0.0,
    }
}
