//! Training examples: texts, vectors and hypotheses, and all of them as tokens.

use std::collections::HashMap;

use embosk_models::digest::Digest;
use embosk_models::threads::in_parallel;
use ndarray::{Array1, Array2, ArrayView1, Axis};
use tokenizers::Tokenizer;

use super::super::{to_tensor, vocabulary};
use crate::Error;

/// How many texts a thread turns into tokens at a time.
const CHUNK: usize = 1024;

/// Training examples: texts, normalized as the embedder sees them, and their vectors.
#[derive(Debug, Clone)]
pub struct Examples {
    /// The texts.
    pub texts: Vec<String>,
    /// Their vectors, `[texts, dim]`.
    pub vectors: Array2<f32>,
    /// For a corrector: a hypothesis for each text, and the hypotheses' vectors.
    pub hypotheses: Option<(Vec<String>, Array2<f32>)>,
}

impl Examples {
    /// Returns the SHA-256 of all of it, in hexadecimal.
    pub(super) fn hash(&self) -> String {
        let add = |digest: Digest, texts: &[String], vectors: &Array2<f32>| {
            let digest = texts.iter().fold(digest, Digest::part);
            vectors.rows().into_iter().fold(digest, |digest, row| {
                digest.raw(row.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
            })
        };
        let digest = add(Digest::new(), &self.texts, &self.vectors);
        match &self.hypotheses {
            Some((texts, vectors)) => add(digest, texts, vectors).hex(),
            None => digest.hex(),
        }
    }

    /// # Errors
    /// If there are no examples, parts do not match, or a value is not finite.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.texts.is_empty() {
            return Err(Error::Empty("the list of texts to train on"));
        }
        let mut parts = vec![(self.texts.len(), &self.vectors)];
        parts.extend(self.hypotheses.iter().map(|(texts, vectors)| (texts.len(), vectors)));
        for (texts, vectors) in parts {
            if texts != self.texts.len() || texts != vectors.nrows() {
                let rows = vectors.nrows();
                let message = format!("there are {texts} texts and {rows} vectors; each text needs one");
                return Err(Error::Setting(message));
            }
            if let Some(row) = vectors.rows().into_iter().position(|row| row.iter().any(|x| !x.is_finite())) {
                return Err(Error::NotFinite { row });
            }
        }
        Ok(())
    }
}

/// Examples as tokens.
pub(super) struct Data<'a> {
    pub(super) tokens: Vec<Vec<u32>>,
    pub(super) vectors: &'a Array2<f32>,
    hypotheses: Option<(Vec<Vec<u32>>, &'a Array2<f32>)>,
}

/// A hypothesis as tokens, and its vector.
pub(super) struct Hypothesis {
    pub(super) tokens: Vec<u32>,
    pub(super) vector: Array1<f32>,
}

/// Hypotheses that replace the first ones, by row.
pub(super) type Later = HashMap<usize, Hypothesis>;

/// What a model reads: the examples, and the current hypotheses.
#[derive(Clone, Copy)]
pub(super) struct Lesson<'a> {
    pub(super) data: &'a Data<'a>,
    pub(super) later: &'a Later,
}

impl<'a> Data<'a> {
    pub(super) fn new(
        examples: &'a Examples,
        tokenizer: &Tokenizer,
        max_length: usize,
    ) -> Result<Self, Error> {
        let tokens = |texts: &[String]| -> Result<Vec<Vec<u32>>, Error> {
            let parts: Vec<&[String]> = texts.chunks(CHUNK).collect();
            let encode = |text: &String| vocabulary::encode(tokenizer, text, max_length);
            let parts = in_parallel(&parts, |part| part.iter().map(encode).collect::<Result<Vec<_>, _>>())?;
            Ok(parts.into_iter().flatten().collect())
        };
        let hypotheses = match &examples.hypotheses {
            Some((texts, vectors)) => Some((tokens(texts)?, vectors)),
            None => None,
        };
        Ok(Self { tokens: tokens(&examples.texts)?, vectors: &examples.vectors, hypotheses })
    }

    /// How many examples there are.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn has_hypotheses(&self) -> bool {
        self.hypotheses.is_some()
    }
}

impl<'a> Lesson<'a> {
    /// A row's hypothesis, if there are any.
    pub(super) fn hypothesis(&self, row: usize) -> Option<(&'a [u32], ArrayView1<'a, f32>)> {
        if let Some(later) = self.later.get(&row) {
            return Some((&later.tokens, later.vector.view()));
        }
        let (tokens, vectors) = self.data.hypotheses.as_ref()?;
        Some((&tokens[row], vectors.row(row)))
    }

    /// Whether a row's hypothesis equals its text, so that there is nothing to correct.
    pub(super) fn is_solved(&self, row: usize) -> bool {
        self.hypothesis(row).is_some_and(|(tokens, _)| tokens == self.data.tokens[row])
    }

    /// The vectors of rows, `[rows, dim]`.
    pub(super) fn targets(&self, rows: &[usize]) -> candle_core::Result<candle_core::Tensor> {
        to_tensor(self.data.vectors.select(Axis(0), rows).view())
    }
}
