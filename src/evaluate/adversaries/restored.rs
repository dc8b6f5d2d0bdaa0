use embosk_attacks::{Expected, Ranking};
use ndarray::{Array2, ArrayView2};

/// What an adversary makes from the attacked vectors, `[attacked, dim of the attack]` each. If a projection reduces the
/// dimension, both have the dimension of [reduced](super::KnownDefense::reduced) vectors; the evaluation then
/// estimates the clean vectors from the observed ones.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Restored {
    /// The best estimate of the clean vectors, for models to read.
    pub estimate: Mapped,
    /// The observed vectors, in the clean vectors' space and with all noise, by which hypotheses are ranked.
    pub observed: Mapped,
    /// How alike observed vectors are to clean ones, as far as the adversary could find out. An attack stops where more
    /// likeness would only fit the noise. Without it, the attack takes the estimate for the clean vector, which makes the
    /// noise seem weaker than it is.
    pub agreement: Option<Agreement>,
}

/// How alike observed vectors are to the clean ones of the same texts.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Agreement {
    /// By the cosine.
    pub cosine: Expected,
    /// By the distance *d*, as 1 − *d*² / 2.
    pub nearness: Expected,
}

impl Agreement {
    /// Measures it on pairs, row by row, `[pairs, dim]`. `None` without pairs.
    pub fn of(observed: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Option<Self> {
        let pairs = || observed.rows().into_iter().zip(clean.rows());
        let cosine = pairs().map(|(observed, clean)| {
            let norms = observed.dot(&observed) * clean.dot(&clean);
            observed.dot(&clean) / norms.sqrt().max(f32::MIN_POSITIVE)
        });
        let nearness = pairs().map(|(observed, clean)| Ranking::likeness_in_space(observed, clean, None));
        Some(Self { cosine: Expected::of(cosine)?, nearness: Expected::of(nearness)? })
    }
}

/// Vectors, and the map that they went through.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Mapped {
    /// One row for each attacked text.
    pub vectors: Array2<f32>,
    /// The name of the map, as a report shows it. `None` if the vectors are unchanged.
    pub map: Option<String>,
}

impl Mapped {
    /// Sets the name of the map that these vectors went through.
    pub fn by(map: impl Into<String>, vectors: Array2<f32>) -> Self {
        Self { vectors, map: Some(map.into()) }
    }
}

impl From<Array2<f32>> for Mapped {
    fn from(vectors: Array2<f32>) -> Self {
        Self { vectors, map: None }
    }
}

impl Restored {
    /// Creates it from estimates, and from the observed vectors to rank by.
    pub fn new(estimate: impl Into<Mapped>, observed: impl Into<Mapped>) -> Self {
        Self { estimate: estimate.into(), observed: observed.into(), agreement: None }
    }

    /// Sets how alike observed vectors are to clean ones.
    pub fn agreement(self, agreement: Option<Agreement>) -> Self {
        Self { agreement, ..self }
    }

    /// Creates it with the same vectors for both.
    pub fn same(vectors: impl Into<Mapped>) -> Self {
        let vectors = vectors.into();
        Self::new(vectors.clone(), vectors)
    }
}
