//! Texts as pieces: the tokens of a text without those that the embedder puts around it.

use std::ops::Range;

use ndarray::Array2;
use tokenizers::{Encoding, ModelWrapper, NormalizerWrapper, Token};

use super::spelling::spelled;
use super::{SentenceTransformer, normalized};
use crate::Error;
use crate::kernels::with;

/// A word that no tokenizer joins with the text before it.
const PROBE: &str = "a";

/// What surrounds the pieces of every document.
pub(super) struct Frame {
    /// Special tokens and the prompt.
    before: Vec<u32>,
    after: Vec<u32>,
    /// How many pieces fit in between.
    room: usize,
    /// Whether longer texts keep their end.
    cut_on_the_left: bool,
    /// How many of the first tokens are not pooled.
    pub(super) skip: usize,
}

/// A text's pieces with what surrounds them.
pub(super) struct Framed {
    pub(super) ids: Vec<u32>,
    /// How many tokens come before the pieces.
    pub(super) before: usize,
    /// The pieces that were not cut off.
    pub(super) kept: Range<usize>,
}

impl Frame {
    pub(super) fn around(&self, pieces: &[u32]) -> Framed {
        let kept = self.kept(pieces.len());
        let ids = [&self.before, &pieces[kept.clone()], &self.after].concat();
        Framed { ids, before: self.before.len(), kept }
    }

    fn kept(&self, pieces: usize) -> Range<usize> {
        let count = pieces.min(self.room);
        if self.cut_on_the_left { pieces - count..pieces } else { 0..count }
    }
}

impl SentenceTransformer {
    /// Returns the pieces of a text: its tokens as a document, cut where the embedder cuts, without special tokens
    /// and without the prompt.
    ///
    /// # Errors
    /// [`Error::Model`] if the tokenizer fails.
    pub fn pieces(&self, text: &str) -> Result<Vec<u32>, Error> {
        let frame = self.frame()?;
        let prompt = &self.settings.prompts.document;
        let all = self.tokens.of(&[format!("{prompt}{text}")])?.remove(0);
        let own = all.strip_suffix(&*frame.after).and_then(|ids| ids.strip_prefix(&*frame.before));
        if let Some(own) = own {
            return Ok(own.to_vec());
        }
        let own = self.alone(text)?;
        Ok(own[frame.kept(own.len())].to_vec())
    }

    /// Returns the text that pieces spell, with the usual spaces: none before a full stop, none inside "don't". In
    /// most cases, the [`pieces`](Self::pieces) of this text are the same again.
    ///
    /// # Errors
    /// [`Error::Setting`] for a piece that is not in the vocabulary.
    pub fn spell(&self, pieces: &[u32]) -> Result<String, Error> {
        let tokenizer = &self.tokens.tokenizer;
        let of_each = pieces.iter().map(|&piece| tokenizer.id_to_token(piece)).collect::<Option<Vec<_>>>();
        let Some(of_each) = of_each else {
            return Err(Error::Setting("a piece is not in the vocabulary; pieces come from `pieces`".into()));
        };
        if let ModelWrapper::WordPiece(model) = tokenizer.get_model() {
            return Ok(spelled(&of_each, &model.continuing_subword_prefix));
        }
        match tokenizer.get_decoder() {
            Some(_) => tokenizer.decode(pieces, false).map_err(Error::Model),
            None => Ok(of_each.concat().replace('\u{2581}', " ").trim().to_owned()),
        }
    }

    /// Returns the pieces that occur in no text, in ascending order: special and unused ones, those that the
    /// normalizer never lets through, and rows of the table of embeddings that no piece has.
    pub fn special_pieces(&self) -> Vec<u32> {
        let rows = self.encoder.table().dims().first().copied().unwrap_or(0);
        (0..rows as u32).filter(|&piece| !self.is_of_texts(piece)).collect()
    }

    /// Returns the embeddings of all pieces, `[vocabulary, width]`, before anything is added to them.
    ///
    /// # Errors
    /// [`Error::Setting`] if the model is not on the CPU.
    pub fn piece_embeddings(&self) -> Result<Array2<f32>, Error> {
        let table = self.encoder.table();
        let values = with(table, <[f32]>::to_vec).map_err(|_| super::gradient::elsewhere())?;
        Array2::from_shape_vec(table.dims2()?, values).map_err(|error| Error::Model(error.into()))
    }

    pub(super) fn frame(&self) -> Result<Frame, Error> {
        let tokenizer = &self.tokens.tokenizer;
        let (mut before, after) = self.special_around()?;
        let prompt = &self.settings.prompts.document;
        if !prompt.is_empty() {
            let (probe, mut both) = (self.alone(PROBE)?, self.alone(&format!("{prompt}{PROBE}"))?);
            both.truncate(both.strip_suffix(&*probe).map_or(both.len(), <[u32]>::len));
            before.extend(both);
        }
        let limit = tokenizer.get_truncation();
        let longest = limit.map_or(usize::MAX, |limit| limit.max_length);
        let on_the_left = |limit: &tokenizers::TruncationParams| {
            matches!(limit.direction, tokenizers::TruncationDirection::Left)
        };
        Ok(Frame {
            room: longest.saturating_sub(before.len() + after.len()),
            cut_on_the_left: limit.is_some_and(on_the_left),
            skip: if self.modules.pooling.include_prompt { 0 } else { self.tokens.in_prompt(prompt)? },
            before,
            after,
        })
    }

    /// The special tokens before and after every text.
    fn special_around(&self) -> Result<(Vec<u32>, Vec<u32>), Error> {
        if !self.tokens.special {
            return Ok((Vec::new(), Vec::new()));
        }
        let text = Encoding::from_tokens(vec![Token::new(0, String::new(), (0, 0))], 0);
        let all = self.tokens.tokenizer.post_process(text, None, true).map_err(Error::Model)?;
        let place = all.get_special_tokens_mask().iter().position(|&special| special == 0);
        let place = place.unwrap_or(all.len());
        Ok((all.get_ids()[..place].to_vec(), all.get_ids().iter().skip(place + 1).copied().collect()))
    }

    /// The tokens of a text, without special ones.
    fn alone(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self.tokens.tokenizer.encode_fast(text, false).map_err(Error::Model)?;
        Ok(encoding.get_ids().to_vec())
    }

    fn is_of_texts(&self, piece: u32) -> bool {
        let tokenizer = &self.tokens.tokenizer;
        let Some(token) = tokenizer.id_to_token(piece) else { return false };
        let special = tokenizer.get_added_tokens_decoder().get(&piece).is_some_and(|token| token.special);
        let reserved = ["[unused", "<extra_id_", "<0x"].iter().any(|start| token.starts_with(start));
        if special || reserved || token.chars().any(char::is_control) {
            return false;
        }
        match (tokenizer.get_model(), tokenizer.get_normalizer()) {
            (ModelWrapper::WordPiece(model), normalizer) => {
                let part = token.strip_prefix(&model.continuing_subword_prefix).unwrap_or(&token);
                let is_bert = matches!(normalizer, Some(NormalizerWrapper::BertNormalizer(_)));
                token != model.unk_token && (!is_bert || normalized(part, normalizer, false).trim() == part)
            }
            (ModelWrapper::Unigram(_), _) => token != "<unk>",
            _ => true,
        }
    }
}
