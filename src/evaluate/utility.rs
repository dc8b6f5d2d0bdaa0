//! The protected vectors, and what is left of retrieval on them.

use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, ArrayView2};

use super::clean::Clean;
use super::metrics::{Columns, measure_queries, search_depth};
use super::retrieval::{self, Hits, normalize_rows};
use super::{Corpus, Evaluation, trec_files};
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

    /// The scores of each query that has judgements.
    pub(super) fn retrieval<E>(&self, evaluation: &Evaluation<E>, corpus: &Corpus) -> Result<Columns, Error> {
        let rankings = self.rankings(corpus, search_depth(&evaluation.metrics))?;
        Ok(measure_queries(&evaluation.metrics, corpus.judgements(), &rankings))
    }

    /// The same of the vectors under the stack of this number, from 1. Writes its run file where that was asked
    /// for.
    pub(super) fn retrieval_run<E>(
        &self,
        evaluation: &Evaluation<E>,
        corpus: &Corpus,
        (number, stack): (usize, &Stack),
    ) -> Result<Columns, Error> {
        let Some(folder) = &evaluation.trec_runs else { return self.retrieval(evaluation, corpus) };
        let depth = search_depth(&evaluation.metrics).max(trec_files::DEPTH);
        let mut rankings = self.rankings(corpus, depth)?;
        let scores = measure_queries(&evaluation.metrics, corpus.judgements(), &rankings);
        for ranking in &mut rankings {
            ranking.truncate(trec_files::DEPTH);
        }
        trec_files::write(folder, (number, stack), corpus, &rankings)?;
        Ok(scores)
    }

    /// For each query its `depth` best documents; none where nothing is asked.
    fn rankings(&self, corpus: &Corpus, depth: usize) -> Result<Vec<Hits>, Error> {
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
