//! How many candidates a coarse vector needs, without an attack: the vectors are there already.

use std::collections::HashMap;

use ndarray::Array2;
use rayon::prelude::*;

use crate::embedder::Similarity;
use crate::evaluate::retrieval::{Hits, ndcg, normalize_rows, search};
use crate::evaluate::{Corpus, Exact};
use crate::{Defense, Error, Precision, Rng, Role, Stack};

/// The numbers of candidates that are tried.
const LADDER: [usize; 17] =
    [10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1_000, 1_500, 2_000, 3_000];

/// The rank down to which nDCG counts.
const CUTOFF: usize = 10;

/// The undefended vectors of a collection, and what a search of them scores.
pub(super) struct Stage {
    corpus: Corpus,
    /// As the embedder makes them.
    documents: Array2<f32>,
    queries: Array2<f32>,
    exact: Exact,
    seed: u64,
    /// The least nDCG that is to be kept.
    least: f64,
    /// The most candidates that are allowed.
    most: usize,
    known: HashMap<String, Option<usize>>,
}

impl Stage {
    /// `keep` is the share of the undefended nDCG that is to be kept; `similarity` is how exact vectors are compared.
    pub(super) fn new(
        corpus: &Corpus,
        ([documents, queries], similarity): ([Array2<f32>; 2], Similarity),
        (keep, most): (f64, usize),
        seed: u64,
    ) -> Result<Self, Error> {
        let exact = Exact::new([documents.view(), queries.view()], Precision::default(), similarity)?;
        let mut stage = Self {
            corpus: corpus.clone(),
            documents,
            queries,
            exact,
            seed,
            least: 0.0,
            most,
            known: HashMap::new(),
        };
        let undefended = stage.candidates(&Stack::new(), CUTOFF)?;
        stage.least = keep * stage.mean_ndcg(&undefended);
        Ok(stage)
    }

    /// The fewest candidates of the ladder under `stack` that keep enough; `None` if more are needed than are allowed.
    pub(super) fn needed(&mut self, stack: &Stack) -> Result<Option<usize>, Error> {
        let name = stack.to_string();
        if let Some(known) = self.known.get(&name) {
            return Ok(*known);
        }
        let most = self.most.min(self.corpus.ids().len());
        let found = self.candidates(stack, most)?;
        let scored = self.scored(&found);
        let ladder = LADDER.into_iter().filter(|candidates| *candidates < most).chain([most]);
        let needed = ladder.into_iter().find(|candidates| self.kept(&scored, *candidates) >= self.least);
        self.known.insert(name, needed);
        Ok(needed)
    }

    /// The `depth` best documents of each query, by the cosine of coarse vectors.
    fn candidates(&self, stack: &Stack, depth: usize) -> Result<Vec<Hits>, Error> {
        let mut rng = Rng::seeded(self.seed);
        let mut coarse = |role, vectors: &Array2<f32>| -> Result<Array2<f32>, Error> {
            let mut vectors = stack.protect_owned(role, vectors.clone(), &mut rng)?;
            normalize_rows(vectors.view_mut());
            Ok(vectors)
        };
        let documents = coarse(Role::Document, &self.documents)?;
        let queries = coarse(Role::Query, &self.queries)?;
        search(documents.view(), queries.view(), depth, self.corpus.ids())
    }

    /// The same documents in the same order, with the scores of exact vectors.
    fn scored(&self, found: &[Hits]) -> Vec<Hits> {
        let exact = |(query, hits): (usize, &Hits)| -> Hits {
            hits.iter().map(|&(document, _)| (document, self.exact.score(query, document))).collect()
        };
        found.par_iter().enumerate().map(exact).collect()
    }

    /// The nDCG after the first `candidates` were re-ranked.
    fn kept(&self, scored: &[Hits], candidates: usize) -> f64 {
        let ids = self.corpus.ids();
        let best = |hits: &Hits| {
            let mut hits = hits[..hits.len().min(candidates)].to_vec();
            hits.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| ids[b.0].cmp(&ids[a.0])));
            hits.truncate(CUTOFF);
            hits
        };
        self.mean_ndcg(&scored.par_iter().map(best).collect::<Vec<_>>())
    }

    fn mean_ndcg(&self, rankings: &[Hits]) -> f64 {
        let scores = self.corpus.judgements().scores(rankings, |found| ndcg(found, CUTOFF));
        scores.iter().sum::<f64>() / scores.len().max(1) as f64
    }
}
