use std::fmt;
use std::sync::Arc;

use ndarray::ArrayViewMut2;
use zeroize::Zeroizing;

use crate::bound::Bound;
use crate::rows::for_each_row;
use crate::spec::{Part, Value};
use crate::{Defense, Error, Guarantee, Key, Rng, Role, Spec};

/// Names the defense and the version of its format: another order needs another label.
const PURPOSE: &str = "embosk permutation v1";

/// A secret order of the coordinates, the same for all vectors under one key.
///
/// # What it does
/// Puts the coordinates of each vector into an order that the key determines, drawn uniformly from all. Norms,
/// distances and inner products stay the same, bit for bit except for the order of a sum. The order for a key and a
/// dimension never changes between machines and versions.
///
/// # Who it stops
/// An inverter that takes the vectors as they are, and no other attack. The defense is included because such schemes
/// are in use and should be measured.
///
/// # Who it does not
/// - An attacker with a few pairs of text and protected vector. Each value of the clean vector is somewhere in the
///   protected one, so a single pair without equal values reveals the whole order.
/// - An attacker without pairs who has texts of the same kind. The mean and variance of each coordinate do not
///   change, and few coordinates share theirs.
///
/// Use a [`Rotation`](crate::Rotation) instead.
///
/// # What it costs in retrieval
/// Nothing.
///
/// # Order in a stack
/// Anywhere: noise and rounding have the same effect before and after it.
///
/// # Fingerprint
/// Key and dimension, as for a [`Rotation`](crate::Rotation).
///
/// # Default
/// None: a key made by [`Key::generate`] or `embosk keygen`.
///
/// # Example
/// ```
/// use embosk_defenses::{Defense, Key, Permutation, Rng, Role};
/// use ndarray::array;
///
/// let permutation = Permutation::new(&Key::generate()?, 3)?;
/// let mut vectors = array![[0.6_f32, 0.0, 0.8]];
/// permutation.protect(Role::Document, vectors.view_mut(), &mut Rng::from_os()?)?;
/// assert_eq!(vectors.sum(), 0.6 + 0.8);
/// permutation.restore(vectors.view_mut())?;
/// assert_eq!(vectors, array![[0.6, 0.0, 0.8]]);
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
pub struct Permutation {
    fingerprint: String,
    order: Bound<Order>,
}

/// For each coordinate of the result, which input coordinate it is.
type Order = Zeroizing<Vec<u16>>;

impl Permutation {
    /// Draws the permutation of `dim` coordinates under `key`.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `dim` is from 1 to 8192.
    pub fn new(key: &Key, dim: usize) -> Result<Self, Error> {
        Ok(Self { fingerprint: key.fingerprint(), order: Bound::now(key, dim, draw)? })
    }

    /// Creates the permutation under `key` with the dimension of the first vectors. It is drawn when they come, and
    /// refuses other dimensions from then on.
    pub fn deferred(key: &Key) -> Self {
        Self { fingerprint: key.fingerprint(), order: Bound::deferred(key, draw) }
    }

    /// Returns the dimension, once it is known.
    pub fn dim(&self) -> Option<usize> {
        self.order.dim()
    }

    /// Undoes [`protect`](Defense::protect) on `vectors`, `[batch, dim]`, exactly.
    ///
    /// # Errors
    /// As `protect`.
    pub fn restore(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        let Some(order) = self.order.of(&vectors)? else { return Ok(()) };
        for_each_row(vectors, order.len(), |row, copy| {
            copy.copy_from_slice(row);
            order.iter().zip(copy).for_each(|(&at, value)| row[usize::from(at)] = *value);
        });
        Ok(())
    }
}

fn draw(key: &Key, dim: usize) -> Order {
    shuffled(dim, &mut key.rng(PURPOSE, dim))
}

/// The numbers below `dim`, at most 2¹⁶, in an order drawn uniformly from all.
///
/// It is the Fisher–Yates shuffle from the last place to the second, each place exchanged with one at or before it.
/// It is part of the storage format of keyed defenses.
pub(crate) fn shuffled(dim: usize, rng: &mut Rng) -> Order {
    let mut order = Zeroizing::new((0..dim).map(|at| at as u16).collect::<Vec<_>>());
    for last in (1..dim).rev() {
        order.swap(last, rng.below(last + 1));
    }
    order
}

impl Defense for Permutation {
    fn protect(&self, _: Role, vectors: ArrayViewMut2<'_, f32>, _: &mut Rng) -> Result<(), Error> {
        let Some(order) = self.order.of(&vectors)? else { return Ok(()) };
        for_each_row(vectors, order.len(), |row, copy| {
            copy.copy_from_slice(row);
            row.iter_mut().zip(order.iter()).for_each(|(value, &at)| *value = copy[usize::from(at)]);
        });
        Ok(())
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Isometry
    }

    fn spec(&self) -> Spec {
        Part::new("permutation").with("key", Value::fingerprint(&self.fingerprint)).into()
    }

    /// The key, and the dimension once it is known.
    fn space(&self) -> Spec {
        let part = Part::new("permutation").with("key", Value::fingerprint(&self.fingerprint));
        Spec::from(self.dim().into_iter().fold(part, |part, dim| part.with("dim", dim)))
    }

    fn undo_key(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<bool, Error> {
        self.restore(vectors).map(|()| true)
    }

    fn unprotect(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        self.restore(vectors)
    }

    fn imitation(&self, rng: &mut Rng) -> Option<Arc<dyn Defense>> {
        Some(Arc::new(Self::deferred(&Key::draw(rng))))
    }
}

impl fmt::Display for Permutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec().fmt(f)
    }
}

impl fmt::Debug for Permutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permutation")
            .field("key", &self.fingerprint)
            .field("dim", &self.dim())
            .finish_non_exhaustive()
    }
}
