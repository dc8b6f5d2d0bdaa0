//! The protected vectors, and what is left of retrieval on them.

use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, ArrayView2};

use super::clean::Clean;
use super::report::QueryScores;
use super::retrieval::{self, Ranking, normalize_rows};
use super::{Corpus, Evaluation, runs};
use crate::Error;

/// The protected vectors of all documents and of all queries.
pub(super) struct Vectors {
    pub(super) documents: Array2<f32>,
    queries: Array2<f32>,
}

impl Vectors {
    pub(super) fn clean(clean: &Clean) -> Self {
        Self { documents: clean.documents.stored.clone(), queries: clean.queries.clone() }
    }

    pub(super) fn protect(clean: &Clean, stack: &Stack, seed: u64) -> Result<Self, Error> {
        let mut rng = Rng::seeded(seed);
        let Self { mut documents, mut queries } = Self::clean(clean);
        stack.protect(Role::Document, documents.view_mut(), &mut rng)?;
        stack.protect(Role::Query, queries.view_mut(), &mut rng)?;
        Ok(Self { documents, queries })
    }

    /// One score for each query that has judgements.
    pub(super) fn retrieval(&self, corpus: &Corpus) -> Result<Vec<QueryScores>, Error> {
        Ok(query_scores(corpus, &self.rankings(corpus, 10)?))
    }

    /// The same of the vectors under the stack of this number, from 1; its run file is written where
    /// that is asked for.
    pub(super) fn retrieval_run<E>(
        &self,
        evaluation: &Evaluation<E>,
        corpus: &Corpus,
        (number, stack): (usize, &Stack),
    ) -> Result<Vec<QueryScores>, Error> {
        let Some(folder) = &evaluation.runs else { return self.retrieval(corpus) };
        let rankings = self.rankings(corpus, runs::DEPTH)?;
        runs::write(folder, (number, stack), corpus, &rankings)?;
        Ok(query_scores(corpus, &rankings))
    }

    /// For each query its `depth` best documents; none where nothing is asked.
    fn rankings(&self, corpus: &Corpus, depth: usize) -> Result<Vec<Ranking>, Error> {
        if corpus.queries().is_empty() {
            return Ok(Vec::new());
        }
        let unit = |vectors: ArrayView2<'_, f32>| {
            let mut vectors = vectors.to_owned();
            normalize_rows(vectors.view_mut());
            vectors
        };
        let (documents, queries) = (unit(self.documents.view()), unit(self.queries.view()));
        retrieval::search(documents.view(), queries.view(), depth, corpus.ids())
    }
}

/// Of each query that has judgements.
fn query_scores(corpus: &Corpus, rankings: &[Ranking]) -> Vec<QueryScores> {
    corpus.judgements().scores(rankings, |found| {
        Some(QueryScores {
            ndcg_at_10: retrieval::ndcg(found, 10)?,
            recall_at_10: retrieval::recall(found, 10)?,
            mrr_at_10: retrieval::mrr(found, 10)?,
        })
    })
}
