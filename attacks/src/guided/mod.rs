//! Guided search: a text that explains a vector, found by editing, without a trained model.
//!
//! The search needs queries to the embedder and the attacker's own texts with their vectors. Ridge regression on these,
//! and the vectors of single words, say which words a vector speaks of; trigrams of the texts' units say what reads well.
//! If the attacker has the embedder's weights, its gradient says which unit would fit better at each place, as in HotFlip
//! (Ebrahimi et al., ACL 2018, arXiv 1712.06751). Each round edits the best hypotheses (units are exchanged, inserted,
//! taken out, moved), embeds the results and keeps the best by cosine and fluency.
//!
//! A hypothesis has at most 48 words. If a vector seems to be of a longer text, the output goes on with the 200 words
//! that score highest, so that it reports what the text is about.

mod edits;
mod estimates;
mod gradient;
mod language;
mod prepared;
mod proposals;
mod row;
mod scores;
mod search;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod words;

use std::fmt;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{ArrayView2, Axis};

use self::prepared::Prepared;
use self::search::Search;
use crate::check::{check_dimension, check_finite, check_targets};
use crate::{Attack, Error, Inversion, Ranking, Resources, check_pairs};

/// Oracle queries a text by default.
pub const QUERIES: usize = 1500;

/// Own texts that the search asks for by default.
pub const OWN_TEXTS: usize = 24_000;

/// Further own texts that it learns language from, at most. They are not embedded.
pub const LANGUAGE_TEXTS: usize = 250_000;

/// Words that are proposed, at most: the most frequent ones of all the attacker's texts. Each is embedded once, alone.
pub const WORDS: usize = 30_000;

/// Raised if the search finds more or less than before, so that reports before and after are not compared as equal.
const VERSION: usize = 2;

/// Own texts that the search asks for by default where another attack precedes it.
const OWN_TEXTS_AFTER: usize = 10_000;

/// Vectors that are searched for together.
const ROWS: usize = 64;

/// What tells what a search learned from: hashes of the vectors, and of the texts that have none and whether there were
/// weights.
type Learned = [u64; 2];

/// Searches for the text of a vector, guided by word scores, language and, where there is one, the gradient.
///
/// By itself it needs no trained model. After another attack ([`Guided::after`]) it starts from that attack's
/// outputs as well.
pub struct Guided {
    queries: usize,
    beam_width: usize,
    own_texts: usize,
    black_box: bool,
    start: Option<Arc<dyn Attack>>,
    prepared: Mutex<Option<(Learned, Arc<Prepared>)>>,
}

impl Default for Guided {
    fn default() -> Self {
        Self {
            queries: QUERIES,
            beam_width: 8,
            own_texts: OWN_TEXTS,
            black_box: false,
            start: None,
            prepared: Mutex::new(None),
        }
    }
}

impl Guided {
    /// Creates a search that starts from the attacker's own texts alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a search that starts from the outputs of another attack.
    pub fn after(attack: impl Attack + 'static) -> Self {
        Self { start: Some(Arc::new(attack)), own_texts: OWN_TEXTS_AFTER, ..Self::default() }
    }

    /// Sets how many oracle queries a text may take, less those that an attack before it took. Default: [`QUERIES`].
    /// That attack has limits of its own; if it took more, the search makes a single query. A text that is longer than
    /// any hypothesis gets a tenth of the queries, whatever the attack before it took.
    pub fn queries(self, queries: usize) -> Self {
        Self { queries, ..self }
    }

    /// Sets how many hypotheses are kept from round to round, at least one. Default: 8.
    pub fn beam_width(self, width: usize) -> Self {
        Self { beam_width: width.max(1), ..self }
    }

    /// Sets how many of the attacker's own texts it asks for. Default: [`OWN_TEXTS`], and 10,000 after another
    /// attack.
    pub fn own_texts(self, count: usize) -> Self {
        Self { own_texts: count, ..self }
    }

    /// Sets whether it leaves the embedder's weights alone, even if the oracle offers them. Default: no.
    pub fn black_box(self, alone: bool) -> Self {
        Self { black_box: alone, ..self }
    }

