//! The encoder-decoder.

use candle_core::{Device, Result, Tensor, bail};
use candle_nn::VarBuilder;

use super::blocks::{DecoderBlock, EPSILON, EncoderBlock, blocks, norm};
use super::position::{PositionBias, additive_mask, causal, masked};
use crate::kernels::{add, embedding, rms_norm};
use crate::linear::{Precision, Weight};

/// An encoder-decoder.
#[derive(Debug, Clone)]
pub struct T5 {
    pub(super) shared: Tensor,
    encoder: Vec<EncoderBlock>,
    encoder_norm: Tensor,
    encoder_bias: PositionBias,
    pub(super) decoder: Vec<DecoderBlock>,
    pub(super) decoder_norm: Tensor,
    pub(super) decoder_bias: PositionBias,
    pub(super) head: Head,
}

impl T5 {
    /// Reads the model under the prefix of `vb`; the number of heads comes from the table of position biases.
    ///
    /// # Errors
    /// If a tensor is missing, or the shapes do not match.
    pub fn load(vb: &VarBuilder<'_>) -> Result<Self> {
        let shared = vb.get_unchecked("shared.weight")?;
        let bias = "block.0.layer.0.SelfAttention.relative_attention_bias.weight";
        let (encoder, decoder) = (vb.pp("encoder"), vb.pp("decoder"));
        let encoder_bias = PositionBias::new(encoder.get_unchecked(bias)?, true)?;
        let decoder_bias = PositionBias::new(decoder.get_unchecked(bias)?, false)?;
        let (heads, width) = (encoder_bias.table.dim(1)?, shared.dim(1)?);
        if heads == 0 || width == 0 || decoder_bias.table.dim(1)? != heads {
            bail!("the position biases are of no heads, or of different numbers of heads");
        }
        let head = if vb.contains_tensor("lm_head.weight") {
            let weight = Weight::load(vb, "lm_head.weight")?;
            if weight.dims()? != shared.dims2()? {
                bail!("the head has another shape than the token embedding");
            }
            Head::Own(weight)
        } else {
            Head::Tied { scale: (width as f64).powf(-0.5), weight: Weight::Full(shared.clone()) }
        };
        Ok(Self {
            encoder: blocks(&encoder)
                .iter()
                .map(|vb| EncoderBlock::load(vb, heads, width))
                .collect::<Result<_>>()?,
            encoder_norm: norm(&encoder, "final_layer_norm", width)?,
            decoder: blocks(&decoder)
                .iter()
                .map(|vb| DecoderBlock::load(vb, heads, width))
                .collect::<Result<_>>()?,
            decoder_norm: norm(&decoder, "final_layer_norm", width)?,
            shared,
            encoder_bias,
            decoder_bias,
            head,
        })
    }

    /// Holds the weights of its matrix products in fewer bits, for use but not for training.
    ///
    /// # Errors
    /// If a weight is not a matrix.
    pub fn narrowed(self, precision: Precision) -> Result<Self> {
        self.with_weights(|weight| weight.narrowed(precision))
    }

    /// Packs the weights of its matrix products on the CPU, for use but not for training. A head that is the token
    /// embedding is then stored separately from it.
    ///
    /// # Errors
    /// If a weight is not a matrix.
    pub fn packed(self) -> Result<Self> {
        self.with_weights(Weight::packed)
    }

    fn with_weights(mut self, change: impl Fn(Weight) -> Result<Weight>) -> Result<Self> {
        let blocks = self.encoder.iter_mut().flat_map(EncoderBlock::weights);
        let blocks = blocks.chain(self.decoder.iter_mut().flat_map(DecoderBlock::weights));
        for weight in blocks.chain([self.head.weight_mut()]) {
            *weight = change(weight.clone())?;
        }
        Ok(self)
    }

    /// Returns the device that its weights are on.
    pub fn device(&self) -> &Device {
        self.shared.device()
    }

    /// Returns the width of its states.
    ///
    /// # Errors
    /// If the token embedding is not a matrix.
    pub fn width(&self) -> Result<usize> {
        self.shared.dim(1)
    }

    /// Returns the most values that are held for an input of `positions` encoder positions, while it is encoded and
    /// then decoded with `beams` beams of `tokens` tokens.
    pub fn values_per_input(&self, positions: usize, beams: usize, tokens: usize) -> usize {
        let of = |weight: &Tensor| weight.dims().first().copied().unwrap_or(0);
        let (vocabulary, width) = (of(&self.shared), of(&self.encoder_norm));
        let inner = self.decoder.iter().map(|block| block.attention.inner()).max().unwrap_or(0);
        let wide =
            self.encoder.iter().map(|block| 2 * of(&block.feed_forward.norm).max(block.feed_forward.inner()));
        let heads = self.encoder_bias.table.dims().last().copied().unwrap_or(0);
        let encoding =
            positions * (4 * width + 8 * inner + wide.max().unwrap_or(0)) + 4 * heads * positions * positions;
        let kept = 2 * self.decoder.len() * inner * (positions + beams * tokens) + positions * width;
        let deciding = beams * (2 * vocabulary + 8 * width + 4 * inner);
        encoding.max(kept + deciding)
    }

