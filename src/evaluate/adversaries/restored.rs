use ndarray::Array2;

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
        Self { estimate: estimate.into(), observed: observed.into() }
    }

    /// Creates it with the same vectors for both.
    pub fn same(vectors: impl Into<Mapped>) -> Self {
        let vectors = vectors.into();
        Self { estimate: vectors.clone(), observed: vectors }
    }
}
