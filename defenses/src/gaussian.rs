use std::fmt;

use ndarray::ArrayViewMut2;

use crate::{Defense, Error, Guarantee, Rng, Role, check_finite};

/// Beyond this, a sum with a coordinate could leave `f32`'s range.
const MAX_SIGMA: f64 = 1e30;

/// Independent Gaussian noise on every coordinate, fresh for every call.
///
/// # What it does
/// Adds a normal number of standard deviation `sigma` to each coordinate. `sigma` is in the vectors'
/// own unit, and is meant for rows of norm 1: there the noise has a norm of about `sigma · √dim`, so
/// that `sigma = 0.01` in 384 dimensions is noise of about 0.2 beside a signal of 1. For vectors of
/// another norm, multiply `sigma` by that norm. The rows are not normalized again.
///
/// # Who it stops
/// An inverter trained on clean vectors, to a degree that grows with `sigma`: it reads fine
/// differences between vectors, and noise covers those first.
///
/// # Who it does not
/// An attacker who trains on noisy vectors of his own or denoises before he inverts, and one who gets
/// the same text's vector several times: the mean of `r` releases carries noise of `sigma / √r`. So
/// store a protected vector once instead of protecting it again for each reader.
///
/// # What it costs in retrieval
/// Scores blur by about `sigma` for noise on one side, so neighbours closer than that change places.
/// Where that begins depends on the corpus; measure it.
///
/// # Order in a stack
/// After a [`Rotation`](crate::Rotation), which makes no difference to noise, and before a
/// [`Quantization`](crate::Quantization): the guarantee survives what comes after, and rounding
/// first would put the clean vector's levels beneath the noise.
///
/// # Default
/// None: `sigma` is the trade itself, and is chosen from a measured curve.
///
/// # Example
/// ```
/// use embosk_defenses::{Defense, GaussianNoise, Rng, Role};
/// use ndarray::array;
///
/// let noise = GaussianNoise::new(0.01)?;
/// assert_eq!(noise.to_string(), "gaussian(sigma=0.01)");
///
/// let mut vectors = array![[0.6_f32, 0.8]];
/// noise.protect(Role::Document, vectors.view_mut(), &mut Rng::from_os()?)?;
/// assert_ne!(vectors, array![[0.6, 0.8]]);
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct GaussianNoise {
    sigma: f64,
}

impl GaussianNoise {
    /// Noise of standard deviation `sigma` on each coordinate of rows of norm 1.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `sigma` is from 0 to 1e30.
    pub fn new(sigma: f64) -> Result<Self, Error> {
        if (0.0..=MAX_SIGMA).contains(&sigma) {
            Ok(Self { sigma: sigma.abs() }) // a negative zero would print as one
        } else {
            Err(Error::Setting { name: "sigma", expected: "a number from 0 to 1e30" })
        }
    }
}

impl Defense for GaussianNoise {
    fn protect(&self, _: Role, mut vectors: ArrayViewMut2<'_, f32>, rng: &mut Rng) -> Result<(), Error> {
        check_finite(&vectors)?;
        for (value, normal) in vectors.iter_mut().zip(rng.standard_normals()) {
            *value = (f64::from(*value) + self.sigma * normal) as f32;
        }
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        if self.sigma == 0.0 {
            return Guarantee::Isometry;
        }
        Guarantee::GaussianMechanism { sigma: self.sigma }
    }
}

impl fmt::Display for GaussianNoise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gaussian(sigma={})", self.sigma)
    }
}
