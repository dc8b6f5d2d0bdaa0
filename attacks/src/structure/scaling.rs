use ndarray::{Array2, ArrayView2};

use crate::Error;
use crate::check::check;

/// Finds the factor of a scaling by the ratio of norms: one pair is enough.
///
/// ```
/// use embosk_attacks::structure::FoundScaling;
/// use ndarray::array;
///
/// let map = FoundScaling::fit(array![[0.0, 6.0]].view(), array![[0.0, 3.0]].view())?;
/// assert_eq!(map.factor(), 0.5);
/// # Ok::<(), embosk_attacks::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoundScaling(f32);

impl FoundScaling {
    /// Fits the factor on pairs: row `i` of `protected` and row `i` of `clean` are of the same text.
    ///
    /// # Errors
    /// When there are no pairs, their numbers differ, a value is not finite, or all norms are 0 on a side.
    pub fn fit(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<Self, Error> {
        check(protected, clean)?;
        let factor = norms(clean) / norms(protected);
        if factor.is_finite() && factor > 0.0 {
            Ok(Self(factor as f32))
        } else {
            Err(Error::Setting("vectors of norm 0 tell nothing of a scaling".into()))
        }
    }

    /// Returns the factor that restores a vector.
    pub fn factor(&self) -> f32 {
        self.0
    }

    /// Returns the restored vectors, `[batch, dim]`.
    pub fn apply(&self, vectors: ArrayView2<'_, f32>) -> Array2<f32> {
        &vectors * self.0
    }
}

/// The sum of the rows' norms.
fn norms(rows: ArrayView2<'_, f32>) -> f64 {
    rows.rows().into_iter().map(|row| row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()).sum()
}
