use std::fmt;
use std::sync::Arc;

use ndarray::ArrayViewMut2;
use zeroize::Zeroizing;

use crate::parallel::for_pieces;
use crate::rows::{each_as_slice, with_scratch};
use crate::scaling::{divide, factor};
use crate::spec::{Part, Value};
use crate::{Defense, Error, Guarantee, Key, Rng, Role, Spec, check_finite};

/// Names the defense and the version of its format: another factor needs another label.
const PURPOSE: &str = "embosk dcpe v1";

/// Beyond this, a sum with a coordinate could leave `f32`'s range.
const MAX_BETA: f64 = 1e30;

/// Scale-and-perturb, the scheme of distance-comparison-preserving encryption (DCPE): a secret factor, and
/// fresh noise of bounded length.
///
/// # What it does
/// Multiplies each vector by a factor `s` from 1/256 to 1 that the key determines, and adds a point drawn uniformly
/// from the ball of radius `s · beta / 4` (Fuchsbauer, Ghosal, Hauke and O'Neill, "Approximate
/// Distance-Comparison-Preserving Symmetric Encryption", SCN 2022, ePrint 2021/1666). So if one vector is nearer than
/// another by more than `beta`, it stays nearer. `beta` is in the vectors' own unit: vectors of norm 1 are at most 2
/// apart.
///
/// The factor for a key never changes between machines and versions. The perturbation is fresh for every call. The
/// paper draws it from the key and a nonce that is stored beside the vector, so that the owner can remove it. Here
/// vectors keep their shape, which leaves no room for a nonce, so the perturbation cannot be removed: it is noise.
///
/// # Who it stops
/// Whoever noise of that length stops. In many dimensions, nearly all of a ball's points lie near its surface, so
/// this is close to [`GaussianNoise`](crate::GaussianNoise) with a sigma of `beta / (4 √dim)`: for `beta = 1`, 0.0128
/// in 384 dimensions and 0.0090 in 768. The paper's proofs are about the indistinguishability of vectors less than
/// `beta` apart, and say nothing of an attacker with a model.
///
/// # Who it does not
/// A single pair of text and protected vector reveals the factor. If the model gives vectors of norm 1, a protected
/// vector alone reveals it. An attacker who normalizes vectors does not even need it. What remains is noise, which
/// stops neither training on noisy vectors nor averaging several releases of a text.
///
/// # What it costs in retrieval
/// Neighbours whose distances differ by less than `beta` may change places. The bound is for the worst
/// case; as for Gaussian noise, measure it.
///
/// # Order in a stack
/// After a [`Rotation`](crate::Rotation), though the result is the same before it, and before a
/// [`Quantization`](crate::Quantization).
///
/// # Fingerprint
/// The key, for the factor: see [`Scaling`](crate::Scaling). `beta` is not part of it, since documents and queries
/// with noise of different lengths are in the same space.
///
/// # Default
/// None: `beta` sets the trade-off, and the key is made by [`Key::generate`] or `embosk keygen`.
///
/// # Example
/// ```
/// use embosk_defenses::{Dcpe, Defense, Key, Rng, Role};
/// use ndarray::array;
///
/// let dcpe = Dcpe::new(&Key::generate()?, 0.5)?;
/// let mut vectors = array![[0.6_f32, 0.8], [0.8, 0.6], [-1.0, 0.0]];
/// dcpe.protect(Role::Document, vectors.view_mut(), &mut Rng::from_os()?)?;
///
/// let squared = |row: usize| (&vectors.row(0) - &vectors.row(row)).mapv(|x| x * x).sum();
/// assert!(squared(1) < squared(2));
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
pub struct Dcpe {
    fingerprint: String,
    factor: Zeroizing<f32>,
    beta: f64,
}

impl Dcpe {
    /// Creates scale-and-perturb under `key`. Comparisons of distances that differ by more than `beta` are kept.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `beta` is from 0 to 1e30.
    pub fn new(key: &Key, beta: f64) -> Result<Self, Error> {
        if !(0.0..=MAX_BETA).contains(&beta) {
            return Err(Error::Setting { name: "beta", expected: "a number from 0 to 1e30" });
        }
        let factor = factor(&mut key.rng(PURPOSE, 0));
        Ok(Self { fingerprint: key.fingerprint(), factor, beta: beta.abs() }) // no negative zero
    }

    /// Scales `row` and moves it by a point of the ball; `normals` is as long as the row.
    fn scale_and_perturb(&self, row: &mut [f32], normals: &mut [f32], rng: &mut Rng) {
        let factor = f64::from(*self.factor);
        normals.iter_mut().zip(rng.standard_normals()).for_each(|(to, normal)| *to = normal as f32);
        let norm = normals.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        // Volume grows with the power of the dimension, so this radius is that of a uniform point.
        let radius = factor * self.beta / 4.0 * libm::pow(rng.uniform(), 1.0 / row.len() as f64);
        let length = if norm > 0.0 { radius / norm } else { 0.0 };
        for (value, &normal) in row.iter_mut().zip(&*normals) {
            *value = (factor * f64::from(*value) + length * f64::from(normal)) as f32;
        }
    }
}

/// The 32-bit words of keystream that a row takes: four for each pair of normals, and two for the radius.
fn words_of_row(dim: usize) -> usize {
    4 * dim.div_ceil(2) + 2
}

impl Defense for Dcpe {
    fn protect(&self, _: Role, vectors: ArrayViewMut2<'_, f32>, rng: &mut Rng) -> Result<(), Error> {
        check_finite(&vectors)?;
        let (rows, dim) = vectors.dim();
        let from = &*rng;
        for_pieces(vectors, dim, 1, |first, vectors| {
            let mut rng = from.ahead(first * words_of_row(dim));
            with_scratch(dim, |normals| {
                each_as_slice(vectors, |row| self.scale_and_perturb(row, normals, &mut rng));
            });
        });
        rng.skip(rows * words_of_row(dim));
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::None
    }

    /// Returns true, unless nothing is perturbed.
    fn assumes_unit_norm(&self, _: Role) -> bool {
        self.beta > 0.0
    }

    fn spec(&self) -> Spec {
        let part = Part::new("dcpe").with("key", Value::fingerprint(&self.fingerprint));
        part.with("beta", self.beta).into()
    }

    /// The key alone: the length of the noise is not part of the space.
    fn space(&self) -> Spec {
        Part::new("dcpe").with("key", Value::fingerprint(&self.fingerprint)).into()
    }

    fn undo_key(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<bool, Error> {
        divide(vectors, *self.factor).map(|()| true)
    }

    fn imitation(&self, rng: &mut Rng) -> Option<Arc<dyn Defense>> {
        Self::new(&Key::draw(rng), self.beta).ok().map(|own| Arc::new(own) as Arc<dyn Defense>)
    }

    fn unprotect(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        if self.beta == 0.0 {
            return divide(vectors, *self.factor); // a scaling
        }
        Err(Error::not_invertible(
            self,
            "it perturbs vectors at random, and only the perturbed ones are left",
        ))
    }
}

impl fmt::Display for Dcpe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec().fmt(f)
    }
}

impl fmt::Debug for Dcpe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dcpe")
            .field("key", &self.fingerprint)
            .field("beta", &self.beta)
            .finish_non_exhaustive()
    }
}
