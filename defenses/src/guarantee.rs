use std::fmt;

/// What can be proved about a defense, as opposed to what has been measured.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Guarantee {
    /// A transform without a formal claim.
    None,
    /// A transform without a formal claim that keeps all distances and norms, so that noise added
    /// after it covers the vectors as if it had been added before it.
    Isometry,
    /// The Gaussian mechanism: every coordinate carries independent Gaussian noise.
    ///
    /// Two rows of norm at most 1 are at most 2 apart, which is the mechanism's L2 sensitivity. The
    /// claim is for one release of a row: an attacker who sees `r` of the same text averages them
    /// and faces noise of `sigma / √r`. It is that of exact real arithmetic; the low bits of `f32`
    /// sums leak more (Mironov, CCS 2012).
    GaussianMechanism {
        /// The standard deviation of the noise on each coordinate, for rows of norm at most 1.
        sigma: f64,
    },
}

impl Guarantee {
    /// What holds for `self` followed by `next`, claiming too little where the rules do not reach.
    ///
    /// What follows a mechanism is post-processing and takes nothing away from it. What precedes it
    /// changes the sensitivity, unless it is an isometry. A second mechanism is not counted.
    pub(crate) fn then(self, next: Self) -> Self {
        match self {
            Self::Isometry => next,
            settled => settled,
        }
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Isometry => f.write_str("none (distances are kept)"),
            Self::GaussianMechanism { sigma } => {
                write!(f, "Gaussian mechanism, sigma {sigma} a coordinate on rows of norm at most 1")
            }
        }
    }
}
