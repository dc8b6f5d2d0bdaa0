//! Vectors that exist already, in place of embedding the corpus.

use ndarray::{Array2, ArrayView1, Axis};

use super::{Corpus, Evaluation};
use crate::digest::Digest;
use crate::embedder::{check_finite, embed_checked};
use crate::{Embedder, Error, Role};

/// How many documents are embedded to check whether the vectors are the embedder's.
const CHECKED: usize = 8;

/// Vectors of one model have at least this cosine, whatever the precision in which they were stored.
const SAME: f64 = 0.99;

/// The vectors of a corpus.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) documents: Array2<f32>,
    /// The vectors of all queries of the corpus's file, in its order.
    pub(super) queries: Option<Array2<f32>>,
}

impl Given {
    /// The vectors of the documents, `[documents, dim]`.
    pub(super) fn documents(&self, corpus: &Corpus) -> Result<Array2<f32>, Error> {
        rows_for("documents", &self.documents, corpus.texts().len())?;
        check_finite(self.documents.clone())
    }

    /// The vectors of the queries that are judged, `[queries, dim]`, if there are any.
    pub(super) fn queries(&self, corpus: &Corpus) -> Result<Option<Array2<f32>>, Error> {
        let Some(queries) = &self.queries else { return Ok(None) };
        if corpus.queries().is_empty() {
            return Err(Error::Setting(
                "there are vectors of queries, but the corpus has no queries and judgements; name them, or leave the vectors \
                 out"
                    .into(),
            ));
        }
        rows_for("queries", queries, corpus.queries_in_file())?;
        check_finite(queries.select(Axis(0), corpus.query_rows())).map(Some)
    }

    /// The SHA-256 of all vectors, in hexadecimal.
    pub(super) fn hash(&self) -> String {
        let of = |digest: Digest, vectors: &Array2<f32>| {
            let shape = format!("{:?}", vectors.dim());
            vectors.rows().into_iter().fold(digest.part(shape), |digest, row| {
                digest.part(row.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
            })
        };
        self.queries.iter().fold(of(Digest::default(), &self.documents), of).hex()
    }
}

fn rows_for(what: &str, vectors: &Array2<f32>, expected: usize) -> Result<(), Error> {
    if vectors.nrows() == expected {
        return Ok(());
    }
    Err(Error::Setting(format!(
        "there are {} vectors of {what}, and the corpus has {expected}; give one row for each, in their order",
        vectors.nrows()
    )))
}

/// Refuses vectors that are not the embedder's: the attack would search in another space.
pub(super) fn check_embedder<E: Embedder>(
    evaluation: &Evaluation<E>,
    corpus: &Corpus,
    given: &Array2<f32>,
) -> Result<(), Error> {
    let step = corpus.texts().len().div_ceil(CHECKED).max(1);
    let documents: Vec<usize> = (0..corpus.texts().len()).step_by(step).collect();
    let texts: Vec<&str> = documents.iter().map(|&document| corpus.texts()[document].as_str()).collect();
    let embedded = embed_checked(&evaluation.embedder, Role::Document, &texts)?;
    let refuse = |how: String| {
        Err(Error::Setting(format!(
            "the vectors are not those of the embedder that is named ({how}); name the one that they are from, with its \
             prompts, or none"
        )))
    };
    if embedded.ncols() != given.ncols() {
        return refuse(format!("{} dimensions, and the embedder has {}", given.ncols(), embedded.ncols()));
    }
    for (&document, embedded) in documents.iter().zip(embedded.rows()) {
        let cosine = cosine(given.row(document), embedded);
        if cosine < SAME {
            return refuse(format!("document {} has a cosine of {cosine:.3}", document + 1));
        }
    }
    Ok(())
}

/// The cosine of two vectors; 0 if one of them is zero.
pub(super) fn cosine(one: ArrayView1<'_, f32>, other: ArrayView1<'_, f32>) -> f64 {
    let dot = |one: ArrayView1<'_, f32>, other: ArrayView1<'_, f32>| -> f64 {
        one.iter().zip(other).map(|(&one, &other)| f64::from(one) * f64::from(other)).sum()
    };
    let norms = (dot(one, one) * dot(other, other)).sqrt();
    if norms > 0.0 { dot(one, other) / norms } else { 0.0 }
}

impl<E: Embedder> Evaluation<E> {
    /// Refuses what needs an embedder, if there is none.
    pub(super) fn check_oracle(&self) -> Result<(), Error> {
        if self.embedder.can_embed() {
            return Ok(());
        }
        if self.given.is_none() {
            return Err(Error::Setting(
                "there is neither an embedder nor vectors of the corpus; give one of them".into(),
            ));
        }
        let asked = [
            (self.attack.is_some(), "the attack asks for the vectors of its hypotheses"),
            (self.retrained.is_some(), "the retrained attack asks for the vectors of its hypotheses"),
            (self.attacker_texts.is_some(), "the attacker's own texts must be embedded"),
        ];
        match asked.iter().find(|(is_asked, _)| *is_asked) {
            Some((_, what)) => Err(Error::Setting(format!(
                "{what}, and there are only vectors of the corpus; name their embedder (--embedder), or leave this out \
                 (--attack none)"
            ))),
            None => Ok(()),
        }
    }

    /// What is not measured, because there is no embedder.
    pub(super) fn unmeasured(&self, is_attacked: bool, has_queries: bool) -> Vec<String> {
        let is_blind = !self.embedder.can_embed();
        let has_no_vectors = self.given.as_ref().is_some_and(|given| given.queries.is_none());
        let told = [
            (
                is_blind && is_attacked && self.guess_candidates > 0,
                "no facts are guessed: the attacker would embed the candidates, and there are only vectors; name their \
                 embedder to measure it",
            ),
            (
                is_blind && has_queries && has_no_vectors,
                "retrieval is not measured: there are no vectors of the queries",
            ),
        ];
        told.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| what.to_owned()).collect()
    }
}
