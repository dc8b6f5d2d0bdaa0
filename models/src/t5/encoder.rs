//! The encoder of a T5 alone, which sentence encoders such as Sentence-T5 and GTR are made of.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;

use super::blocks::{EPSILON, EncoderBlock, blocks, norm};
use super::position::{PositionBias, additive_mask, masked};
use super::tensors::{self, PREFIX};
use crate::Error;
use crate::kernels::{embedding, rms_norm};
use crate::location::Location;

/// A T5 encoder, run as Hugging Face's `T5EncoderModel`, with padding masked.
///
/// ```no_run
/// use candle_core::{Device, Tensor};
/// use embosk_models::t5::T5Encoder;
///
/// let encoder = T5Encoder::load("models/gtr-t5-base")?;
/// let ids = Tensor::new(&[[100u32, 1, 0]], &Device::Cpu)?;
/// let mask = Tensor::new(&[[1f32, 1.0, 0.0]], &Device::Cpu)?;
/// assert_eq!(encoder.states(&ids, &mask)?.dims(), [1, 3, encoder.width()]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct T5Encoder {
    pub(super) shared: Tensor,
    pub(super) blocks: Vec<EncoderBlock>,
    pub(super) norm: Tensor,
    pub(super) bias: PositionBias,
}

impl T5Encoder {
    /// Loads a folder with `config.json` and weights. A decoder in the same files is not read.
    ///
    /// # Errors
    /// [`Error::File`] if a file is missing, damaged, not a T5's, or contradicts `config.json`.
    pub fn load(dir: impl Into<Location>) -> std::result::Result<Self, Error> {
        Self::load_on(dir, &Device::Cpu)
    }

    /// Loads a folder as [`load`](Self::load) does, to run on a device.
    ///
    /// # Errors
    /// As [`load`](Self::load), and if the device cannot hold it.
    pub fn load_on(dir: impl Into<Location>, device: &Device) -> std::result::Result<Self, Error> {
        let (file, tensors) = tensors::encoder(&dir.into())?;
        let vb = VarBuilder::from_tensors(tensors, DType::F32, device);
        Self::from_tensors(&vb.pp(PREFIX.trim_end_matches('.')))
            .and_then(Self::packed)
            .map_err(|error| Error::file(file, format!("the tensors are not those of a T5 encoder: {error}")))
    }

    /// Reads the encoder under the prefix of `vb`.
    ///
    /// # Errors
    /// If a tensor is missing, or the shapes do not match.
    pub fn from_tensors(vb: &VarBuilder<'_>) -> Result<Self> {
        let (shared, encoder) = (vb.get_unchecked("shared.weight")?, vb.pp("encoder"));
        let table = encoder.get_unchecked("block.0.layer.0.SelfAttention.relative_attention_bias.weight")?;
        let (heads, width) = (table.dim(1)?, shared.dim(1)?);
        if heads == 0 || width == 0 {
            candle_core::bail!("there are no heads, or states of no width");
        }
        let blocks = blocks(&encoder);
        Ok(Self {
            blocks: blocks.iter().map(|vb| EncoderBlock::load(vb, heads, width)).collect::<Result<_>>()?,
            norm: norm(&encoder, "final_layer_norm", width)?,
            bias: PositionBias::new(table, true)?,
            shared,
        })
    }

    /// Packs the weights on the CPU, for use but not for training.
    fn packed(mut self) -> Result<Self> {
        for weight in self.blocks.iter_mut().flat_map(EncoderBlock::weights) {
            *weight = weight.clone().packed()?;
        }
        Ok(self)
    }

    /// Returns the width of the states.
    pub fn width(&self) -> usize {
        self.shared.dims().get(1).copied().unwrap_or(0)
    }

    /// Returns how many tokens have a vector.
    pub fn vocabulary(&self) -> usize {
        self.shared.dims().first().copied().unwrap_or(0)
    }

    /// Returns the states `[batch, length, width]` of token ids `[batch, length]`. `mask` has the same shape, in
    /// `f32`: 1 where there is a token and 0 where there is padding.
    ///
    /// # Errors
    /// For an unknown token id, and for shapes that differ.
    pub fn states(&self, ids: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (batch, length) = ids.dims2()?;
        let bias = masked(&self.bias.forward(0..length, length)?, &additive_mask(mask)?)?;
        let tokens = embedding(&self.shared, &ids.flatten_all()?)?;
        let mut states = tokens.reshape((batch, length, ()))?;
        for block in &self.blocks {
            states = block.forward(&states, &bias)?;
        }
        rms_norm(&states, &self.norm, EPSILON)
    }
}
