use std::fmt;

use crate::{Error, Role, calibration};

/// What can be proved about a defense, as opposed to what has been measured.
///
/// # What the numbers mean
/// Noise of `sigma` on each coordinate is the Gaussian mechanism. Given one protected vector, an attacker can tell
/// which of any two texts it belongs to only as well as (ε, δ) allow, whatever else they know. Two rows of norm at
/// most 1 are at most 2 apart, which is the mechanism's L2 sensitivity. The calibration is the analytic one, which is
/// exact (Balle & Wang, ICML 2018, arXiv 1805.06530).
///
/// **At noise that leaves retrieval useful, ε is in the hundreds to thousands.** For δ = 1e-5:
///
/// | sigma | ε |
/// |---|---|
/// | 0.01 | 20852 |
/// | 0.03 | 2505.6 |
/// | 0.1 | 284.4 |
///
/// If ε is below about 1, the claim limits what anyone can learn. At 20, `e^ε` allows odds of five hundred million to
/// one, and in the thousands the number promises nothing that matters. What such noise does against an attack is then
/// an observation about that attack, and must be measured. Conversely, ε = 1 takes a sigma of 7.46, and no search
/// survives that much noise.
///
/// **Float noise is idealized.** The claim holds for exact real arithmetic. Noise and sums in `f32` lie on a grid,
/// which leaks more (Mironov, CCS 2012), and fresh noise ends at 6.66 sigma.
///
/// ```
/// use embosk_defenses::{Defense, GaussianNoise, Guarantee, Role};
///
/// let noise = GaussianNoise::new(0.1)?.guarantee();
/// assert_eq!(noise.epsilon(Role::Document, 1e-5)?.round(), 284.0);
///
/// // Four releases of a row are worth one with half the noise.
/// assert_eq!(noise.over(4), GaussianNoise::new(0.05)?.guarantee());
///
/// // The other way round: the noise that a claim takes.
/// assert_eq!((Guarantee::sigma_for(1.0, 1e-5)? * 100.0).round(), 746.0);
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Guarantee {
    /// A transform without a formal claim.
    None,
    /// A transform without a formal claim that keeps all distances and norms, so that noise added
    /// after it covers the vectors as if it had been added before it.
    Isometry,
    /// A transform without a formal claim that makes no distance larger, so that noise added after it covers
    /// the vectors at least as well as if it had been added before it.
    Contraction,
    /// The Gaussian mechanism: every coordinate carries independent Gaussian noise, fresh for every
    /// release.
    ///
    /// The claim is for one release of a row; [`over`](Self::over) gives that of several.
    GaussianMechanism {
        /// The standard deviation of the noise on each coordinate, for rows of norm at most 1.
        sigma: f64,
    },
    /// The Gaussian mechanism on vectors of one role. Nothing is claimed for those of the other.
    GaussianMechanismOn {
        /// The role that is covered.
        role: Role,
        /// As in [`GaussianMechanism`](Self::GaussianMechanism).
        sigma: f64,
    },
}

impl Guarantee {
    /// Returns the standard deviation of the Gaussian noise that is claimed for vectors of `role`.
    pub fn sigma(&self, role: Role) -> Option<f64> {
        match *self {
            Self::GaussianMechanism { sigma } => Some(sigma),
            Self::GaussianMechanismOn { role: covered, sigma } if covered == role => Some(sigma),
            _ => None,
        }
    }

    /// Returns the least ε that is claimed with `delta` for one release of a vector of `role`: infinity if nothing is
    /// claimed.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `delta` is from 1e-300 to below 1.
    pub fn epsilon(&self, role: Role, delta: f64) -> Result<f64, Error> {
        let delta = checked_delta(delta)?;
        Ok(self.sigma(role).map_or(f64::INFINITY, |sigma| calibration::epsilon(sigma, delta)))
    }

    /// Returns the least δ that is claimed with `epsilon` for one release of a vector of `role`: 1 if nothing is
    /// claimed.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `epsilon` is from 0 to 1e300.
    pub fn delta(&self, role: Role, epsilon: f64) -> Result<f64, Error> {
        let epsilon = checked_epsilon(epsilon)?;
        Ok(self.sigma(role).map_or(1.0, |sigma| calibration::delta(sigma, epsilon)))
    }

    /// Returns what holds for `releases` releases of the same row together, each with fresh noise. It holds even if
    /// the attacker chooses each release after seeing those before it: Gaussian mechanisms compose to one of
    /// `sigma / √releases`.
    #[must_use]
    pub fn over(self, releases: u32) -> Self {
        let share = |sigma: f64| sigma / f64::from(releases).sqrt();
        match self {
            Self::GaussianMechanism { sigma } => Self::GaussianMechanism { sigma: share(sigma) },
            Self::GaussianMechanismOn { role, sigma } => {
                Self::GaussianMechanismOn { role, sigma: share(sigma) }
            }
            unchanged => unchanged,
        }
    }

    /// Returns the least standard deviation of noise on each coordinate, on rows of norm at most 1, with which one
    /// release is (`epsilon`, `delta`)-differentially private. For `r` releases, take `√r` times as much.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `epsilon` is from 0 to 1e300 and `delta` from 1e-300 to below 1.
    pub fn sigma_for(epsilon: f64, delta: f64) -> Result<f64, Error> {
        Ok(calibration::sigma(checked_epsilon(epsilon)?, checked_delta(delta)?))
    }

    /// Returns what holds for `self` followed by `next`. It claims too little rather than too much.
    ///
    /// Whatever follows a mechanism is post-processing and does not weaken it. Whatever precedes it changes the
    /// sensitivity, unless it makes no distance larger. A second mechanism is not counted.
    pub(crate) fn then(self, next: Self) -> Self {
        match self {
            Self::Contraction if next == Self::Isometry => self,
            Self::Isometry | Self::Contraction => next,
            settled => settled,
        }
    }
}

fn checked_epsilon(epsilon: f64) -> Result<f64, Error> {
    if (0.0..=1e300).contains(&epsilon) {
        Ok(epsilon)
    } else {
        Err(Error::Setting { name: "epsilon", expected: "a number from 0 to 1e300" })
    }
}

fn checked_delta(delta: f64) -> Result<f64, Error> {
    if (1e-300..1.0).contains(&delta) {
        Ok(delta)
    } else {
        Err(Error::Setting { name: "delta", expected: "a number from 1e-300 to below 1" })
    }
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let covered = match self {
            Self::None => return f.write_str("none"),
            Self::Isometry => return f.write_str("none (distances are kept)"),
            Self::Contraction => return f.write_str("none (no distance becomes larger)"),
            Self::GaussianMechanism { .. } => "",
            Self::GaussianMechanismOn { role: Role::Document, .. } => " on documents alone",
            Self::GaussianMechanismOn { role: Role::Query, .. } => " on queries alone",
        };
        let (Self::GaussianMechanism { sigma } | Self::GaussianMechanismOn { sigma, .. }) = self else {
            return Ok(());
        };
        write!(f, "Gaussian mechanism{covered}, sigma {sigma} a coordinate on rows of norm at most 1")
    }
}
