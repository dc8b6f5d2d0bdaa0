//! Eigenvectors of a symmetric matrix: Householder's reduction to a tridiagonal one, then the QL method with
//! implicit shifts (Bowdler, Martin, Reinsch and Wilkinson, Numer. Math. 11, 1968). All in `f64` and in a fixed
//! order, so that a matrix gives the same eigenvectors on any number of threads.

use ndarray::{Array1, Array2, Axis, Zip, s};

/// The most steps for one eigenvalue; two or three are usual.
const MOST_STEPS: usize = 64;

/// Returns the eigenvectors of the symmetric `matrix` with the `count` largest eigenvalues, as rows,
/// `[count, dim]`, largest first. The coordinate of each that is largest in magnitude is positive.
pub(super) fn eigenvectors(matrix: Array2<f64>, count: usize) -> Array2<f64> {
    let mut reduced = Tridiagonal::of(matrix);
    reduced.diagonalize();
    let mut order: Vec<usize> = (0..reduced.diagonal.len()).collect();
    // Stable, so that equal eigenvalues stay in the order in which they were found.
    order.sort_by(|a, b| reduced.diagonal[*b].total_cmp(&reduced.diagonal[*a]));
    let mut vectors = reduced.vectors.select(Axis(0), &order[..count]);
    for mut vector in vectors.rows_mut() {
        let largest =
            vector.iter().fold(0.0_f64, |largest, x| if x.abs() > largest.abs() { *x } else { largest });
        vector *= largest.signum();
    }
    vectors
}

/// A tridiagonal matrix, and the rotation that takes it to the original one.
struct Tridiagonal {
    diagonal: Array1<f64>,
    /// The numbers next to the diagonal: the one at `i` is in row `i + 1`, and the last is 0.
    beside: Array1<f64>,
    /// As rows, the vectors that the rotation takes the axes to.
    vectors: Array2<f64>,
}

impl Tridiagonal {
    /// Householder's reduction, from the last row up.
    fn of(mut matrix: Array2<f64>) -> Self {
        let dim = matrix.nrows();
        let mut beside = Array1::zeros(dim);
        // What the reflection of each row divides by; 0 where none is needed.
        let mut halves = Array1::zeros(dim);
        for row in (1..dim).rev() {
            (beside[row - 1], halves[row]) = reflect(&mut matrix, row);
        }
        let diagonal = matrix.diag().to_owned();
        Self { diagonal, beside, vectors: rotation(&matrix, &halves) }
    }

    /// The QL method: the diagonal becomes the eigenvalues, and the vectors become theirs.
    fn diagonalize(&mut self) {
        let dim = self.diagonal.len();
        let mut largest: f64 = 0.0;
        for first in 0..dim {
            largest = largest.max(self.diagonal[first].abs() + self.beside[first].abs());
            let is_zero = |x: f64| x.abs() <= f64::EPSILON * largest;
            for _ in 0..MOST_STEPS {
                if is_zero(self.beside[first]) {
                    break;
                }
                // The last number beside the diagonal is 0, so there is an end.
                let end = (first..dim).find(|at| is_zero(self.beside[*at])).unwrap_or(dim - 1);
                self.step(first, end);
            }
            self.beside[first] = 0.0;
        }
    }

    /// One QL step on rows `first..=end`, with Wilkinson's shift.
    fn step(&mut self, first: usize, end: usize) {
        let Self { diagonal, beside, vectors } = self;
        let half = (diagonal[first + 1] - diagonal[first]) / (2.0 * beside[first]);
        let root = libm::hypot(half, 1.0).copysign(half);
        let mut bulge = diagonal[end] - diagonal[first] + beside[first] / (half + root);
        let (mut sine, mut cosine, mut taken) = (1.0, 1.0, 0.0);
        for at in (first..end).rev() {
            let (across, along) = (sine * beside[at], cosine * beside[at]);
            let length = libm::hypot(across, bulge);
            beside[at + 1] = length;
            if length == 0.0 {
                // The matrix has come apart here; the next step goes on with its parts.
                diagonal[at + 1] -= taken;
                beside[end] = 0.0;
                return;
            }
            (sine, cosine) = (across / length, bulge / length);
            let shifted = diagonal[at + 1] - taken;
            let turned = (diagonal[at] - shifted) * sine + 2.0 * cosine * along;
            taken = sine * turned;
            diagonal[at + 1] = shifted + taken;
            bulge = cosine * turned - along;
            rotate(vectors, at, sine, cosine);
        }
        diagonal[first] -= taken;
        beside[first] = bulge;
        beside[end] = 0.0;
    }
}

