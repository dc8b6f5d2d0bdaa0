//! `x · weightᵀ`, row of `x` by row of `weight`, for models that are used and not trained.
//!
//! Decoding multiplies few rows by large weights. A general matrix product copies the weights into its own order each
//! time, which costs as much as the multiplication. This one reads them in place.

use candle_core::{CpuStorage, CustomOp2, D, Layout, Result, Shape, Tensor};
use half::bf16;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::eight_bits::BLOCK;
use crate::kernels::{matmul, on_cpu, values};
use crate::threads;

/// Values of `x` that stay in a core's second cache while all weights pass by.
const CACHED: usize = 120_000;
/// From this many multiplications on, it pays to wake another thread.
const SPLIT: usize = 2_000_000;

/// Weights in their memory layout, row after row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rows<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    /// Whole numbers, and a scale for every [`BLOCK`] of a row.
    Q8 {
        values: &'a [i8],
        scales: &'a [f32],
    },
}

impl<'a> Rows<'a> {
    fn values(self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
            Self::Q8 { values, .. } => values.len(),
        }
    }

    /// The rows from `first` on, at most `count` of them.
    fn part(self, first: usize, count: usize, depth: usize) -> Self {
        let range = |width: usize, length: usize| {
            (first * width).min(length)..first.saturating_add(count).saturating_mul(width).min(length)
        };
        match self {
            Self::F32(values) => Self::F32(&values[range(depth, values.len())]),
            Self::Bf16(values) => Self::Bf16(&values[range(depth, values.len())]),
            Self::Q8 { values, scales } => Self::Q8 {
                values: &values[range(depth, values.len())],
                scales: &scales[range(depth.div_ceil(BLOCK), scales.len())],
            },
        }
    }

    /// All of them in 32 bits: in place, or copied to `room`.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
    fn widened<'r>(self, depth: usize, room: &'r mut Vec<f32>) -> &'r [f32]
    where
        'a: 'r,
    {
        room.resize(self.values(), 0.0);
        match self {
            Self::F32(values) => return values,
            Self::Bf16(values) => {
                for (wide, value) in room.iter_mut().zip(values) {
                    *wide = f32::from_bits(u32::from(value.to_bits()) << 16);
                }
            }
            Self::Q8 { values, scales } => {
                let rows = room.chunks_exact_mut(depth).zip(values.chunks_exact(depth));
                for ((wide, values), scales) in rows.zip(scales.chunks_exact(depth.div_ceil(BLOCK))) {
                    let blocks = wide.chunks_mut(BLOCK).zip(values.chunks(BLOCK)).zip(scales);
                    for ((wide, values), scale) in blocks {
                        for (wide, value) in wide.iter_mut().zip(values) {
                            *wide = f32::from(*value) * scale;
                        }
                    }
                }
            }
        }
        room
    }
}

/// Multiplies rows of `x` (`[rows, depth]`) by rows of `weight` (`[columns, depth]`), to `[rows, columns]`.
pub(crate) fn by_rows(x: &[f32], weight: Rows<'_>, depth: usize) -> Vec<f32> {
    if depth == 0 {
        return Vec::new();
    }
    let (rows, columns) = (x.len() / depth, weight.values() / depth);
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
    let work = |(number, mut out): (usize, Vec<&mut [f32]>)| {
        let weight = weight.part(number * share, share, depth);
        threads::flushing_subnormals(|| Arch::new().dispatch(Block { x, weight, depth, out: &mut out }));
    };
    match pieces.len() {
        1 => pieces.into_iter().enumerate().for_each(work),
        _ => pieces.into_par_iter().enumerate().for_each(work),
    }
    out
}

/// Some columns of the result, computed on one thread.
struct Block<'a, 'o> {
    x: &'a [f32],
    weight: Rows<'a>,
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
        let mut room = Vec::new();
        for (x, out) in self.x.chunks(block * depth).zip(self.out.chunks_mut(block)) {
            let count = self.weight.values() / depth;
            let whole = count - count % C;
            for column in (0..whole).step_by(C) {
                let weight = self.weight.part(column, C, depth).widened(depth, &mut room);
                columns::<S, R, C>(simd, x, weight, depth, out, column);
            }
            for column in whole..count {
                let weight = self.weight.part(column, 1, depth).widened(depth, &mut room);
                columns::<S, R, 1>(simd, x, weight, depth, out, column);
            }
        }
    }
}

/// Multiplies all rows of `x` by `C` rows of the weights.
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

/// Multiplies `R` rows by `C` rows, with their `R · C` sums in registers.
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
    // summed up with indices that are known, or the registers above are kept in memory
    let mut totals = [[0f32; C]; R];
    for row in 0..R {
        for column in 0..C {
            totals[row][column] = simd.reduce_sum_f32s(sums[row][column]);
        }
    }
    for (row, out) in out.iter_mut().enumerate() {
        for (place, out) in out[column..column + C].iter_mut().enumerate() {
            let tails = xs[row].1.iter().zip(weights[place].1);
            *out = totals[row][place] + tails.map(|(x, weight)| x * weight).sum::<f32>();
        }
    }
}

/// Computes `x · weightᵀ` over the last dimension, as one matrix product, with a gradient if either has one.
///
/// # Errors
/// For shapes that do not fit.
pub fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let depth = x.dim(D::Minus1)?;
    if depth == 0 || weight.dim(1)? != depth {
        candle_core::bail!("states of width {depth} meet weights {:?}", weight.dims());
    }
    let rows = x.elem_count() / depth;
    if let Some(last) = shape.last_mut() {
        *last = weight.dim(0)?;
    }
    let x = x.reshape((rows, ()))?;
    let learns = x.track_op() || weight.track_op();
    let out =
        if learns || !on_cpu(&x) { matmul(&x, &weight.t()?)? } else { x.apply_op2_no_bwd(weight, &ByRows)? };
    out.reshape(shape)
}

/// [`by_rows`] of tensors, `[rows, depth]` and `[columns, depth]`, without a gradient.
struct ByRows;

impl CustomOp2 for ByRows {
    fn name(&self) -> &'static str {
        "by-rows"
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
        let weight = Rows::F32(values(weight, weight_layout)?);
        let out = by_rows(values(x, x_layout)?, weight, depth);
        Ok((CpuStorage::F32(out), Shape::from((rows, columns))))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

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
            let out = by_rows(&x, Rows::F32(&weight), depth);
            assert_eq!(out.len(), rows * columns);
            for (place, found) in out.iter().enumerate() {
                let (row, column) = (place / columns, place % columns);
                let pairs = x[row * depth..][..depth].iter().zip(&weight[column * depth..][..depth]);
                let sum: f64 = pairs.map(|(x, weight)| f64::from(x * weight)).sum();
                assert!((f64::from(*found) - sum).abs() < 1e-4, "{rows} {columns} {depth}: {found} {sum}");
            }
        }
    }

    /// Computes a product large enough to be shared on every thread of rayon's at once.
    #[test]
    fn threads_of_rayons_do_not_wait_for_each_other() {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let (x, weight) = (vec![0.5; 64 * 512], vec![0.25; 512 * 512]);
            let sums: Vec<f32> = (0..16)
                .into_par_iter()
                .map(|_| {
                    let job = |()| Ok::<_, ()>(by_rows(&x, Rows::F32(&weight), 512)[0]);
                    threads::in_parallel(&[()], |&unit| job(unit)).unwrap()[0]
                })
                .collect();
            sender.send(sums).unwrap();
        });
        assert_eq!(receiver.recv_timeout(Duration::from_mins(1)).unwrap(), vec![64.0; 16]);
    }
}