    fn prepared(&self, resources: &Resources<'_>) -> Result<Arc<Prepared>, Error> {
        let own = resources.own.ok_or_else(|| {
            Error::Setting("guided search needs texts of the attacker's own, and was given none".into())
        })?;
        let white_box = resources.oracle.white_box().filter(|_| !self.black_box);
        let key = [
            hash_of(own.vectors.iter()),
            BuildHasherDefault::<DefaultHasher>::default()
                .hash_one((resources.language, white_box.is_some())),
        ];
        let mut kept = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, prepared)) = kept.as_ref().filter(|(of, _)| *of == key) {
            return Ok(Arc::clone(prepared));
        }
        let prepared = Arc::new(Prepared::new(&own, resources.language, (resources.oracle, white_box))?);
        *kept = Some((key, Arc::clone(&prepared)));
        Ok(prepared)
    }

    /// What the attack before this one found, by row: the texts to start from, and its queries.
    fn starts(
        &self,
        estimates: ArrayView2<'_, f32>,
        ranking: &Ranking<'_>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, Error> {
        match &self.start {
            Some(attack) => attack.invert_ranked_by(estimates, ranking, resources),
            None => Ok(Vec::new()),
        }
    }
}

impl Attack for Guided {
    fn invert(
        &self,
        vectors: ArrayView2<'_, f32>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, Error> {
        self.invert_ranked_by(vectors, &Ranking::by(vectors), resources)
    }

    fn invert_ranked_by(
        &self,
        estimates: ArrayView2<'_, f32>,
        ranking: &Ranking<'_>,
        resources: &Resources<'_>,
    ) -> Result<Vec<Inversion>, Error> {
        check_pairs(estimates, ranking.targets)?;
        check_finite(estimates)?;
        check_targets(ranking, estimates.ncols())?;
        let prepared = self.prepared(resources)?;
        check_dimension(prepared.directions.ncols(), estimates)?;
        let before = self.starts(estimates, ranking, resources)?;
        let mut found = Vec::with_capacity(estimates.nrows());
        let chunks = estimates.axis_chunks_iter(Axis(0), ROWS);
        for (chunk, (estimates, targets)) in
            chunks.zip(ranking.targets.axis_chunks_iter(Axis(0), ROWS)).enumerate()
        {
            let starts = before.iter().skip(chunk * ROWS).take(estimates.nrows());
            let starts: Vec<Start> = starts.map(Start::of).collect();
            let ranking = Ranking { targets, ..*ranking };
            let ranking = (&ranking, estimates.ncols());
            let search = Search::new(self, &prepared, resources.oracle, ranking);
            found.extend(search.run(estimates, &starts)?);
        }
        for (inversion, before) in found.iter_mut().zip(before) {
            inversion.queries += before.queries;
            let after = std::mem::take(&mut inversion.steps);
            inversion.steps = before.steps.into_iter().chain(after).collect();
        }
        Ok(found)
    }

    /// What the attack before it says; the search itself was trained on nothing.
    fn trained_on(&self, text: &str) -> Option<bool> {
        self.start.as_ref().map_or(Some(false), |attack| attack.trained_on(text))
    }

    fn own_texts_wanted(&self) -> usize {
        let before = self.start.as_ref().map_or(0, Attack::own_texts_wanted);
        self.own_texts.max(before)
    }
}

/// What the attack before the search leaves to it.
#[derive(Debug, Clone, Default)]
struct Start {
    /// The different texts that it went through, its output first.
    texts: Vec<String>,
    queries: usize,
}

impl Start {
    fn of(inversion: &Inversion) -> Self {
        let mut texts = vec![inversion.output.clone()];
        for text in inversion.steps.iter().rev() {
            if !texts.contains(text) {
                texts.push(text.clone());
            }
        }
        texts.truncate(8);
        Self { texts, queries: inversion.queries }
    }
}

/// Hashes values by FNV-1a: to know the own texts again, and for a seed that depends on one vector alone.
fn hash_of<'v>(values: impl Iterator<Item = &'v f32>) -> u64 {
    values.fold(0xcbf2_9ce4_8422_2325, |hash, value| {
        (hash ^ u64::from(value.to_bits())).wrapping_mul(0x0100_0000_01b3)
    })
}

impl fmt::Debug for Guided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guided")
            .field("queries", &self.queries)
            .field("beam_width", &self.beam_width)
            .field("own_texts", &self.own_texts)
            .field("black_box", &self.black_box)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Guided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(start) = &self.start {
            write!(f, "{start} + ")?;
        }
        let black_box = if self.black_box { ", black box" } else { "" };
        write!(f, "guided(version={VERSION}, queries={}, beam={}{black_box})", self.queries, self.beam_width)
    }
}
