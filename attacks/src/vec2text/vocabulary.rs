//! The attack's own word pieces, and the way from texts to tokens and back.

use tokenizers::decoders::wordpiece::WordPiece as Decoder;
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainer};
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{AddedToken, Model, ModelWrapper, Tokenizer, TokenizerBuilder, TokenizerImpl};
use tokenizers::{NormalizerWrapper, PostProcessorWrapper};

use super::t5::{EOS, PAD};
use crate::{BoxError, Error};

/// Trains word pieces on normalized texts. Words are split at white space alone, so that a text
/// comes back exactly as it was, up to the width of its gaps.
pub(crate) fn train(texts: &[String], size: usize) -> Result<Tokenizer, BoxError> {
    type Untrained =
        TokenizerImpl<WordPiece, NormalizerWrapper, WhitespaceSplit, PostProcessorWrapper, Decoder>;
    let special = |text: &str| AddedToken::from(text, true);
    let mut trainer = WordPieceTrainer::builder()
        .vocab_size(size)
        .show_progress(false)
        .special_tokens(vec![special("<pad>"), special("</s>"), special("[UNK]")])
        .build();
    let mut tokenizer: Untrained = TokenizerBuilder::new()
        .with_model(WordPiece::default())
        .with_normalizer(None)
        .with_pre_tokenizer(Some(WhitespaceSplit))
        .with_post_processor(None)
        .with_decoder(Some(Decoder::new("##".into(), false)))
        .build()?;
    tokenizer.train(&mut trainer, texts.iter().map(String::as_str))?;
    debug_assert_eq!(tokenizer.get_model().token_to_id("</s>"), Some(EOS));
    Tokenizer::from_bytes(tokenizer.to_string(false)?)
}

/// Token ids of a text, cut to `max_length` with the end token at the end.
pub(crate) fn encode(tokenizer: &Tokenizer, text: &str, max_length: usize) -> Result<Vec<u32>, Error> {
    let encoding = tokenizer.encode_fast(text, true).map_err(Error::Model)?;
    let mut ids = encoding.get_ids().to_vec();
    if ids.last() == Some(&EOS) {
        ids.pop();
    }
    ids.truncate(max_length.saturating_sub(1));
    ids.push(EOS);
    Ok(ids)
}

/// The text of token ids, up to the first end token.
pub(crate) fn decode(tokenizer: &Tokenizer, ids: &[u32]) -> Result<String, Error> {
    let end = ids.iter().position(|&id| id == EOS).unwrap_or(ids.len());
    let ids: Vec<u32> = ids[..end].iter().copied().filter(|&id| id != PAD).collect();
    tokenizer.decode(&ids, true).map_err(Error::Model)
}

/// How many tokens the vocabulary holds.
pub(crate) fn size(tokenizer: &Tokenizer) -> usize {
    let model: &ModelWrapper = tokenizer.get_model();
    model.get_vocab_size().max(tokenizer.get_vocab_size(true))
}
