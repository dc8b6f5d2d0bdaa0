//! The order that a permutation gave the coordinates.

use faer::{Mat, MatRef};
use ndarray::{Array2, ArrayView2};

use crate::Error;
use crate::assignment::assignment;
use crate::check::{check, check_dimension, check_finite};
use crate::rows::quantiles;

/// Quantiles by which the distributions of two coordinates are compared.
const QUANTILES: usize = 32;
/// How many pairs a coordinate's distribution counts as.
const WORTH: f64 = 3.0;

/// Finds the order that a permutation gave the coordinates, by matching those that agree.
///
/// All protected coordinates are assigned to clean ones at once, so that their products over the pairs have the
/// largest sum (linear assignment), which is also the least sum of squared differences. Without noise, one or two
/// pairs determine the order; with noise, it takes more. A scaling makes no difference.
///
/// ```
/// use embosk_attacks::structure::FoundPermutation;
/// use ndarray::array;
///
/// let clean = array![[0.1, 0.7, 0.4], [0.5, 0.2, 0.3]];
/// let protected = array![[0.4, 0.1, 0.7], [0.3, 0.5, 0.2]];
/// let map = FoundPermutation::fit(protected.view(), clean.view())?;
/// assert_eq!(map.apply(protected.view())?, clean);
/// # Ok::<(), embosk_attacks::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPermutation {
    places: Vec<usize>,
}

impl FoundPermutation {
    /// Fits the order on pairs: row `i` of `protected` and row `i` of `clean`, both `[pairs, dim]`, are of
    /// the same text.
    ///
    /// # Errors
    /// When there are no pairs, the shapes differ, or a value is not finite.
    pub fn fit(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<Self, Error> {
        check(protected, clean)?;
        check_dimension(clean.ncols(), protected)?;
        Ok(Self { places: assignment(disagreement(protected, clean).as_ref()) })
    }

    /// Fits the order as [`fit`](Self::fit) does, also with vectors that are not pairs: `stored` are protected, `own`
    /// are clean vectors of other texts of the same kind, `[any number, dim]`. Coordinates are also compared by their
    /// distributions over these, and each kind of evidence is weighted by how well it fits. This helps if noise makes
    /// the pairs ambiguous.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and when one of the two sets is empty.
    pub fn fit_with(
        protected: ArrayView2<'_, f32>,
        clean: ArrayView2<'_, f32>,
        stored: ArrayView2<'_, f32>,
        own: ArrayView2<'_, f32>,
    ) -> Result<Self, Error> {
        let by_pairs = Self::fit(protected, clean)?;
        for vectors in [stored, own] {
            check_dimension(clean.ncols(), vectors)?;
            check_finite(vectors)?;
            if vectors.is_empty() {
                return Err(Error::Empty("the set of vectors to compare coordinates by"));
            }
        }
        let pairs = disagreement(protected, clean);
        let [stored, own] = [stored, own].map(|rows| quantiles(rows, QUANTILES));
        let clouds = disagreement(stored.view(), own.view());
        let mut places = by_pairs.places;
        let alone = assignment(clouds.as_ref());
        let weigh = |costs: &Mat<f64>, places: &[usize], count: f64| {
            let left = places.iter().enumerate().map(|(from, &to)| costs[(from, to)]).sum::<f64>();
            count / left.max(f64::MIN_POSITIVE.sqrt())
        };
        let mut weights = (weigh(&pairs, &places, protected.nrows() as f64), weigh(&clouds, &alone, WORTH));
        for _ in 0..3 {
            // a weight beyond this one makes the other's evidence break ties and nothing else
            let ratio = (weights.1 / weights.0).clamp(1e-9, 1e9);
            let costs = Mat::from_fn(pairs.nrows(), pairs.ncols(), |from, to| {
                pairs[(from, to)] + ratio * clouds[(from, to)]
            });
            places = assignment(costs.as_ref());
            weights = (weigh(&pairs, &places, protected.nrows() as f64), weigh(&clouds, &places, WORTH));
        }
        Ok(Self { places })
    }

    /// Returns the vectors in the clean ones' order of coordinates, `[batch, dim]`.
    ///
    /// # Errors
    /// When `vectors` do not have the dimension that the order was fitted for.
    pub fn apply(&self, vectors: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        check_dimension(self.places.len(), vectors)?;
        let mut restored = Array2::zeros(vectors.raw_dim());
        for (from, &to) in self.places.iter().enumerate() {
            restored.column_mut(to).assign(&vectors.column(from));
        }
        Ok(restored)
    }

    /// The map as a matrix that is applied to rows from the right.
    pub(crate) fn matrix(&self) -> Mat<f64> {
        CoordinateOrder { places: self.places.clone(), signs: vec![1.0; self.places.len()] }.matrix()
    }

    /// Returns, for each protected coordinate, the clean one that it holds.
    pub fn places(&self) -> &[usize] {
        &self.places
    }
}

/// Where each coordinate goes, and with which sign.
pub(crate) struct CoordinateOrder {
    places: Vec<usize>,
    signs: Vec<f64>,
}

impl CoordinateOrder {
    /// The map as a matrix that is applied to rows from the right.
    pub(crate) fn matrix(&self) -> Mat<f64> {
        let mut matrix = Mat::zeros(self.places.len(), self.places.len());
        for (from, (&to, &sign)) in self.places.iter().zip(&self.signs).enumerate() {
            matrix[(from, to)] = sign;
        }
        matrix
    }
}

/// The order, or with `signed` the order and the signs, that brings `protected` closest to `clean`.
pub(crate) fn order(protected: MatRef<'_, f64>, clean: MatRef<'_, f64>, signed: bool) -> CoordinateOrder {
    let products = protected.transpose() * clean;
    let costs = Mat::from_fn(products.nrows(), products.ncols(), |from, to| match products[(from, to)] {
        product if signed => -product.abs(),
        product => -product,
    });
    let places = assignment(costs.as_ref());
    let sign = |(from, &to): (usize, &usize)| if signed && products[(from, to)] < 0.0 { -1.0 } else { 1.0 };
    let signs = places.iter().enumerate().map(sign).collect();
    CoordinateOrder { places, signs }
}

/// The squared differences between all columns of one side and all of the other, after both are brought to the same
/// scale.
fn disagreement(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Mat<f64> {
    let widened = |rows: ArrayView2<'_, f32>| {
        let square = rows.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>();
        let scale = if square > 0.0 { square.sqrt().recip() } else { 1.0 };
        Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| scale * f64::from(rows[(row, column)]))
    };
    let (protected, clean) = (widened(protected), widened(clean));
    let products = protected.transpose() * &clean;
    Mat::from_fn(products.nrows(), products.ncols(), |from, to| {
        let squares = protected.col(from).squared_norm_l2() + clean.col(to).squared_norm_l2();
        (squares - 2.0 * products[(from, to)]).max(0.0)
    })
}
