//! Word pieces of an embedder, for texts without case and accents, like BERT's.

use std::collections::{BTreeSet, HashMap};

use embosk_models::t5::EOS;
use embosk_models::threads::in_parallel;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer,
    TokenizerBuilder, TokenizerImpl,
};

use super::{CONTINUES, Decoder, special, specials};
use crate::BoxError;

/// The most texts that word pieces are learned from: more of the same kind change little.
const TEXTS: usize = 200_000;
/// How many texts a thread counts the words of at a time.
const CHUNK: usize = 1024;
/// At most one in this many word pieces may be a letter, so that rare letters of other scripts do not fill the
/// vocabulary.
const LETTERS: usize = 8;

/// Trains word pieces on texts, or on an evenly spaced part of many texts: the same pieces for the same texts. Texts
/// end in the end token.
pub(crate) fn uncased(texts: &[String], size: usize) -> Result<Tokenizer, BoxError> {
    type Assembled = TokenizerImpl<WordPiece, BertNormalizer, BertPreTokenizer, TemplateProcessing, Decoder>;
    let specials = specials();
    let mut words = count(texts)?;
    let letters = commonest_letters(&words, size / LETTERS);
    words.retain(|word, _| word.chars().all(|letter| letters.contains(&letter)));
    // as in `train`, so that pieces are numbered in an order that the texts give
    let within: BTreeSet<char> = words.keys().flat_map(|word| word.chars().skip(1)).collect();
    let within = within.into_iter().map(|letter| special(&format!("{CONTINUES}{letter}")));
    let trainer = BpeTrainer::builder()
        .vocab_size(size)
        .show_progress(false)
        .continuing_subword_prefix(CONTINUES.into())
        .special_tokens(specials.iter().cloned().chain(within).collect())
        .build();
    let mut pairs = BPE::default();
    let words = words.into_iter().map(|(word, count)| (word.into(), count)).collect();
    trainer.do_train(&words, &mut pairs)?;
    let ends = TemplateProcessing::builder()
        .try_single("$A </s>")?
        .try_pair("$A </s> $B:1 </s>:1")?
        .special_tokens(vec![("</s>", EOS)])
        .build()?;
    let mut tokenizer: Assembled = TokenizerBuilder::new()
        .with_model(WordPiece::from_bpe(&pairs))
        .with_normalizer(Some(BertNormalizer::default()))
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(ends))
        .with_decoder(Some(Decoder::new(CONTINUES.into(), true)))
        .build()?;
    tokenizer.add_special_tokens(specials)?;
    Tokenizer::from_bytes(tokenizer.to_string(false)?)
}

/// How often words occur.
fn count(texts: &[String]) -> Result<HashMap<String, u64>, BoxError> {
    let texts: Vec<&String> = texts.iter().step_by(texts.len().div_ceil(TEXTS).max(1)).collect();
    let parts: Vec<&[&String]> = texts.chunks(CHUNK).collect();
    let counts = in_parallel(&parts, |texts| {
        let mut counts = HashMap::new();
        for text in *texts {
            for word in words(text)? {
                *counts.entry(word).or_insert(0u64) += 1;
            }
        }
        Ok::<_, BoxError>(counts)
    })?;
    let mut sum = HashMap::new();
    for (word, count) in counts.into_iter().flatten() {
        *sum.entry(word).or_insert(0) += count;
    }
    Ok(sum)
}

fn words(text: &str) -> Result<Vec<String>, BoxError> {
    let mut normalized = NormalizedString::from(text);
    BertNormalizer::default().normalize(&mut normalized)?;
    let mut split = PreTokenizedString::from(normalized);
    BertPreTokenizer.pre_tokenize(&mut split)?;
    let words = split.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
    Ok(words.into_iter().map(|(word, _, _)| word.to_owned()).collect())
}

/// The letters that occur most often, and of equals those that come first in Unicode.
fn commonest_letters(words: &HashMap<String, u64>, count: usize) -> BTreeSet<char> {
    let mut counts: HashMap<char, u64> = HashMap::new();
    for (word, count) in words {
        for letter in word.chars() {
            *counts.entry(letter).or_insert(0) += count;
        }
    }
    let mut letters: Vec<(char, u64)> = counts.into_iter().collect();
    letters.sort_unstable_by_key(|&(letter, count)| (u64::MAX - count, letter));
    letters.into_iter().take(count).map(|(letter, _)| letter).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::encode;
    use super::*;

    fn texts() -> Vec<String> {
        let words = ["Müller", "42.50", "pays", "Rent", "pays,", "ΣΟΦΟΣ", "東京", "isn't"];
        (0..400).map(|n| format!("{} {} n{n}", words[n % 8], words[n * n % 7])).collect()
    }

    #[test]
    fn equal_texts_give_an_equal_vocabulary() {
        let train = || uncased(&texts(), 300).unwrap().to_string(false).unwrap();
        let first = train();
        for _ in 0..4 {
            assert!(train() == first);
        }
    }

    #[test]
    fn case_and_accents_are_nothing_and_texts_end() {
        let tokenizer = uncased(&texts(), 300).unwrap();
        let ids = |text: &str| tokenizer.encode_fast(text, true).unwrap().get_ids().to_vec();
        assert_eq!(ids("Müller pays, 東京"), ids("muller  PAYS , 東京"));
        assert_eq!((ids(""), tokenizer.token_to_id("<pad>")), (vec![EOS], Some(0)));
        assert_eq!(ids("pays").len(), 2, "a frequent word is one piece");
        assert_eq!(ids("pays ж"), [ids("pays")[0], tokenizer.token_to_id("[UNK]").unwrap(), EOS]);
        assert_eq!(encode(&tokenizer, "pays rent pays rent", 3).unwrap(), ids("pays rent"));
    }

    #[test]
    fn rare_letters_leave_room_for_words() {
        let rare = (0..2000).map(|n| char::from_u32(0xAC00 + n).unwrap().to_string());
        let texts: Vec<String> = rare.chain(texts()).collect();
        let tokenizer = uncased(&texts, 200).unwrap();
        assert!(super::super::size(&tokenizer) <= 200);
        assert_eq!(encode(&tokenizer, "rent", 9).unwrap().len(), 2);
    }
}
