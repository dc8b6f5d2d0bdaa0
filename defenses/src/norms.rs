//! The norms of vectors, for defenses whose strength is meant for norm 1.

use ndarray::{ArrayRef2, ArrayView1, ArrayViewMut2};

use crate::{Defense, Error, Role, Stack, check_finite};

/// A norm that is further from 1 than this counts as another norm.
const FAR: f64 = 0.1;

/// A norm that is nearer to 1 than this is 1 up to rounding.
const ROUNDING: f64 = 1e-5;

/// The Euclidean norms of a set of vectors: how many vectors there are, and the smallest, mean and largest norm.
///
/// ```
/// use embosk_defenses::{GaussianNoise, Norms, Role, Stack};
/// use ndarray::array;
///
/// let norms = Norms::of(&array![[0.3_f32, 0.4], [0.9, 1.2]]).expect("there are rows");
/// assert_eq!(format!("{:.1} {:.1} {:.1}", norms.least, norms.mean, norms.largest), "0.5 1.0 1.5");
///
/// let stack = Stack::new().with(GaussianNoise::new(0.1)?);
/// let warning = norms.warning(&stack, Role::Document).expect("the noise is meant for norm 1");
/// assert!(warning.contains("from 0.500 to 1.500"));
/// assert_eq!(norms.warning(&Stack::new(), Role::Document), None);
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Norms {
    /// The number of vectors, at least 1.
    pub rows: usize,
    /// The smallest norm.
    pub least: f64,
    /// The mean norm.
    pub mean: f64,
    /// The largest norm.
    pub largest: f64,
}

impl Norms {
    /// Measures `vectors`, `[batch, dim]`. `None` if there are no rows. If a row is not finite, neither is the mean.
    pub fn of(vectors: &ArrayRef2<f32>) -> Option<Self> {
        let (mut least, mut sum, mut largest) = (f64::INFINITY, 0.0, 0.0_f64);
        for row in vectors.rows() {
            let norm = norm(row);
            (least, sum, largest) = (least.min(norm), sum + norm, largest.max(norm));
        }
        let rows = vectors.nrows();
        (rows > 0).then(|| Self { rows, least, mean: sum / rows as f64, largest })
    }

    /// Returns the norms of these vectors and of `others` together.
    pub fn and(self, others: Self) -> Self {
        let rows = self.rows + others.rows;
        let part = others.rows as f64 / rows as f64;
        Self {
            rows,
            least: self.least.min(others.least),
            mean: self.mean + part * (others.mean - self.mean),
            largest: self.largest.max(others.largest),
        }
    }

    /// Returns a warning if `stack` [assumes](Defense::assumes_unit_norm) vectors of norm 1 and the norm of one differs
    /// from 1 by more than 0.1. Vectors that are not finite cause no warning, because they are refused anyway. The
    /// warning contains norms, and nothing else of a vector.
    pub fn warning(&self, stack: &Stack, role: Role) -> Option<String> {
        let Self { least, mean, largest, .. } = self;
        let is_told = mean.is_finite() && (is_far(*least) || is_far(*largest));
        let part = stack.part_for_unit_norm(role).filter(|_| is_told)?;
        Some(format!(
            "the vectors have a mean norm of {mean:.3} (from {least:.3} to {largest:.3}), and the strength of `{part}` is \
             meant for vectors of norm 1: it hides more of shorter vectors and less of longer ones; scale the vectors to \
             norm 1, or multiply the strength by the norm"
        ))
    }
}

/// What to do with vectors whose norm is not 1 if a stack [assumes](Defense::assumes_unit_norm) norm 1.
///
/// If the stack does not assume it for vectors of the role, their norm makes no difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtherNorms {
    /// They are protected as they are. [`Norms::warning`] warns of them.
    #[default]
    Accept,
    /// A batch is refused if the norm of one differs from 1 by more than 0.1.
    Refuse,
    /// Each is scaled to norm 1 before it is protected. A vector of zeros stays as it is, and so does one of norm 1 up
    /// to rounding (1e-5).
    Normalize,
}

impl OtherNorms {
    /// Measures `vectors`, `[batch, dim]`, before `stack` protects them; `None` if there are no rows.
    ///
    /// # Errors
    /// For [`Refuse`](Self::Refuse), [`Error::OtherNorm`] with the first row whose norm is not 1, and
    /// [`Error::NotFinite`] as [`check_finite`].
    pub fn check(self, stack: &Stack, role: Role, vectors: &ArrayRef2<f32>) -> Result<Option<Norms>, Error> {
        if let (Self::Refuse, Some(part)) = (self, stack.part_for_unit_norm(role)) {
            check_finite(vectors)?;
            let mut norms = vectors.rows().into_iter().map(norm).enumerate();
            if let Some((row, norm)) = norms.find(|(_, norm)| is_far(*norm)) {
                return Err(Error::OtherNorm { row, norm, defense: part.to_string() });
            }
        }
        Ok(Norms::of(vectors))
    }

    /// Returns whether [`scale`](Self::scale) may change vectors of `role`.
    pub fn scales(self, stack: &Stack, role: Role) -> bool {
        self == Self::Normalize && stack.assumes_unit_norm(role)
    }

    /// For [`Normalize`](Self::Normalize), scales `vectors`, `[batch, dim]`, to norm 1 before `stack` protects them.
    /// Returns how many rows it has changed.
    pub fn scale(self, stack: &Stack, role: Role, mut vectors: ArrayViewMut2<'_, f32>) -> usize {
        if !self.scales(stack, role) {
            return 0;
        }
        let mut changed = 0;
        for mut row in vectors.rows_mut() {
            let norm = exact_norm(row.view());
            if norm > 0.0 && (norm - 1.0).abs() > ROUNDING {
                row.mapv_inplace(|value| (f64::from(value) / norm) as f32);
                changed += 1;
            }
        }
        changed
    }
}

/// A NaN is far from 1.
fn is_far(norm: f64) -> bool {
    norm.is_nan() || (norm - 1.0).abs() > FAR
}

fn norm(row: ArrayView1<'_, f32>) -> f64 {
    let squared = row.dot(&row);
    // squares of very large and very small numbers leave the range of `f32`
    if squared.is_normal() { f64::from(squared).sqrt() } else { exact_norm(row) }
}

fn exact_norm(row: ArrayView1<'_, f32>) -> f64 {
    row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}
