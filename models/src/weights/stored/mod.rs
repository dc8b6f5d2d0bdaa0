//! How weights are stored in `model.safetensors`: in 16 bits, or matrices in 8 bits with a scale for each block.

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::borrow::Cow;

use candle_core::{Device, Result, Tensor};
use half::f16;
use safetensors::{Dtype, View};

use crate::eight_bits::{BLOCK, in_steps, step};

/// How the weights of a trained model are stored. They are read in 32 bits either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stored {
    /// Half precision.
    #[default]
    F16,
    /// Matrices in 8 bits, with a scale in half precision for each 32 values of a row: little more than half
    /// the size. Tensors that are not matrices, and matrices whose rows are not a multiple of 32 long, are in
    /// half precision.
    Q8,
}

/// A tensor in the form of a file; `safetensors::serialize` takes it.
#[derive(Debug)]
pub struct StoredTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    /// Returns what a file stores for a tensor, by name.
    ///
    /// # Errors
    /// If the tensor cannot be read in 32 bits.
    pub fn parts(self, name: &str, tensor: &Tensor) -> Result<Vec<(String, StoredTensor)>> {
        let values = tensor.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?;
        let shape = tensor.dims();
        match *shape {
            [rows, columns] if self == Self::Q8 && columns.is_multiple_of(BLOCK) => {
                let scales: Vec<f16> = values.chunks(BLOCK).map(scale).collect();
                let blocks = values.chunks(BLOCK).zip(&scales);
                let bytes = blocks.flat_map(|(block, scale)| in_steps(block, scale.to_f32()));
                let bytes = bytes.map(|value| value as u8).collect();
                let matrix = StoredTensor { dtype: Dtype::I8, shape: shape.to_vec(), bytes };
                let scales = StoredTensor::half(vec![rows, columns / BLOCK], scales);
                Ok(vec![(name.to_owned(), matrix), (scales_of(name), scales)])
            }
            _ => {
                let values = values.into_iter().map(f16::from_f32);
                Ok(vec![(name.to_owned(), StoredTensor::half(shape.to_vec(), values))])
            }
        }
    }
}

/// The name of the scales of a matrix in 8 bits.
pub(super) fn scales_of(name: &str) -> String {
    format!("{name}{SCALES}")
}

/// The suffix of scales after the name of their matrix.
pub(super) const SCALES: &str = ".scales";

/// A matrix of this shape, from its bytes and its scales.
pub(super) fn widened(shape: &[usize], bytes: &[u8], scales: &Tensor) -> std::result::Result<Tensor, String> {
    let of = |scale: &f32, block: &[u8]| -> Vec<f32> {
        block.iter().map(|byte| scale * f32::from(byte.cast_signed())).collect()
    };
    match (shape, scales.dims()) {
        (&[rows, columns], &[lines, blocks])
            if lines == rows && columns.is_multiple_of(BLOCK) && blocks == columns / BLOCK =>
        {
            let scales = scales.flatten_all().and_then(|scales| scales.to_vec1::<f32>());
            let scales = scales.map_err(|error| error.to_string())?;
            let values: Vec<f32> =
                scales.iter().zip(bytes.chunks(BLOCK)).flat_map(|(scale, block)| of(scale, block)).collect();
            Tensor::from_vec(values, (rows, columns), &Device::Cpu).map_err(|error| error.to_string())
        }
        (&[_, columns], _) if columns.is_multiple_of(BLOCK) => Err(format!(
            "the values are {shape:?} and the scales {:?}; there is a scale for each {BLOCK} values of a row",
            scales.dims()
        )),
        _ => Err(format!("8 bits are for matrices whose rows are a multiple of {BLOCK} long, not {shape:?}")),
    }
}

/// The step of a block, rounded up, so that the largest value is within 127 of them. If values are not finite, the
/// step is not finite either, so that a reader of the file notices.
fn scale(block: &[f32]) -> f16 {
    if block.iter().any(|value| !value.is_finite()) {
        return f16::NAN;
    }
    let exact = step(block);
    let near = f16::from_f32(exact);
    if near.to_f32() < exact { f16::from_bits(near.to_bits() + 1) } else { near }
}

impl StoredTensor {
    fn half(shape: Vec<usize>, values: impl IntoIterator<Item = f16>) -> Self {
        let bytes = values.into_iter().flat_map(f16::to_le_bytes).collect();
        Self { dtype: Dtype::F16, shape, bytes }
    }
}

impl View for StoredTensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}