    /// Returns the most values that are held while the logits of `positions` positions of an input are ranked.
    pub fn values_of_logits(&self, positions: usize) -> usize {
        4 * positions * self.shared.dims().first().copied().unwrap_or(0)
    }

    /// Returns whether the decoder's weights exceed a processor's caches, so that batches on several threads would
    /// each read them from memory.
    pub fn is_large(&self) -> bool {
        let of_block =
            |block: &DecoderBlock| 8 * block.attention.q.bytes() + 2 * block.feed_forward.wo.bytes();
        self.head.weight().bytes() + self.decoder.iter().map(of_block).sum::<usize>() > 32 << 20
    }

    /// Looks up token ids `[batch, length]`: `[batch, length, width]`.
    ///
    /// # Errors
    /// For an unknown token id.
    pub fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        let (batch, length) = ids.dims2()?;
        embedding(&self.shared, &ids.flatten_all()?)?.reshape((batch, length, ()))
    }

    /// Encodes input vectors `[batch, length, width]` to states of the same shape. `mask` is
    /// `[batch, length]`, 1 where there is input and 0 where there is padding.
    ///
    /// # Errors
    /// For shapes that do not fit.
    pub fn encode(&self, inputs: &Tensor, mask: Option<&Tensor>) -> Result<Memory> {
        let length = inputs.dim(1)?;
        let mut bias = self.encoder_bias.forward(0..length, length)?;
        if let Some(mask) = mask {
            bias = masked(&bias, &additive_mask(mask)?)?;
        }
        let mut states = inputs.clone();
        for block in &self.encoder {
            states = block.forward(&states, &bias)?;
        }
        let states = rms_norm(&states, &self.encoder_norm, EPSILON)?;
        Ok(Memory { states, mask: mask.cloned() })
    }

    /// Returns logits `[batch, length, vocabulary]` at every position of `ids` (`[batch, length]`), which
    /// begin with the start token: teacher forcing.
    ///
    /// # Errors
    /// For an unknown token id, and shapes that do not fit.
    pub fn decode(&self, ids: &Tensor, memory: &Memory) -> Result<Tensor> {
        self.logits(&self.decoder_states(ids, memory)?)
    }

    /// Returns logits `[batch, vocabulary]` of the token after `ids`.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_next(&self, ids: &Tensor, memory: &Memory) -> Result<Tensor> {
        let states = self.decoder_states(ids, memory)?;
        self.logits(&states.narrow(1, ids.dim(1)? - 1, 1)?.contiguous()?)?.squeeze(1)
    }

    fn decoder_states(&self, ids: &Tensor, memory: &Memory) -> Result<Tensor> {
        let length = ids.dim(1)?;
        let bias = self.decoder_bias.forward(0..length, length)?;
        let bias = add(&bias, &causal(length, ids.device())?)?;
        let mask = memory.mask.as_ref().map(additive_mask).transpose()?;
        let mut states = self.embed(ids)?;
        // once for all layers, where a GPU would go through the rows again for each of them
        let spread = |mask: Tensor| -> Result<Tensor> {
            if mask.device().is_cpu() {
                return Ok(mask);
            }
            let shape = (ids.dim(0)?, self.decoder_bias.table.dim(1)?, length, mask.dim(3)?);
            mask.broadcast_as(shape)?.contiguous()
        };
        let (bias, mask) = (spread(bias)?, mask.map(spread).transpose()?);
        for block in &self.decoder {
            states = block.forward(&states, &bias, &memory.states, mask.as_ref())?;
        }
        Ok(states)
    }

    fn logits(&self, states: &Tensor) -> Result<Tensor> {
        let states = rms_norm(states, &self.decoder_norm, EPSILON)?;
        match &self.head {
            Head::Own(weight) => weight.forward(&states),
            Head::Tied { scale, weight } => weight.forward(&(states * *scale)?),
        }
    }
}

/// What the decoder reads: the encoder's states `[batch, length, width]`, and where there is padding.
#[derive(Debug, Clone)]
pub struct Memory {
    /// `[batch, length, width]`.
    pub states: Tensor,
    pub(super) mask: Option<Tensor>,
}

impl Memory {
    /// Keeps only these rows.
    ///
    /// # Errors
    /// For a row that does not exist.
    pub fn select(&self, rows: &Tensor) -> Result<Self> {
        let mask = self.mask.as_ref().map(|mask| mask.index_select(rows, 0)).transpose()?;
        Ok(Self { states: self.states.index_select(rows, 0)?, mask })
    }
}

#[derive(Debug, Clone)]
pub(super) enum Head {
    /// The token embedding, with states scaled down.
    Tied {
        scale: f64,
        weight: Weight,
    },
    Own(Weight),
}

impl Head {
    fn weight(&self) -> &Weight {
        let (Self::Tied { weight, .. } | Self::Own(weight)) = self;
        weight
    }

    fn weight_mut(&mut self) -> &mut Weight {
        let (Self::Tied { weight, .. } | Self::Own(weight)) = self;
        weight
    }
}