/// Reflects the numbers left of the diagonal in `row` onto their last coordinate, and the matrix above with them.
/// Returns that coordinate and half the squared norm of the reflection's vector, which takes the row's place.
fn reflect(matrix: &mut Array2<f64>, row: usize) -> (f64, f64) {
    let mut vector = matrix.slice(s![row, ..row]).to_owned();
    let scale = vector.iter().map(|x| x.abs()).sum::<f64>();
    if row == 1 || scale == 0.0 {
        matrix.slice_mut(s![row, ..row]).fill(0.0);
        return (vector[row - 1], 0.0);
    }
    vector /= scale;
    let square = vector.dot(&vector);
    let last = vector[row - 1];
    let norm = -square.sqrt().copysign(last);
    vector[row - 1] = last - norm;
    let half = square - last * norm;
    let mut above = matrix.slice_mut(s![..row, ..row]);
    let mut image = above.dot(&vector) / half;
    let share = image.dot(&vector) / (2.0 * half);
    image.scaled_add(-share, &vector);
    Zip::from(above.rows_mut()).and(&vector).and(&image).for_each(|mut above, &v, &w| {
        above.scaled_add(-v, &image);
        above.scaled_add(-w, &vector);
    });
    matrix.slice_mut(s![row, ..row]).assign(&vector);
    (scale * norm, half)
}

/// The product of the reflections whose vectors are left of the diagonal, `[dim, dim]`.
fn rotation(reflections: &Array2<f64>, halves: &Array1<f64>) -> Array2<f64> {
    let dim = reflections.nrows();
    let mut vectors = Array2::eye(dim);
    for row in (1..dim).filter(|row| halves[*row] > 0.0) {
        let vector = reflections.slice(s![row, ..row]);
        let mut left = vectors.slice_mut(s![..row, ..row]);
        for mut axis in left.rows_mut() {
            let share = axis.dot(&vector) / halves[row];
            axis.scaled_add(-share, &vector);
        }
    }
    vectors
}

fn rotate(vectors: &mut Array2<f64>, at: usize, sine: f64, cosine: f64) {
    let (mut lower, mut upper) = vectors.multi_slice_mut((s![at, ..], s![at + 1, ..]));
    Zip::from(&mut lower).and(&mut upper).for_each(|lower, upper| {
        (*lower, *upper) = (cosine * *lower - sine * *upper, sine * *lower + cosine * *upper);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    fn symmetric(dim: usize, rank: usize) -> Array2<f64> {
        let mut rng = Rng::seeded(dim as u64);
        let mut normals = rng.standard_normals();
        let mut factor = Array2::from_shape_simple_fn((rank, dim), || normals.draw());
        factor.rows_mut().into_iter().enumerate().for_each(|(at, mut row)| row *= 1.0 / (1.0 + at as f64));
        factor.t().dot(&factor)
    }

    #[test]
    fn they_are_orthonormal_and_diagonalize_the_matrix() {
        for (dim, rank) in [(1, 1), (2, 2), (3, 1), (17, 17), (40, 7), (96, 96)] {
            let matrix = symmetric(dim, rank);
            let vectors = eigenvectors(matrix.clone(), dim);
            let off = (vectors.dot(&vectors.t()) - Array2::<f64>::eye(dim)).mapv(f64::abs);
            assert!(off.iter().all(|x| *x < 1e-12), "{dim}");
            let diagonal = vectors.dot(&matrix).dot(&vectors.t());
            let scale = diagonal[[0, 0]];
            for ((row, column), value) in diagonal.indexed_iter() {
                assert!(row == column || value.abs() < 1e-12 * scale, "{dim}: {row}, {column}, {value}");
            }
            let values = diagonal.diag().to_vec();
            assert!(values.windows(2).all(|pair| pair[0] >= pair[1] - 1e-12 * scale), "{dim}: {values:?}");
        }
    }

    #[test]
    fn a_matrix_without_directions_gives_some() {
        for matrix in [Array2::zeros((5, 5)), Array2::eye(5)] {
            let vectors = eigenvectors(matrix, 3);
            let off = vectors.dot(&vectors.t()) - Array2::<f64>::eye(3);
            assert!(off.iter().all(|x| x.abs() < 1e-12));
        }
    }
}
