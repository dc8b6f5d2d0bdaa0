//! The protected vectors, and what is left of retrieval on them.

use embosk_defenses::{Defense, Rng, Role, Stack};
use ndarray::{Array2, ArrayView2};

use super::clean::Clean;
use super::metrics::{Columns, measure_queries, search_depth};
use super::retrieval::{self, Hits, normalize_rows};
use super::second_stage::{Given, Reranked, SecondStage, TOP, kept};
use super::{Corpus, Evaluation, trec_files};
use crate::Error;
use crate::embedder::Similarity;

/// The protected vectors of all documents and of all queries.
pub(super) struct Vectors {
    pub(super) documents: Array2<f32>,
    queries: Array2<f32>,
    /// Where the stack re-ranks what these find.
    second: Option<SecondStage>,
}

/// What a search of the protected vectors came to.
pub(super) struct Retrieval {
    /// The scores of each query that has judgements.
    pub(super) queries: Columns,
    /// What the evaluation measured as a whole.
    pub(super) given: Vec<Given>,
    pub(super) reranked: Option<Reranked>,
}

impl Vectors {
    pub(super) fn clean(clean: &Clean) -> Self {
        Self { documents: clean.documents.stored.clone(), queries: clean.queries.clone(), second: None }
    }

    /// `similarity` is how the application compares exact vectors, if the stack re-ranks.
    pub(super) fn protect(
        clean: &Clean,
        stack: &Stack,
        (similarity, seed): (Similarity, u64),
    ) -> Result<Self, Error> {
        let mut rng = Rng::seeded(seed);
        let Self { documents, queries, .. } = Self::clean(clean);
        let documents = stack.protect_owned(Role::Document, documents, &mut rng)?;
        let queries = stack.protect_owned(Role::Query, queries, &mut rng)?;
        Ok(Self { documents, queries, second: SecondStage::of(clean, stack, similarity)? })
    }

    /// The scores of each query that has judgements.
    pub(super) fn retrieval<E>(&self, evaluation: &Evaluation<E>, corpus: &Corpus) -> Result<Columns, Error> {
        let rankings = self.rankings(corpus, search_depth(&evaluation.metrics))?;
        Ok(measure_queries(&evaluation.metrics, corpus.judgements(), &rankings))
    }

    /// The same of the vectors under the stack of this number, from 1, after re-ranking where the stack does so. Writes
    /// its run file where that was asked for.
    pub(super) fn retrieval_run<E>(
        &self,
        evaluation: &Evaluation<E>,
        (corpus, clean): (&Corpus, &Clean),
        (number, stack): (usize, &Stack),
    ) -> Result<Retrieval, Error> {
        let depth = search_depth(&evaluation.metrics);
        let deeper = evaluation.trec_runs.as_ref().map_or(depth, |_| depth.max(trec_files::DEPTH));
        let (mut rankings, given) = self.ranked((corpus, clean), deeper, evaluation.seed)?;
        let queries = measure_queries(&evaluation.metrics, corpus.judgements(), &rankings);
        if let Some(folder) = &evaluation.trec_runs {
            for ranking in &mut rankings {
                ranking.truncate(trec_files::DEPTH);
            }
            trec_files::write(folder, (number, stack), corpus, &rankings)?;
        }
        Ok(Retrieval { queries, given, reranked: self.second.as_ref().map(|second| second.cost) })
    }

    /// For each query its `depth` best documents, and what the first of two stages kept.
    fn ranked(
        &self,
        (corpus, clean): (&Corpus, &Clean),
        depth: usize,
        seed: u64,
    ) -> Result<(Vec<Hits>, Vec<Given>), Error> {
        let Some(second) = &self.second else { return Ok((self.rankings(corpus, depth)?, Vec::new())) };
        let candidates = self.rankings(corpus, second.cost.candidates)?;
        let kept = kept(&candidates, Self::undefended(corpus, clean)?, corpus.judgements(), seed);
        Ok((second.order(&candidates, corpus.ids(), depth), kept))
    }

    /// For each query what an undefended search finds first. It is the same under every stack, so it is searched once.
    fn undefended<'c>(corpus: &Corpus, clean: &'c Clean) -> Result<&'c [Hits], Error> {
        if let Some(found) = clean.found.get() {
            return Ok(found);
        }
        let found = Self::clean(clean).rankings(corpus, TOP)?;
        Ok(clean.found.get_or_init(|| found))
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
