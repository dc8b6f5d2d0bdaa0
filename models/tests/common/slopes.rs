//! How a model's answer changes when the embedding of one piece is moved in the weights' file itself.

use std::path::Path;

use candle_core::{Device, Tensor};
use ndarray::{Array2, ArrayView1};

/// The embeddings of all pieces, as tensor `name` of the safetensors `file`.
pub(crate) struct Embeddings<'a> {
    pub(crate) file: &'a Path,
    pub(crate) name: &'a str,
    pub(crate) table: Array2<f32>,
}

impl Embeddings<'_> {
    /// Returns the slope of `answer` along the gradient itself, by steps of `step` to both sides, and the gradient's
    /// length, which it should be.
    pub(crate) fn slope(
        &self,
        piece: u32,
        along: ArrayView1<'_, f32>,
        step: f32,
        answer: impl Fn() -> f64,
    ) -> (f64, f64) {
        let length = along.dot(&along).sqrt();
        let moved = |step: f32| {
            let mut table = self.table.clone();
            table.row_mut(piece as usize).scaled_add(step / length, &along);
            self.write(table);
            answer()
        };
        ((moved(step) - moved(-step)) / f64::from(2.0 * step), f64::from(length))
    }

    fn write(&self, table: Array2<f32>) {
        let mut weights = candle_core::safetensors::load(self.file, &Device::Cpu).unwrap();
        let shape = table.dim();
        let table = Tensor::from_vec(table.into_raw_vec_and_offset().0, shape, &Device::Cpu).unwrap();
        weights.insert(self.name.to_owned(), table);
        candle_core::safetensors::save(&weights, self.file).unwrap();
    }
}
