//! The map from vectors to coordinates, and back.

use std::sync::OnceLock;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use crate::Rng;
use crate::haar::directions;
use crate::matrix::Matrix;

/// Takes `x` to the coordinates `wᵢ uᵢ·(x − mean)`, with orthonormal `uᵢ`.
pub(super) struct Linear {
    /// `wᵢ uᵢ`, `[dims, dim]`, wiped when dropped: under a key it is as good as the key.
    matrix: Matrix,
    /// The transposed matrix, for the inverse; computed when it is first needed.
    back: OnceLock<Matrix>,
    squared_weights: Array1<f32>,
    /// The mean and its coordinates; a keyed map has none.
    mean: Option<[Array1<f32>; 2]>,
}

impl Linear {
    /// Coordinates about `mean` along the rows of `directions`, `[dims, dim]`, each times its weight.
    pub(super) fn fitted(
        mean: ArrayView1<'_, f32>,
        directions: ArrayView2<'_, f32>,
        weights: &[f64],
    ) -> Self {
        let mut matrix = Matrix::zeros(directions.nrows(), directions.ncols());
        let mut shift = Array1::zeros(weights.len());
        for (row, (direction, weight)) in directions.rows().into_iter().zip(weights).enumerate() {
            let mut sum = 0.0;
            for (column, (x, mean)) in direction.iter().zip(&mean).enumerate() {
                let value = (f64::from(*x) * weight) as f32;
                sum += f64::from(value) * f64::from(*mean);
                matrix.set(row, column, value);
            }
            shift[row] = sum as f32;
        }
        let squared_weights = weights.iter().map(|weight| (weight * weight) as f32).collect();
        Self { matrix, back: OnceLock::new(), squared_weights, mean: Some([mean.to_owned(), shift]) }
    }

    /// Coordinates along `dims` orthogonal directions, scaled so that norms are kept on average.
    pub(super) fn draw(dim: usize, dims: usize, rng: &mut Rng) -> Self {
        let square = dim as f64 / dims as f64;
        let matrix = directions(dim, dims, libm::sqrt(square), rng);
        let squared_weights = Array1::from_elem(dims, square as f32);
        Self { matrix, back: OnceLock::new(), squared_weights, mean: None }
    }

    /// The coordinates of `vectors`, `[batch, dim]`.
    pub(super) fn apply(&self, vectors: ArrayView2<'_, f32>) -> Array2<f32> {
        let mut coarse = Array2::zeros((vectors.nrows(), self.squared_weights.len()));
        self.matrix.multiply_into(vectors, coarse.view_mut());
        if let Some([_, shift]) = &self.mean {
            coarse -= shift;
        }
        coarse
    }

    /// The vectors with the coordinates `coarse`, `[batch, dims]`, that are nearest to the mean.
    pub(super) fn expand(&self, coarse: ArrayView2<'_, f32>) -> Array2<f32> {
        let back = self.back.get_or_init(|| self.matrix.transposed());
        let mut vectors = Array2::zeros((coarse.nrows(), back.rows()));
        back.multiply_into((&coarse / &self.squared_weights).view(), vectors.view_mut());
        if let Some([mean, _]) = &self.mean {
            vectors += mean;
        }
        vectors
    }
}
