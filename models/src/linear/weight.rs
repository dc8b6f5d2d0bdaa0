//! Weight matrices as they are held in memory: in 32 bits, in 16, or in 8.
//!
//! Decoding a few rows at a time reads all weights for them, so it takes as long as the reading. Smaller weights are
//! widened a few rows at a time, in a core's first cache, and multiplied in 32 bits. The states lose nothing, and any
//! processor can do it.

use std::str::FromStr;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Storage, Tensor, bail};
use candle_nn::VarBuilder;
use half::bf16;

use super::by_rows::{Rows, by_rows, linear};
use super::packed::Packed;
use crate::Error;
use crate::eight_bits::{BLOCK, in_steps, step};
use crate::kernels::{matmul, on_cpu, values};

/// How the weights of a model's matrix products are held; embeddings, norms and position biases stay in
/// 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits, as in training.
    #[default]
    F32,
    /// bfloat16: half the memory, 8 significant bits.
    Bf16,
    /// 8 bits, with a scale for every 32 values: little more than a quarter of the memory.
    Q8,
}

impl FromStr for Precision {
    type Err = Error;

    /// Reads `f32`, `bf16` or `q8`.
    fn from_str(text: &str) -> std::result::Result<Self, Error> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "q8" => Ok(Self::Q8),
            _ => Err(Error::Setting("weights are held in f32, bf16 or q8".into())),
        }
    }
}

/// A matrix `[columns, depth]` that states are multiplied by.
#[derive(Debug, Clone)]
pub enum Weight {
    /// In f32, on any device, with a gradient if it is a variable.
    Full(Tensor),
    /// In f32, on the CPU, in the order in which products read it: for use but not for training.
    Packed(Packed),
    /// In fewer bits.
    Narrow(Narrow),
}

/// A matrix in fewer bits, on the CPU, for use but not for training.
#[derive(Debug, Clone)]
pub struct Narrow {
    columns: usize,
    depth: usize,
    values: NarrowValues,
}

#[derive(Debug, Clone)]
enum NarrowValues {
    Bf16(Vec<bf16>),
    Q8 { values: Vec<i8>, scales: Vec<f32> },
}

impl Weight {
    /// Takes the tensor with this name, whatever its shape.
    ///
    /// # Errors
    /// If there is none.
    pub fn load(vb: &VarBuilder<'_>, name: &str) -> Result<Self> {
        Ok(Self::Full(vb.get_unchecked(name)?))
    }

    /// Returns its shape, `[columns, depth]`.
    ///
    /// # Errors
    /// If it is not a matrix.
    pub fn dims(&self) -> Result<(usize, usize)> {
        match self {
            Self::Full(tensor) => tensor.dims2(),
            Self::Packed(packed) => Ok(packed.dims()),
            Self::Narrow(narrow) => Ok((narrow.columns, narrow.depth)),
        }
    }

    /// Returns how many bytes it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Full(tensor) => tensor.elem_count() * tensor.dtype().size_in_bytes(),
            Self::Packed(packed) => packed.bytes(),
            Self::Narrow(Narrow { values: NarrowValues::Bf16(values), .. }) => size_of_val(&values[..]),
            Self::Narrow(Narrow { values: NarrowValues::Q8 { values, scales }, .. }) => {
                values.len() + size_of_val(&scales[..])
            }
        }
    }

    /// Packs weights on the CPU for products, which then take about half the time. Others stay as they are.
    ///
    /// # Errors
    /// If it is not a matrix.
    pub fn packed(self) -> Result<Self> {
        match self {
            Self::Full(tensor) if on_cpu(&tensor) => Packed::of(&tensor).map(Self::Packed),
            it => Ok(it),
        }
    }

    /// Holds the weights in fewer bits; weights that already have fewer stay the same.
    ///
    /// # Errors
    /// If it is not a matrix.
    pub fn narrowed(self, precision: Precision) -> Result<Self> {
        let plain = match &self {
            Self::Packed(packed) if precision != Precision::F32 => Self::Full(packed.plain()?.clone()),
            _ => self,
        };
        match (plain, precision) {
            (Self::Full(tensor), Precision::Bf16 | Precision::Q8) => {
                let (columns, depth) = tensor.dims2()?;
                let full = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
                let values = match precision {
                    Precision::Q8 => in_eight_bits(&full, depth),
                    _ => NarrowValues::Bf16(full.into_iter().map(bf16::from_f32).collect()),
                };
                Ok(Self::Narrow(Narrow { columns, depth, values }))
            }
            (it, _) => Ok(it),
        }
    }

    /// Computes `states · weightᵀ` over the last dimension.
    ///
    /// # Errors
    /// For states of another width.
    pub fn forward(&self, states: &Tensor) -> Result<Tensor> {
        match self {
            Self::Full(tensor) => linear(states, tensor),
            Self::Packed(packed) => states.contiguous()?.apply_op1_no_bwd(packed),
            Self::Narrow(narrow) => states.contiguous()?.apply_op1_no_bwd(narrow),
        }
    }

    /// Turns the gradient with respect to what [`forward`](Self::forward) returned, `[rows, columns]`, into that with
    /// respect to the states, `[rows, depth]`.
    ///
    /// # Errors
    /// For weights in fewer bits, and a gradient of another width.
    pub fn gradient(&self, grad: &Tensor) -> Result<Tensor> {
        match self {
            Self::Full(tensor) => matmul(grad, tensor),
            Self::Packed(packed) => matmul(grad, packed.plain()?),
            Self::Narrow(_) => bail!("weights in fewer bits than 32 have no gradient"),
        }
    }

    /// Does to plain values, `[rows, depth]` to `[rows, columns]`, what [`forward`](Self::forward) does to a tensor.
    ///
    /// # Errors
    /// For a weight that is not on the CPU, and for states of another width.
    pub fn forward_values(&self, states: &[f32]) -> Result<Vec<f32>> {
        let (_, depth) = self.dims()?;
        if depth == 0 || !states.len().is_multiple_of(depth) {
            bail!("{} values of states meet weights of width {depth}", states.len());
        }
        match self {
            Self::Full(tensor) => {
                let (storage, layout) = tensor.storage_and_layout();
                let Storage::Cpu(storage) = &*storage else { bail!("texts are decoded on the CPU") };
                Ok(by_rows(states, Rows::F32(values(storage, layout)?), depth))
            }
            Self::Packed(packed) => Ok(packed.times(states)),
            Self::Narrow(narrow) => Ok(by_rows(states, narrow.rows(), depth)),
        }
    }
}

