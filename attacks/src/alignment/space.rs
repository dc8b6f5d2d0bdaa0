//! The map from one embedder's vectors to another's.

use faer::Mat;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use super::affine::Affine;
use super::ridge::{Ridge, STRENGTHS};
use super::{narrow, widen};
use crate::Error;
use crate::check::{check, check_dimension};

/// One in this many pairs is held out to choose the regression's strength.
const HELD_OUT: usize = 10;

/// An affine map from the vectors of one embedder to those of another: ridge regression on the vectors of the same
/// texts. Through it, models trained on the second embedder can read the first one's vectors.
///
/// ```
/// use embosk_attacks::alignment::SpaceMap;
/// use ndarray::{Array2, array};
///
/// let from = Array2::from_shape_fn((40, 2), |(row, column)| ((row * 7 + column * 5) % 11) as f32);
/// let to = from.dot(&array![[1.0, 0.0, 2.0], [0.0, -1.0, 1.0]]) + 3.0;
/// let map = SpaceMap::fit(from.view(), to.view())?;
/// assert!((map.apply(from.view())? - to).iter().all(|difference| difference.abs() < 0.01));
/// # Ok::<(), embosk_attacks::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SpaceMap {
    /// `[dim of the first, dim of the second]`, applied from the right to rows.
    map: Array2<f32>,
    offset: Array1<f32>,
}

impl SpaceMap {
    /// Fits the map on pairs: row `i` of `from`, `[pairs, dim]`, and row `i` of `to`, `[pairs, another dim]`, are of the
    /// same text. Every tenth pair chooses the regression's strength. Sums are taken in `f64`.
    ///
    /// # Errors
    /// When there are no pairs, their numbers differ, or a value is not finite.
    pub fn fit(from: ArrayView2<'_, f32>, to: ArrayView2<'_, f32>) -> Result<Self, Error> {
        check(from, to)?;
        let zero = Affine::linear(Mat::zeros(from.ncols(), to.ncols()));
        let (apart, rest): (Vec<usize>, Vec<usize>) =
            (0..from.nrows()).partition(|row| row % HELD_OUT == HELD_OUT - 1);
        let select = |rows: &[usize]| [from, to].map(|side| widen(side.select(Axis(0), rows).view()));
        let strength = if apart.is_empty() {
            1.0
        } else {
            let ([from, to], [apart_from, apart_to]) = (select(&rest), select(&apart));
            let ridge = Ridge::fit(&from, &to)?;
            let around = ridge.around(&zero);
            let error =
                |strength: f64| (around.of(strength).apply(apart_from.as_ref()) - &apart_to).norm_l2();
            let errors = STRENGTHS.map(|strength| (strength, error(strength)));
            errors.into_iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(1.0, |(strength, _)| strength)
        };
        let Affine { map, offset } = Ridge::fit(&widen(from), &widen(to))?.around(&zero).of(strength);
        let offset = offset.iter().map(|&value| value as f32).collect();
        Ok(Self { map: narrow(&map), offset })
    }

    /// Returns the mapped vectors, `[batch, dim of the second embedder]`.
    ///
    /// # Errors
    /// When `vectors` do not have the dimension that the map was fitted for.
    pub fn apply(&self, vectors: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        check_dimension(self.map.nrows(), vectors)?;
        Ok(vectors.dot(&self.map) + &self.offset)
    }

    /// Returns the matrix, `[dim of the first, dim of the second]`: a row `x` goes to `x · matrix + offset`.
    pub fn matrix(&self) -> ArrayView2<'_, f32> {
        self.map.view()
    }

    /// Returns the offset, `[dim of the second]`.
    pub fn offset(&self) -> ArrayView1<'_, f32> {
        self.offset.view()
    }
}
