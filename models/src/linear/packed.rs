//! A matrix in the order in which products read it.
//!
//! A panel holds, side by side, as many columns of the result as a few registers hold, and panels follow one another.
//! A product then needs no sum across a register. Each value is the sum over the depth, term after term, whatever the
//! processor's registers and the number of rows.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::kernels::{values, with};
use crate::threads;

/// From this many multiplications on, it pays to wake another thread.
const SPLIT: usize = 2_000_000;

/// A matrix `[columns, depth]` on the CPU, packed into panels.
#[derive(Debug, Clone)]
pub struct Packed {
    columns: usize,
    depth: usize,
    /// Columns of a panel: as many as a multiplication's registers hold.
    wide: usize,
    /// `[panels, depth, wide]`, with zeros where the last panel has no column.
    panels: Arc<[f32]>,
    /// The original matrix, unpacked when it is first asked for.
    plain: Arc<OnceLock<Tensor>>,
}

impl Packed {
    /// # Errors
    /// For a tensor that is not a matrix of `f32` on the CPU.
    pub(super) fn of(tensor: &Tensor) -> Result<Self> {
        let (columns, depth) = tensor.dims2()?;
        let wide = Arch::new().dispatch(Wide);
        let panels = with(tensor, |rows| packed(rows, columns, depth, wide))?;
        Ok(Self { columns, depth, wide, panels: panels.into(), plain: Arc::default() })
    }

    pub(super) fn dims(&self) -> (usize, usize) {
        (self.columns, self.depth)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.panels[..])
    }

    /// The matrix, `[columns, depth]`. It is unpacked the first time, and then kept.
    pub(super) fn plain(&self) -> Result<&Tensor> {
        if let Some(plain) = self.plain.get() {
            return Ok(plain);
        }
        let of_panel = |column: usize| &self.panels[column / self.wide * self.wide * self.depth..];
        let rows = (0..self.columns).flat_map(|column| {
            of_panel(column)[column % self.wide..].iter().step_by(self.wide).take(self.depth).copied()
        });
        let plain = Tensor::from_vec(rows.collect(), (self.columns, self.depth), &Device::Cpu)?;
        Ok(self.plain.get_or_init(|| plain))
    }

    /// Multiplies rows of `x`, `[rows, depth]`, to `[rows, columns]`.
    pub(super) fn times(&self, x: &[f32]) -> Vec<f32> {
        let rows = x.len().checked_div(self.depth).unwrap_or(0);
        let mut out = vec![0.0; rows * self.columns];
        if out.is_empty() {
            return out;
        }
        let parts = if out.len() * self.depth < SPLIT { 1 } else { threads::for_a_product() };
        let panels = self.columns.div_ceil(self.wide).div_ceil(parts);
        let (share, size) = (panels * self.wide, panels * self.wide * self.depth);
        let mut pieces: Vec<Vec<&mut [f32]>> = Vec::new();
        pieces.resize_with(self.columns.div_ceil(share), || Vec::with_capacity(rows));
        for row in out.chunks_exact_mut(self.columns) {
            for (piece, part) in pieces.iter_mut().zip(row.chunks_mut(share)) {
                piece.push(part);
            }
        }
        let work = |(mut out, panels): (Vec<&mut [f32]>, &[f32])| {
            let product = Product { x, panels, depth: self.depth, wide: self.wide, out: &mut out };
            threads::flushing_subnormals(|| Arch::new().dispatch(product));
        };
        let pieces = pieces.into_iter().zip(self.panels.chunks(size));
        match parts {
            1 => pieces.for_each(work),
            _ => pieces.collect::<Vec<_>>().into_par_iter().for_each(work),
        }
        out
    }
}

fn packed(rows: &[f32], columns: usize, depth: usize, wide: usize) -> Vec<f32> {
    let mut panels = vec![0.0; columns.div_ceil(wide) * wide * depth];
    for (column, row) in rows.chunks_exact(depth.max(1)).enumerate() {
        let panel = &mut panels[column / wide * wide * depth..];
        for (place, value) in panel[column % wide..].iter_mut().step_by(wide).zip(row) {
            *place = *value;
        }
    }
    panels
}

impl CustomOp1 for Packed {
    fn name(&self) -> &'static str {
        "packed"
    }

    fn cpu_fwd(&self, states: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut shape = layout.dims().to_vec();
        match shape.last_mut() {
            Some(last) if *last == self.depth => *last = self.columns,
            _ => bail!("states {:?} meet weights of width {}", layout.dims(), self.depth),
        }
        Ok((CpuStorage::F32(self.times(values(states, layout)?)), Shape::from(shape)))
    }
}

/// How many columns a panel has on this processor.
struct Wide;

impl WithSimd for Wide {
    type Output = usize;

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        registers::<S>() * S::F32_LANES
    }
}

/// Registers that hold a row of a panel.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
fn registers<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 3 } else { 2 }
}

