//! The attack's own word pieces, and conversion between texts and tokens.

mod uncased;

use std::collections::BTreeSet;

use embosk_models::t5::{EOS, PAD};
use tokenizers::decoders::wordpiece::WordPiece as Decoder;
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainer};
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{
    AddedToken, Model, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, Tokenizer, TokenizerBuilder,
    TokenizerImpl, Trainer,
};

pub(crate) use self::uncased::uncased;
use crate::{BoxError, Error};

/// The prefix of pieces that continue a word.
const CONTINUES: &str = "##";
/// The prefix of SentencePiece pieces that begin a word.
const BEGINS: &str = "\u{2581}";

/// Trains word pieces on normalized texts: the same pieces for the same texts. Words are split only at white space,
/// so that a text is restored exactly, up to the width of its gaps.
pub(crate) fn train(texts: &[String], size: usize) -> Result<Tokenizer, BoxError> {
    type Assembled =
        TokenizerImpl<WordPiece, NormalizerWrapper, WhitespaceSplit, PostProcessorWrapper, Decoder>;
    let specials = specials();
    // The trainer would number letters within words in the order of a hash map, and number decides
    // between pieces that are equally frequent. What it takes for special tokens is numbered first.
    let letters: BTreeSet<char> =
        texts.iter().flat_map(|text| text.chars()).filter(|letter| !letter.is_whitespace()).collect();
    let within_words = letters.into_iter().map(|letter| special(&format!("{CONTINUES}{letter}")));
    let mut trainer = WordPieceTrainer::builder()
        .vocab_size(size)
        .show_progress(false)
        .special_tokens(specials.iter().cloned().chain(within_words).collect())
        .build();
    trainer.feed(texts.iter(), |text| Ok(text.split_whitespace().map(String::from).collect()))?;
    let mut model = WordPiece::default();
    trainer.train(&mut model)?;
    let mut tokenizer: Assembled = TokenizerBuilder::new()
        .with_model(model)
        .with_normalizer(None)
        .with_pre_tokenizer(Some(WhitespaceSplit))
        .with_post_processor(None)
        .with_decoder(Some(Decoder::new(CONTINUES.into(), false)))
        .build()?;
    tokenizer.add_special_tokens(specials)?;
    Tokenizer::from_bytes(tokenizer.to_string(false)?)
}

/// The tokens that every vocabulary begins with, in the order of their numbers.
fn specials() -> Vec<AddedToken> {
    ["<pad>", "</s>", "[UNK]"].map(special).to_vec()
}

fn special(text: &str) -> AddedToken {
    AddedToken::from(text, true)
}

/// Which tokens continue a word: those that begin with `##`, or those without a mark if word beginnings are marked as
/// in SentencePiece.
pub(crate) fn continuing(tokenizer: &Tokenizer) -> Vec<bool> {
    let pieces: Vec<String> = (0..).map_while(|id| tokenizer.id_to_token(id)).collect();
    let marked = pieces.iter().any(|piece| piece.len() > BEGINS.len() && piece.starts_with(BEGINS));
    let special = tokenizer.get_added_tokens_decoder();
    let continues = |(id, piece): (u32, &String)| {
        let begins = if marked { piece.starts_with(BEGINS) } else { !piece.starts_with(CONTINUES) };
        !begins && !special.contains_key(&id)
    };
    (0..).zip(&pieces).map(continues).collect()
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

/// The token for text that no word piece spells.
pub(crate) fn unknown(tokenizer: &Tokenizer) -> Option<u32> {
    ["[UNK]", "<unk>"].iter().find_map(|piece| tokenizer.token_to_id(piece))
}

/// How many tokens the vocabulary holds.
pub(crate) fn size(tokenizer: &Tokenizer) -> usize {
    let model: &ModelWrapper = tokenizer.get_model();
    model.get_vocab_size().max(tokenizer.get_vocab_size(true))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn texts() -> Vec<String> {
        let words = ["Müller", "42.50", "#7", "pays", "rent", "pays,", "東京"];
        (0..200).map(|n| format!("{} {} n{n}", words[n % 7], words[n * n % 5])).collect()
    }

    #[test]
    fn equal_texts_give_an_equal_vocabulary() {
        let train = || train(&texts(), 150).unwrap().to_string(false).unwrap();
        let first = train();
        for _ in 0..4 {
            assert!(train() == first);
        }
    }

    #[test]
    fn texts_come_back() {
        let tokenizer = train(&texts(), 150).unwrap();
        assert_eq!(tokenizer.token_to_id("</s>"), Some(EOS));
        for text in &texts() {
            let ids = encode(&tokenizer, text, 48).unwrap();
            assert_eq!(ids.last(), Some(&EOS));
            assert_eq!(&decode(&tokenizer, &ids).unwrap(), text);
        }
        assert_eq!(encode(&tokenizer, "pays rent pays rent", 3).unwrap().len(), 3);
    }
}
