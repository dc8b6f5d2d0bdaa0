//! What is orthogonal to a few directions, as coordinates. All in `f64` and in a fixed order.

use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut1, Axis, s};
use zeroize::Zeroizing;

/// Householder reflections that take orthonormal directions to the first axes. The other axes are coordinates of
/// everything that is orthogonal to the directions.
#[derive(Clone, PartialEq)]
pub(super) struct Complement {
    /// Unit vectors, `[directions, dim]`; a row of zeros reflects nothing.
    reflections: Array2<f64>,
}

impl Complement {
    /// Of `directions`, `[directions, dim]`, orthonormal rows.
    pub(super) fn of(directions: ArrayView2<'_, f32>) -> Self {
        let mut left = directions.mapv(f64::from);
        let mut reflections = Array2::zeros(left.raw_dim());
        for at in 0..left.nrows() {
            let normal = normal(left.row(at).slice(s![at..]).to_owned());
            for mut row in left.axis_iter_mut(Axis(0)).skip(at + 1) {
                reflect(&normal, row.slice_mut(s![at..]));
            }
            reflections.row_mut(at).slice_mut(s![at..]).assign(&normal);
        }
        Self { reflections }
    }

    /// How many coordinates there are.
    pub(super) fn size(&self) -> usize {
        self.reflections.ncols() - self.reflections.nrows()
    }

    /// Lets `change` work on the coordinates of `row`, which is otherwise left as it is. `part` is scratch of the
    /// coordinates' size.
    pub(super) fn change(
        &self,
        mut row: ArrayViewMut1<'_, f32>,
        part: &mut [f32],
        change: impl FnOnce(&mut [f32]),
    ) {
        let directions = self.reflections.nrows();
        let mut turned = Zeroizing::new(row.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
        for reflection in self.reflections.rows() {
            reflect_slice(reflection.as_slice().unwrap_or_default(), &mut turned);
        }
        part.iter_mut().zip(&turned[directions..]).for_each(|(to, from)| *to = *from as f32);
        let before = Zeroizing::new(part.to_vec());
        change(part);
        // the difference, in the coordinates of the vector itself
        turned[..directions].fill(0.0);
        for ((to, after), before) in turned[directions..].iter_mut().zip(&*part).zip(&*before) {
            *to = f64::from(*after) - f64::from(*before);
        }
        for reflection in self.reflections.rows().into_iter().rev() {
            reflect_slice(reflection.as_slice().unwrap_or_default(), &mut turned);
        }
        row.iter_mut().zip(&*turned).for_each(|(x, difference)| *x = (f64::from(*x) + difference) as f32);
    }
}

/// The normal of the plane whose reflection takes `vector` to the first axis, one way or the other.
fn normal(mut vector: Array1<f64>) -> Array1<f64> {
    let norm = libm::sqrt(vector.iter().fold(0.0, |sum, x| sum + x * x));
    vector[0] += if vector[0] < 0.0 { -norm } else { norm };
    let length = libm::sqrt(vector.iter().fold(0.0, |sum, x| sum + x * x));
    if length > 0.0 { vector / length } else { vector }
}

fn reflect(normal: &Array1<f64>, mut vector: ArrayViewMut1<'_, f64>) {
    let twice = 2.0 * normal.iter().zip(&vector).fold(0.0, |sum, (a, b)| sum + a * b);
    vector.zip_mut_with(normal, |x, &normal| *x -= twice * normal);
}

fn reflect_slice(normal: &[f64], vector: &mut [f64]) {
    let twice = 2.0 * normal.iter().zip(&*vector).fold(0.0, |sum, (a, b)| sum + a * b);
    vector.iter_mut().zip(normal).for_each(|(x, normal)| *x -= twice * normal);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn directions_stay_and_the_rest_is_changed() {
        let third = 1.0_f32 / 3.0;
        let directions = array![[2.0 * third, 2.0 * third, third, 0.0], [0.0, 0.0, 0.0, -1.0]];
        let complement = Complement::of(directions.view());
        assert_eq!(complement.size(), 2);
        let before = array![1.0_f32, -2.0, 0.5, 3.0];
        let mut after = before.clone();
        let mut length = 0.0;
        complement.change(after.view_mut(), &mut [0.0; 2], |part| {
            length = part.iter().map(|x| x * x).sum();
            part.iter_mut().for_each(|x| *x = -*x);
        });
        let kept = directions.dot(&before);
        assert!((directions.dot(&after) - &kept).iter().all(|far| far.abs() < 1e-6));
        let rest = before.dot(&before) - kept.dot(&kept);
        assert!((length - rest).abs() < 1e-5, "{length} {rest}");
        // mirrored in the directions' plane
        let mirrored = directions.t().dot(&kept) * 2.0 - &before;
        assert!((after - mirrored).iter().all(|far| far.abs() < 1e-6));
    }
}