/// Some panels' columns of the result, computed on one thread.
struct Product<'a, 'o> {
    x: &'a [f32],
    panels: &'a [f32],
    depth: usize,
    wide: usize,
    /// The rows, each from the panels' first column to their last.
    out: &'a mut [&'o mut [f32]],
}

impl WithSimd for Product<'_, '_> {
    type Output = ();

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
    fn with_simd<S: Simd>(self, simd: S) {
        if registers::<S>() == 3 { self.run::<S, 3>(simd) } else { self.run::<S, 2>(simd) }
    }
}

impl Product<'_, '_> {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
    fn run<S: Simd, const V: usize>(self, simd: S) {
        for (number, panel) in self.panels.chunks_exact(self.wide * self.depth).enumerate() {
            let (panel, _) = S::as_simd_f32s(panel);
            let (mut x, mut out) = (self.x, &mut *self.out);
            while !out.is_empty() {
                let rows = match out.len() {
                    8.. if V == 3 => 8,
                    6.. => 6,
                    4.. => 4,
                    2.. => 2,
                    _ => 1,
                };
                let (own, others) = std::mem::take(&mut out).split_at_mut(rows);
                let of_rows = &x[..rows * self.depth];
                let first = number * self.wide;
                match rows {
                    8 => tile::<S, V, 8>(simd, of_rows, panel, own, first),
                    6 => tile::<S, V, 6>(simd, of_rows, panel, own, first),
                    4 => tile::<S, V, 4>(simd, of_rows, panel, own, first),
                    2 => tile::<S, V, 2>(simd, of_rows, panel, own, first),
                    _ => tile::<S, V, 1>(simd, of_rows, panel, own, first),
                }
                (x, out) = (&x[rows * self.depth..], others);
            }
        }
    }
}

/// Multiplies `R` rows by a panel, with their sums in registers.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it must be compiled with the caller's target features")]
#[allow(clippy::needless_range_loop, reason = "the loops over registers are unrolled")]
fn tile<S: Simd, const V: usize, const R: usize>(
    simd: S,
    x: &[f32],
    panel: &[S::f32s],
    out: &mut [&mut [f32]],
    first: usize,
) {
    let depth = panel.len() / V;
    // cut to one length, so that no place in them needs a check
    let x: [&[f32]; R] = std::array::from_fn(|row| &x[row * depth..][..depth]);
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    for (place, weights) in panel.chunks_exact(V).enumerate().take(depth) {
        for row in 0..R {
            let value = simd.splat_f32s(x[row][place]);
            for column in 0..V {
                sums[row][column] = simd.mul_add_e_f32s(value, weights[column], sums[row][column]);
            }
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        for (out, sums) in out[first..].chunks_mut(S::F32_LANES).zip(sums) {
            simd.partial_store_f32s(out, sums);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::DType;

    use super::*;

    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|place| ((place * 7919 + seed * 104_729) % 1013) as f32 / 1013.0 - 0.5).collect()
    }

    /// This holds whatever other rows there are, and on one thread or several.
    #[test]
    fn values_are_sums_term_after_term() {
        for (columns, depth) in [(1, 1), (7, 37), (48, 16), (50, 15), (97, 64), (700, 130)] {
            let weight = values(columns * depth, 2);
            let tensor = Tensor::from_slice(&weight, (columns, depth), &Device::Cpu).unwrap();
            let packed = Packed::of(&tensor).unwrap();
            assert_eq!(packed.plain().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(), weight);
            for rows in [0, 1, 2, 3, 5, 7, 8, 13, 40] {
                let x = values(rows * depth, 1);
                let out = packed.times(&x);
                assert_eq!(out.len(), rows * columns);
                for (place, found) in out.iter().enumerate() {
                    let (row, column) = (place / columns, place % columns);
                    let pairs = x[row * depth..][..depth].iter().zip(&weight[column * depth..][..depth]);
                    let sum: f64 = pairs.map(|(x, weight)| f64::from(x * weight)).sum();
                    assert!(
                        (f64::from(*found) - sum).abs() < 1e-4,
                        "{rows} {columns} {depth}: {found} {sum}"
                    );
                }
                for (x, row) in x.chunks_exact(depth).zip(out.chunks_exact(columns)) {
                    assert!(packed.times(x) == row, "{rows} {columns} {depth}");
                }
            }
        }
    }

    #[test]
    fn states_of_another_width_are_refused() {
        let packed = Packed::of(&Tensor::zeros((4, 8), DType::F32, &Device::Cpu).unwrap()).unwrap();
        let states = Tensor::zeros((2, 3, 8), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(states.apply_op1_no_bwd(&packed).unwrap().dims(), [2, 3, 4]);
        assert!(states.narrow(2, 0, 7).unwrap().contiguous().unwrap().apply_op1_no_bwd(&packed).is_err());
        assert!(Packed::of(&Tensor::zeros(4, DType::F32, &Device::Cpu).unwrap()).is_err());
    }
}
