//! Rotations of the two halves of a head's values, by angles that grow with the position.

use candle_core::{Result, Tensor};

use crate::kernels::{on_cpu, rows, with};

/// How far each pair of values turns from one position to the next.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    /// In radians, one for each pair.
    steps: Vec<f32>,
}

impl Turns {
    /// Creates the turns of heads with `width` values.
    pub(super) fn new(theta: f64, width: usize) -> Self {
        // in 32 bits throughout, as Hugging Face computes them
        let step = |pair: usize| 1.0 / (theta as f32).powf((2 * pair) as f32 / width as f32);
        Self { steps: (0..width / 2).map(step).collect() }
    }

    /// Turns the heads of `[tokens, heads · width]`. The texts are concatenated, with these `lengths`.
    pub(super) fn turned(&self, x: &Tensor, lengths: &[usize]) -> Result<Tensor> {
        let angles = self.angles(lengths.iter().copied().max().unwrap_or(0));
        let places = lengths.iter().flat_map(|&length| 0..length);
        if on_cpu(x) { self.on_values(x, &angles, places) } else { self.on_tensors(x, &angles, places) }
    }

    /// The cosine and the sine of each position's angles.
    fn angles(&self, length: usize) -> Vec<(f32, f32)> {
        let of_place = |place: usize| self.steps.iter().map(move |step| place as f32 * step);
        (0..length).flat_map(of_place).map(|angle| (angle.cos(), angle.sin())).collect()
    }

    fn on_values(
        &self,
        x: &Tensor,
        angles: &[(f32, f32)],
        places: impl Iterator<Item = usize>,
    ) -> Result<Tensor> {
        let (half, row) = (self.steps.len(), x.dim(1)?);
        let mut out = with(x, <[f32]>::to_vec)?;
        rows::widest(
            #[inline(always)]
            || {
                for (row, place) in out.chunks_exact_mut(row).zip(places) {
                    let angles = &angles[place * half..][..half];
                    for head in row.chunks_exact_mut(2 * half) {
                        let (left, right) = head.split_at_mut(half);
                        for ((left, right), (cos, sin)) in left.iter_mut().zip(right).zip(angles) {
                            (*left, *right) = (*left * cos - *right * sin, *right * cos + *left * sin);
                        }
                    }
                }
            },
        );
        Tensor::from_vec(out, x.shape(), x.device())
    }

    fn on_tensors(
        &self,
        x: &Tensor,
        angles: &[(f32, f32)],
        places: impl Iterator<Item = usize>,
    ) -> Result<Tensor> {
        let (half, tokens) = (self.steps.len(), x.dim(0)?);
        let places: Vec<usize> = places.collect();
        let of_all = |of: fn(&(f32, f32)) -> f32| {
            let values = places.iter().flat_map(|place| angles[place * half..][..half].iter().map(of));
            Tensor::from_vec(values.collect::<Vec<_>>(), (tokens, 1, half), x.device())
        };
        let (cos, sin) = (of_all(|angle| angle.0)?, of_all(|angle| angle.1)?);
        let heads = x.reshape((tokens, (), 2 * half))?;
        let (left, right) = (heads.narrow(2, 0, half)?, heads.narrow(2, half, half)?);
        let turned_left = (left.broadcast_mul(&cos)? - right.broadcast_mul(&sin)?)?;
        let turned_right = (right.broadcast_mul(&cos)? + left.broadcast_mul(&sin)?)?;
        Tensor::cat(&[turned_left, turned_right], 2)?.reshape(x.shape())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// A rotation keeps lengths, and the inner product of two positions depends only on their distance.
    #[test]
    fn places_turn_and_distances_count() {
        let turns = Turns::new(10_000.0, 8);
        let one: Vec<f32> = (0..8).map(|at| (at as f32 * 1.3).sin()).collect();
        let x = Tensor::from_vec(one.repeat(12), (6, 16), &Device::Cpu).unwrap();
        let turned = turns.turned(&x, &[4, 2]).unwrap().to_vec2::<f32>().unwrap();
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        for row in &turned {
            assert!((dot(&row[..8], &row[..8]) - dot(&one, &one)).abs() < 1e-5);
            assert_eq!(row[..8], row[8..]);
        }
        assert_eq!(turned[0][..8], one[..]);
        assert_eq!(turned[4..], turned[..2]);
        assert!((dot(&turned[1], &turned[3]) - dot(&turned[0], &turned[2])).abs() < 1e-5);
        assert!((dot(&turned[0], &turned[1]) - dot(&turned[0], &turned[2])).abs() > 1e-2);
    }

    #[test]
    fn tensors_turn_as_values_do() {
        let turns = Turns::new(100.0, 4);
        let values: Vec<f32> = (0..40).map(|at| (at as f32).cos()).collect();
        let x = Tensor::from_vec(values, (5, 8), &Device::Cpu).unwrap();
        let places = || [0, 1, 2, 0, 1].into_iter();
        let found = turns.on_values(&x, &turns.angles(3), places()).unwrap();
        let other = turns.on_tensors(&x, &turns.angles(3), places()).unwrap();
        let far = (found - other).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
        assert!(far.to_scalar::<f32>().unwrap() < 1e-6);
    }
}
