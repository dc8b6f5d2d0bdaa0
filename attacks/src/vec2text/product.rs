//! `x · weightᵀ`, where a model is used and not trained.
//!
//! Decoding multiplies few rows by large weights. A general matrix product copies the weights into an order
//! of its own each time, which then costs as much as the multiplication; this one reads them as they lie.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::kernels::values;
use super::threads;

/// Values of `x` that stay in a core's second cache while all weights pass by.
const CACHED: usize = 120_000;
/// Multiplications from which on it pays to wake another thread.
const SPLIT: usize = 2_000_000;

/// Rows of `x` (`[rows, depth]`) times rows of `weight` (`[columns, depth]`), to `[rows, columns]`.
pub(crate) fn product(x: &[f32], weight: &[f32], depth: usize) -> Vec<f32> {
    if depth == 0 {
        return Vec::new();
    }
    let (rows, columns) = (x.len() / depth, weight.len() / depth);
    let mut out = vec![0.0; rows * columns];
    if out.is_empty() {
        return out;
    }
    let parts = if out.len() * depth < SPLIT { 1 } else { threads::for_a_product() };
    let share = columns.div_ceil(parts).next_multiple_of(16);
    let mut pieces: Vec<Vec<&mut [f32]>> = Vec::new();
    pieces.resize_with(columns.div_ceil(share), || Vec::with_capacity(rows));
    for row in out.chunks_exact_mut(columns) {
        for (piece, part) in pieces.iter_mut().zip(row.chunks_mut(share)) {
            piece.push(part);
        }
    }
    let work = |(mut out, weight): (Vec<&mut [f32]>, &[f32])| {
        Arch::new().dispatch(Block { x, weight, depth, out: &mut out });
    };
    match pieces.len() {
        1 => pieces.into_iter().zip(weight.chunks(share * depth)).for_each(work),
        _ => pieces.into_par_iter().zip(weight.par_chunks(share * depth)).for_each(work),
    }
    out
}

/// The product of some columns on one thread.
struct Block<'a, 'o> {
    x: &'a [f32],
    weight: &'a [f32],
    depth: usize,
    out: &'a mut [&'o mut [f32]],
}

impl WithSimd for Block<'_, '_> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 { self.run::<S, 6, 4>(simd) } else { self.run::<S, 3, 4>(simd) }
    }
}

impl Block<'_, '_> {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
    fn run<S: Simd, const R: usize, const C: usize>(self, simd: S) {
        let depth = self.depth;
        let block = (CACHED / depth).next_multiple_of(R).max(R);
        for (x, out) in self.x.chunks(block * depth).zip(self.out.chunks_mut(block)) {
            let tiles = self.weight.chunks_exact(C * depth);
            let (rest, beyond) = (tiles.remainder(), tiles.len() * C);
            for (tile, weight) in tiles.enumerate() {
                columns::<S, R, C>(simd, x, weight, depth, out, tile * C);
            }
            for (place, weight) in rest.chunks_exact(depth).enumerate() {
                columns::<S, R, 1>(simd, x, weight, depth, out, beyond + place);
            }
        }
    }
}

/// All rows of `x` with `C` rows of the weights.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
fn columns<S: Simd, const R: usize, const C: usize>(
    simd: S,
    x: &[f32],
    weight: &[f32],
    depth: usize,
    out: &mut [&mut [f32]],
    column: usize,
) {
    let groups = x.chunks_exact(R * depth);
    let rest = groups.remainder();
    let mut outs = out.chunks_exact_mut(R);
    for (x, out) in groups.zip(&mut outs) {
        tile::<S, R, C>(simd, x, weight, depth, out, column);
    }
    for (x, out) in rest.chunks_exact(depth).zip(outs.into_remainder().chunks_exact_mut(1)) {
        tile::<S, 1, C>(simd, x, weight, depth, out, column);
    }
}

/// `R` rows with `C` rows, their `R · C` sums in registers.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
#[allow(clippy::needless_range_loop, reason = "the loops over registers are unrolled")]
fn tile<S: Simd, const R: usize, const C: usize>(
    simd: S,
    x: &[f32],
    weight: &[f32],
    depth: usize,
    out: &mut [&mut [f32]],
    column: usize,
) {
    let vectors = depth / S::F32_LANES;
    let xs: [_; R] = std::array::from_fn(|row| S::as_simd_f32s(&x[row * depth..][..depth]));
    let weights: [_; C] = std::array::from_fn(|row| S::as_simd_f32s(&weight[row * depth..][..depth]));
    // cut to one length, so that no place in them needs a check
    let x: [&[S::f32s]; R] = std::array::from_fn(|row| &xs[row].0[..vectors]);
    let weight: [&[S::f32s]; C] = std::array::from_fn(|row| &weights[row].0[..vectors]);
    let mut sums = [[simd.splat_f32s(0.0); C]; R];
    for place in 0..vectors {
        let weight: [S::f32s; C] = std::array::from_fn(|row| weight[row][place]);
        for row in 0..R {
            for column in 0..C {
                sums[row][column] = simd.mul_add_e_f32s(x[row][place], weight[column], sums[row][column]);
            }
        }
    }
    for (row, out) in out.iter_mut().enumerate() {
        for (place, out) in out[column..column + C].iter_mut().enumerate() {
            let tails = xs[row].1.iter().zip(weights[place].1);
            *out = simd.reduce_sum_f32s(sums[row][place]) + tails.map(|(x, weight)| x * weight).sum::<f32>();
        }
    }
}

/// [`product`] of tensors, `[rows, depth]` and `[columns, depth]`, without a gradient.
pub(crate) struct Product;

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "product"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((rows, depth), (columns, width)) = (x_layout.shape().dims2()?, weight_layout.shape().dims2()?);
        if depth != width || depth == 0 {
            candle_core::bail!("states of width {depth} meet weights of width {width}");
        }
        let out = product(values(x, x_layout)?, values(weight, weight_layout)?, depth);
        Ok((CpuStorage::F32(out), Shape::from((rows, columns))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|place| ((place * 7919 + seed * 104_729) % 1013) as f32 / 1013.0 - 0.5).collect()
    }

    #[test]
    fn sums_are_those_of_single_multiplications() {
        for (rows, columns, depth) in [
            (1, 1, 1),
            (5, 7, 37),
            (6, 4, 16),
            (13, 18, 15),
            (7, 65, 64),
            (40, 33, 130),
            (64, 600, 70),
            (0, 3, 4),
        ] {
            let (x, weight) = (values(rows * depth, 1), values(columns * depth, 2));
            let out = product(&x, &weight, depth);
            assert_eq!(out.len(), rows * columns);
            for (place, found) in out.iter().enumerate() {
                let (row, column) = (place / columns, place % columns);
                let pairs = x[row * depth..][..depth].iter().zip(&weight[column * depth..][..depth]);
                let sum: f64 = pairs.map(|(x, weight)| f64::from(x * weight)).sum();
                assert!((f64::from(*found) - sum).abs() < 1e-4, "{rows} {columns} {depth}: {found} {sum}");
            }
        }
    }
}
