use ndarray::Array2;

/// What an adversary makes of the attacked vectors, `[attacked, dim of the attack]` each.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Restored {
    /// The best estimate of the clean vectors, for models to read.
    pub estimate: Mapped,
    /// What was observed, in the clean vectors' space and with all noise, for hypotheses to be ranked by.
    pub observed: Mapped,
}

/// Vectors, and the map that they went through.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Mapped {
    /// One row for each attacked text.
    pub vectors: Array2<f32>,
    /// The name of the map, as a report shows it. `None` where the vectors are as they were.
    pub map: Option<String>,
}

impl Mapped {
    /// Names the map that brought forth these vectors.
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
    /// Takes an estimate, and the observed vectors to rank by.
    pub fn new(estimate: impl Into<Mapped>, observed: impl Into<Mapped>) -> Self {
        Self { estimate: estimate.into(), observed: observed.into() }
    }

    /// Takes the same vectors for both.
    pub fn same(vectors: impl Into<Mapped>) -> Self {
        let vectors = vectors.into();
        Self { estimate: vectors.clone(), observed: vectors }
    }
}
