use std::fmt;
use std::sync::Arc;

use ndarray::ArrayViewMut2;
use zeroize::Zeroizing;

use crate::parallel::for_pieces;
use crate::spec::{Part, Value};
use crate::{Defense, Error, Guarantee, Key, Rng, Role, Spec, check_finite};

/// Names the defense and the version of its format: another factor needs another label.
const PURPOSE: &str = "embosk scaling v1";

/// A secret factor, the same for all vectors under one key, in any dimension.
///
/// # What it does
/// Multiplies each vector by a factor from 1/256 to 1, drawn uniformly in its logarithm. Cosines stay the same, and
/// so does the order of distances and inner products. The factor for a key never changes between machines and
/// versions.
///
/// # Who it stops
/// Nobody who normalizes vectors before they are used, which nearly every attack does. The defense is included
/// because such schemes are in use and should be measured.
///
/// # Who it does not
/// An attacker with a single pair of text and protected vector: the quotient of the norms is the factor. Most
/// models give vectors of norm 1, and then the norm of a protected vector is the factor.
///
/// # What it costs in retrieval
/// Nothing. Thresholds on distances and inner products must be scaled with the vectors.
///
/// # Order in a stack
/// Last. Then [`GaussianNoise`](crate::GaussianNoise) before it gets rows of norm 1, for which its sigma is meant,
/// and keeps its guarantee.
///
/// # Fingerprint
/// The key. Cosines do not depend on it, but inner products and distances do if some documents have another factor
/// than others.
///
/// # Default
/// None: a key made by [`Key::generate`] or `embosk keygen`.
///
/// # Example
/// ```
/// use embosk_defenses::{Defense, Key, Rng, Role, Scaling};
/// use ndarray::array;
///
/// let scaling = Scaling::new(&Key::generate()?);
/// let mut vectors = array![[0.6_f32, 0.8]];
/// scaling.protect(Role::Document, vectors.view_mut(), &mut Rng::from_os()?)?;
/// assert!(vectors[[0, 0]] <= 0.6);
/// scaling.restore(vectors.view_mut())?;
/// assert!((vectors[[0, 0]] - 0.6).abs() < 1e-6);
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
pub struct Scaling {
    fingerprint: String,
    factor: Zeroizing<f32>,
}

impl Scaling {
    /// Derives the scaling under `key`.
    pub fn new(key: &Key) -> Self {
        Self { fingerprint: key.fingerprint(), factor: factor(&mut key.rng(PURPOSE, 0)) }
    }

    /// Undoes [`protect`](Defense::protect) on `vectors`, `[batch, dim]`, up to `f32` rounding.
    ///
    /// # Errors
    /// As `protect`, and [`Error::NotFinite`] for a row that is too large to come from it.
    pub fn restore(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        divide(vectors, *self.factor)
    }
}

pub(crate) fn divide(mut vectors: ArrayViewMut2<'_, f32>, factor: f32) -> Result<(), Error> {
    check_finite(&vectors)?;
    let mut rows = vectors.rows().into_iter();
    if let Some(row) = rows.position(|row| row.iter().any(|value| !(value / factor).is_finite())) {
        return Err(Error::NotFinite { row });
    }
    vectors.mapv_inplace(|value| value / factor);
    Ok(())
}

/// A factor from 1/256 to 1, uniform in its logarithm: never above 1, so that no value leaves the range of
/// `f32`. It is part of the storage format of keyed defenses.
pub(crate) fn factor(rng: &mut Rng) -> Zeroizing<f32> {
    Zeroizing::new(libm::exp2(-8.0 * rng.uniform()) as f32)
}

impl Defense for Scaling {
    fn protect(&self, _: Role, vectors: ArrayViewMut2<'_, f32>, _: &mut Rng) -> Result<(), Error> {
        check_finite(&vectors)?;
        let dim = vectors.ncols();
        for_pieces(vectors, dim, 1, |_, mut vectors| vectors.mapv_inplace(|value| value * *self.factor));
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::None
    }

    fn spec(&self) -> Spec {
        Part::new("scaling").with("key", Value::fingerprint(&self.fingerprint)).into()
    }

    fn undo_key(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<bool, Error> {
        self.restore(vectors).map(|()| true)
    }

    fn unprotect(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        self.restore(vectors)
    }

    fn imitation(&self, rng: &mut Rng) -> Option<Arc<dyn Defense>> {
        Some(Arc::new(Self::new(&Key::draw(rng))))
    }
}

impl fmt::Display for Scaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec().fmt(f)
    }
}

impl fmt::Debug for Scaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scaling").field("key", &self.fingerprint).finish_non_exhaustive()
    }
}