impl Narrow {
    fn rows(&self) -> Rows<'_> {
        match &self.values {
            NarrowValues::Bf16(values) => Rows::Bf16(values),
            NarrowValues::Q8 { values, scales } => Rows::Q8 { values, scales },
        }
    }
}

impl CustomOp1 for Narrow {
    fn name(&self) -> &'static str {
        "narrow"
    }

    fn cpu_fwd(&self, states: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut shape = layout.dims().to_vec();
        match shape.last_mut() {
            Some(last) if *last == self.depth => *last = self.columns,
            _ => bail!("states {:?} meet weights of width {}", layout.dims(), self.depth),
        }
        let out = by_rows(values(states, layout)?, self.rows(), self.depth);
        Ok((CpuStorage::F32(out), Shape::from(shape)))
    }
}

/// Each block of a row, in steps of 1/127 of its largest value.
fn in_eight_bits(full: &[f32], depth: usize) -> NarrowValues {
    let (mut values, mut scales) = (Vec::with_capacity(full.len()), Vec::new());
    for block in full.chunks(depth.max(1)).flat_map(|row| row.chunks(BLOCK)) {
        let scale = step(block);
        values.extend(in_steps(block, scale));
        scales.push(scale);
    }
    NarrowValues::Q8 { values, scales }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Products of narrow weights are those of the same weights, widened.
    #[test]
    fn narrow_weights_are_near_and_multiply_as_what_they_are() {
        for (columns, depth) in [(1, 1), (7, 31), (5, 32), (18, 70), (600, 96)] {
            let full: Vec<f32> = (0..columns * depth).map(|at| (at as f32 * 1.7).sin()).collect();
            let full = Tensor::from_vec(full, (columns, depth), &Device::Cpu).unwrap();
            let states: Vec<f32> = (0..9 * depth).map(|at| (at as f32 * 0.3).cos()).collect();
            let states = Tensor::from_vec(states, (3, 3, depth), &Device::Cpu).unwrap();
            let exact = Weight::Full(full.clone()).forward(&states).unwrap();
            for (precision, step) in [(Precision::Bf16, 1.0 / 256.0), (Precision::Q8, 0.5 / 127.0)] {
                let narrow = Weight::Full(full.clone()).narrowed(precision).unwrap();
                let found = narrow.forward(&states).unwrap();
                assert_eq!(found.dims(), [3, 3, columns]);
                let far = (&found - &exact).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
                // no value of a row is off by more than a step, so no sum by more than all of them
                assert!(far.to_scalar::<f32>().unwrap() <= step * depth as f32 + 1e-5, "{precision:?}");
                let plain = states.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let again = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(narrow.forward_values(&plain).unwrap(), again, "{precision:?} {columns} {depth}");
                let identity = Tensor::eye(depth, DType::F32, &Device::Cpu).unwrap();
                let widened = narrow.forward(&identity).unwrap().t().unwrap().contiguous().unwrap();
                let of_widened = Weight::Full(widened).forward(&states).unwrap();
                let far =
                    (&found - &of_widened).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
                assert!(far.to_scalar::<f32>().unwrap() < 1e-4, "{precision:?} {columns} {depth}");
            }
            assert!(
                Weight::Full(full.clone()).narrowed(Precision::F32).unwrap().bytes() == 4 * columns * depth
            );
        }
        let wide = Tensor::zeros((4, 64), DType::F32, &Device::Cpu).unwrap();
        let bytes = |precision| Weight::Full(wide.clone()).narrowed(precision).unwrap().bytes();
        assert_eq!([Precision::F32, Precision::Bf16, Precision::Q8].map(bytes), [1024, 512, 288]);
    }

    #[test]
    fn states_of_another_width_are_refused() {
        let weight = Weight::Full(Tensor::zeros((4, 8), DType::F32, &Device::Cpu).unwrap());
        let weight = weight.narrowed(Precision::Q8).unwrap();
        assert!(weight.forward(&Tensor::zeros((2, 7), DType::F32, &Device::Cpu).unwrap()).is_err());
    }
}
