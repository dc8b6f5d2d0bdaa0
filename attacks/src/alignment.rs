//! Maps with which an attacker who knows some pairs undoes a defense before the attack proper.

#![expect(clippy::needless_pass_by_value, reason = "views are passed by value, as ndarray itself does")]

use faer::{Mat, MatRef};
use ndarray::{Array2, ArrayView2, Axis};

use crate::Error;

/// The orthogonal map that brings protected vectors closest to clean ones.
///
/// The solution of the orthogonal Procrustes problem (Schönemann 1966): of all orthogonal `Q` the one
/// with the least `‖protected · Q − clean‖`. It undoes a rotation (or a reflection) however it was
/// drawn; nothing is centred, as a rotation keeps the origin where it is. No key is needed, only pairs.
///
/// With fewer pairs than dimensions `Q` is still orthogonal, but it is determined only on the span of
/// the pairs; how it turns the rest is arbitrary, and vectors outside the span come back wrong.
///
/// ```
/// use embosk_attacks::alignment::Procrustes;
/// use ndarray::array;
///
/// let clean = array![[1.0, 0.0], [0.0, 1.0]];
/// let quarter_turn = array![[0.0, 1.0], [-1.0, 0.0]];
/// let protected = clean.dot(&quarter_turn);
/// let map = Procrustes::fit(protected.view(), clean.view())?;
/// let restored = map.apply(protected.view())?;
/// assert!((restored - clean).iter().all(|difference: &f32| difference.abs() < 1e-6));
/// # Ok::<(), embosk_attacks::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Procrustes {
    /// `[dim, dim]`, applied from the right to rows.
    map: Array2<f32>,
}

impl Procrustes {
    /// Fits the map on pairs: row `i` of `protected` and row `i` of `clean`, both `[pairs, dim]`, are of
    /// the same text. Sums are taken in `f64`.
    ///
    /// # Errors
    /// When there are no pairs, the shapes differ, or a value is not finite.
    pub fn fit(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<Self, Error> {
        check(protected, clean)?;
        let (protected, clean) = (widen(protected), widen(clean));
        let svd = (protected.transpose() * &clean)
            .svd()
            .map_err(|_| Error::Setting("the singular value decomposition did not converge".into()))?;
        Ok(Self { map: narrow((svd.U() * svd.V().transpose()).as_ref()) })
    }

    /// The restored vectors, `[batch, dim]`.
    ///
    /// # Errors
    /// When `vectors` do not have the dimension that the map was fitted for.
    pub fn apply(&self, vectors: ArrayView2<'_, f32>) -> Result<Array2<f32>, Error> {
        let (expected, found) = (self.map.nrows(), vectors.ncols());
        if expected != found {
            return Err(Error::Dimension { expected, found });
        }
        Ok(vectors.dot(&self.map))
    }
}

fn check(protected: ArrayView2<'_, f32>, clean: ArrayView2<'_, f32>) -> Result<(), Error> {
    if protected.is_empty() {
        return Err(Error::Empty("the set of pairs to fit on"));
    }
    if protected.ncols() != clean.ncols() {
        return Err(Error::Dimension { expected: clean.ncols(), found: protected.ncols() });
    }
    if protected.nrows() != clean.nrows() {
        let (protected, clean) = (protected.nrows(), clean.nrows());
        return Err(Error::Setting(format!(
            "{protected} protected vectors do not pair with {clean} clean ones"
        )));
    }
    for vectors in [protected, clean] {
        let finite = |row: ndarray::ArrayView1<'_, f32>| row.iter().all(|value| value.is_finite());
        if let Some(row) = vectors.axis_iter(Axis(0)).position(|row| !finite(row)) {
            return Err(Error::NotFinite { row });
        }
    }
    Ok(())
}

fn widen(rows: ArrayView2<'_, f32>) -> Mat<f64> {
    Mat::from_fn(rows.nrows(), rows.ncols(), |row, column| f64::from(rows[(row, column)]))
}

fn narrow(matrix: MatRef<'_, f64>) -> Array2<f32> {
    Array2::from_shape_fn((matrix.nrows(), matrix.ncols()), |(row, column)| matrix[(row, column)] as f32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(rows: usize, columns: usize, rng: &mut ChaCha8Rng) -> Array2<f32> {
        Array2::from_shape_simple_fn((rows, columns), || rng.random_range(-1.0..1.0))
    }

    /// The product of `2 · dim` random Householder reflections.
    fn rotation(dim: usize, rng: &mut ChaCha8Rng) -> Array2<f32> {
        let mut map = Array2::<f64>::eye(dim);
        for _ in 0..2 * dim {
            let axis = random(dim, 1, rng).mapv(f64::from);
            let length = axis.iter().map(|value| value * value).sum::<f64>();
            let along = axis.t().dot(&map);
            map = map - axis.dot(&along) * (2.0 / length);
        }
        map.mapv(|value| value as f32)
    }

    fn furthest(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_planted_rotation_is_found_with_one_pair_more_than_dimensions(seed: u64, dim in 2..40_usize) {
            let rng = &mut ChaCha8Rng::seed_from_u64(seed);
            let (map, clean, unseen) = (rotation(dim, rng), random(dim + 1, dim, rng), random(9, dim, rng));
            let fitted = Procrustes::fit(clean.dot(&map).view(), clean.view()).unwrap();
            let restored = fitted.apply(unseen.dot(&map).view()).unwrap();
            prop_assert!(furthest(&restored, &unseen) < 1e-3);
        }

        #[test]
        fn the_map_is_orthogonal_and_right_on_the_pairs(seed: u64, dim in 2..30_usize, pairs in 1..10_usize) {
            let rng = &mut ChaCha8Rng::seed_from_u64(seed);
            let (map, clean) = (rotation(dim, rng), random(pairs, dim, rng));
            let protected = clean.dot(&map);
            let fitted = Procrustes::fit(protected.view(), clean.view()).unwrap();
            prop_assert!(furthest(&fitted.map.t().dot(&fitted.map), &Array2::eye(dim)) < 1e-4);
            prop_assert!(furthest(&fitted.apply(protected.view()).unwrap(), &clean) < 1e-3);
        }
    }

    #[test]
    fn zero_vectors_leave_an_orthogonal_map() {
        let zeros = Array2::zeros((4, 3));
        let map = Procrustes::fit(zeros.view(), zeros.view()).unwrap().map;
        assert!(furthest(&map.t().dot(&map), &Array2::eye(3)) < 1e-6);
    }

    #[test]
    fn pairs_that_do_not_fit_are_refused() {
        let [none, two, three, wide] = [(0, 3), (2, 3), (3, 3), (2, 4)].map(Array2::<f32>::zeros);
        let mut holed = two.clone();
        holed[(1, 2)] = f32::NAN;
        let fit = |a: &Array2<f32>, b: &Array2<f32>| Procrustes::fit(a.view(), b.view()).unwrap_err();
        assert!(matches!(fit(&none, &none), Error::Empty(_)));
        assert!(matches!(fit(&two, &three), Error::Setting(_)));
        assert!(matches!(fit(&wide, &two), Error::Dimension { expected: 3, found: 4 }));
        assert!(matches!(fit(&two, &holed), Error::NotFinite { row: 1 }));
        let map = Procrustes::fit(two.view(), two.view()).unwrap();
        assert!(matches!(map.apply(wide.view()), Err(Error::Dimension { expected: 3, found: 4 })));
    }
}
