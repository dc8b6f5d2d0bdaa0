//! The input of the first layer: the embeddings of a token, of its position, and of its kind.

use candle_core::{DType, Module, Result, Tensor};
use candle_nn::{Embedding, VarBuilder};

use super::config::{BertConfig, Family};
use crate::kernels::add;

#[derive(Debug, Clone)]
pub(super) struct Embeddings {
    pub(super) words: Embedding,
    positions: Tensor,
    /// What is added to every token of a text, `[width]`, in models with kinds of tokens.
    kind: Option<Tensor>,
    /// The padding token, if positions do not count it.
    padding: Option<u32>,
}

impl Embeddings {
    pub(super) fn load(vb: &VarBuilder<'_>, config: &BertConfig) -> Result<Self> {
        let width = config.hidden_size;
        let table = |name: &str, rows| vb.get((rows, width), &format!("{name}_embeddings.weight"));
        let kind = match config.family {
            Family::Bert | Family::Roberta => Some(table("token_type", config.type_vocab_size)?.get(0)?),
            Family::Mpnet | Family::DistilBert => None,
        };
        Ok(Self {
            words: Embedding::new(table("word", config.vocab_size)?, width),
            positions: table("position", config.max_position_embeddings)?,
            kind,
            padding: config.padding(),
        })
    }

    /// Embeddings `[batch, length, width]` of ids `[batch, length]`; `mask` is 0 where there is padding.
    pub(super) fn padded(&self, ids: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (batch, length) = ids.dims2()?;
        let tokens = self.of_words(ids)?;
        let Some(padding) = self.padding else {
            return add(&tokens, &self.positions.narrow(0, 0, length)?);
        };
        let mut rows = ids.to_vec2::<u32>()?;
        if let Some(mask) = mask {
            let masks = mask.to_dtype(DType::U32)?.to_vec2::<u32>()?;
            let all = rows.iter_mut().flatten().zip(masks.iter().flatten());
            all.filter(|(_, mask)| **mask == 0).for_each(|(id, _)| *id = padding);
        }
        let places: Vec<u32> = rows.iter().flat_map(|ids| counted(ids, padding)).collect();
        let places = Tensor::from_vec(places, batch * length, ids.device())?;
        add(&tokens, &self.positions.index_select(&places, 0)?.reshape(tokens.shape())?)
    }

    /// Embeddings `[tokens, width]` of concatenated texts with these `lengths`.
    pub(super) fn packed(&self, ids: &[u32], lengths: &[usize]) -> Result<Tensor> {
        let device = self.positions.device();
        let mut places = Vec::with_capacity(ids.len());
        let mut rest = ids;
        for &length in lengths {
            let (own, others) = rest.split_at(length);
            rest = others;
            match self.padding {
                Some(padding) => places.extend(counted(own, padding)),
                None => places.extend(0..length as u32),
            }
        }
        let places = self.positions.index_select(&Tensor::new(places, device)?, 0)?;
        add(&self.of_words(&Tensor::new(ids, device)?)?, &places)
    }

    fn of_words(&self, ids: &Tensor) -> Result<Tensor> {
        let words = self.words.forward(ids)?;
        match &self.kind {
            Some(kind) => add(&words, kind),
            None => Ok(words),
        }
    }
}

/// The rows of the tokens' positions: counted from after the padding's own row, which padding tokens get.
fn counted(ids: &[u32], padding: u32) -> impl Iterator<Item = u32> {
    ids.iter().scan(padding, move |last, &id| {
        *last += u32::from(id != padding);
        Some(if id == padding { padding } else { *last })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_inside_a_text_is_no_place() {
        assert_eq!(counted(&[0, 5, 1, 9, 1, 2], 1).collect::<Vec<_>>(), [2, 3, 1, 4, 1, 5]);
        assert_eq!(counted(&[7, 7], 0).collect::<Vec<_>>(), [1, 2]);
    }
}
