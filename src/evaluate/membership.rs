//! Measures whether an attacker can tell that a given text is in the store, and whose a stored vector is.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::adversaries::Material;
use super::guess::{Likeness, Prepared};
use super::metrics::{CANDIDATE_RECALL_AT_1, CANDIDATE_RECALL_AT_10, MEMBERSHIP_AUC, MEMBERSHIP_TPR};
use super::statistics::{Score, area_under_curve, proportion, true_positive_rate};
use crate::Error;

/// How many texts that are not stored are compared with the attacked ones: the least for a rate of false positives,
/// and the most. They are of the stored kind, because others are told apart by their kind.
const FEWEST: usize = 100;
const MOST: usize = 1000;
/// The most stored vectors besides the attacked ones: restoring and comparing takes time.
const OTHERS: usize = 1000;
/// The rate of false positives.
const RATE: f64 = 0.01;
/// How many vectors are compared at once.
const BLOCK: usize = 512;

/// A store to look for texts in: a part of the corpus. Documents outside it serve as texts that are not stored. They
/// are of the same kind, because the seed drew both from the same corpus.
pub(super) struct Store {
    /// The documents whose vectors are searched: the attacked ones, then others.
    pub(super) stored: Vec<usize>,
    attacked: usize,
    absent: Absent,
}

/// Texts that are not stored.
enum Absent {
    /// These documents, which are not in the store.
    Documents(Vec<usize>),
    /// The first of the attacker's own texts.
    Own(usize),
}

impl Store {
    /// Divides the documents. If too few are spare, the attacker's own texts serve as texts that are not stored, unless
    /// these are built-in sentences.
    pub(super) fn of(material: &Material<'_>) -> Self {
        let Material { clean, attacked, spare, .. } = material;
        let absent = (spare.len() / 2).min(MOST);
        let (others, absent) = if absent < FEWEST && !clean.own_is_spare && !clean.own_is_built_in {
            (spare.len(), Absent::Own(clean.own.attackable().nrows().min(MOST)))
        } else {
            let first = spare.len() - absent;
            (first, Absent::Documents(spare[first..].to_vec()))
        };
        let stored = attacked.iter().chain(&spare[..others.min(OTHERS)]).copied().collect();
        Self { stored, attacked: attacked.len(), absent }
    }

    /// Says that texts of another source stand for those that are not stored.
    pub(super) fn warning(&self) -> Option<String> {
        match self.absent {
            Absent::Own(count) if count >= FEWEST => Some(format!(
                "the corpus has too few documents to spare, so membership compares stored texts with {count} of the \
                 attacker's own; if these are of another kind, `membership_tpr` and `membership_auc` measure the kind: \
                 take a larger corpus"
            )),
            _ => None,
        }
    }

    /// Scores what an attacker can tell from `observed`, the restored vectors of the stored documents in their order.
    pub(super) fn scores(
        &self,
        material: &Material<'_>,
        observed: &Array2<f32>,
        likeness: &Likeness<'_>,
    ) -> Result<Vec<(&'static str, Option<Score>)>, Error> {
        let clean = material.clean.documents.attackable();
        let absent = match &self.absent {
            Absent::Documents(documents) => clean.select(Axis(0), documents),
            Absent::Own(count) => material.clean.own.attackable().slice(s![..*count, ..]).to_owned(),
        };
        let members = clean.select(Axis(0), &material.attacked);
        let stored = likeness.observed(observed.view())?;
        let likeliest =
            |texts: ArrayView2<'_, f32>| Ok::<_, Error>(likeliest(&stored, &likeness.candidates(texts)?));
        let (members, absent) = (likeliest(members.view())?, likeliest(absent.view())?);
        let ranks = self.ranks(material, observed, likeness)?;
        let within =
            |k: usize| Some(proportion(ranks.iter().filter(|rank| **rank <= k).count(), ranks.len()));
        Ok(vec![
            (MEMBERSHIP_TPR, true_positive_rate(&members, &absent, RATE)),
            (MEMBERSHIP_AUC, area_under_curve(&members, &absent)),
            (CANDIDATE_RECALL_AT_1, within(1)),
            (CANDIDATE_RECALL_AT_10, within(10)),
        ])
    }

    /// The rank of each attacked vector's own text among all documents, from 1. Equally likely documents count as
    /// likelier.
    fn ranks(
        &self,
        material: &Material<'_>,
        observed: &Array2<f32>,
        likeness: &Likeness<'_>,
    ) -> Result<Vec<usize>, Error> {
        let Material { clean, attacked, spare, .. } = material;
        // different texts; the attacked ones come first
        let documents: Vec<usize> = attacked.iter().chain(spare).copied().collect();
        let seen = likeness.observed(observed.slice(s![..self.attacked, ..]))?;
        let own: Vec<f64> = {
            let texts = clean.documents.attackable().select(Axis(0), attacked);
            let texts = likeness.candidates(texts.view())?;
            (0..self.attacked).map(|at| seen.score(at, &texts, at)).collect()
        };
        let mut ranks = vec![1; self.attacked];
        for (block, documents) in documents.chunks(BLOCK * 16).enumerate() {
            let texts = clean.documents.attackable().select(Axis(0), documents);
            let texts = likeness.candidates(texts.view())?;
            let first = block * BLOCK * 16;
            let better = |at: usize, other: usize, score: f64| first + other != at && score >= own[at];
            for (rank, more) in ranks.iter_mut().zip(count(&seen, &texts, better)) {
                *rank += more;
            }
        }
        Ok(ranks)
    }
}

/// The likeness of each text to the stored vector that is most similar to it.
fn likeliest(stored: &Prepared<'_>, texts: &Prepared<'_>) -> Vec<f64> {
    let blocks = blocks(texts.rows.nrows());
    let of_block = |rows: Range<usize>| {
        let mut best = vec![f64::NEG_INFINITY; rows.len()];
        each_product(stored, texts, rows.clone(), |at, text, product| {
            best[text] = best[text].max(stored.scored(at, texts, rows.start + text, product));
        });
        best
    };
    blocks.into_par_iter().flat_map_iter(of_block).collect()
}

/// Counts, for each observed vector, the texts for which `better` holds, given the vector's row, the text's row, and
/// their score.
fn count(
    seen: &Prepared<'_>,
    texts: &Prepared<'_>,
    better: impl Fn(usize, usize, f64) -> bool + Sync,
) -> Vec<usize> {
    let of_block = |rows: Range<usize>| {
        let mut counts = vec![0; seen.rows.nrows()];
        each_product(seen, texts, rows.clone(), |at, text, product| {
            let text = rows.start + text;
            counts[at] += usize::from(better(at, text, seen.scored(at, texts, text, product)));
        });
        counts
    };
    let add = |a: Vec<usize>, b: Vec<usize>| a.iter().zip(&b).map(|(a, b)| a + b).collect();
    blocks(texts.rows.nrows()).into_par_iter().map(of_block).reduce(|| vec![0; seen.rows.nrows()], add)
}

/// Hands over the inner product of each observed vector with each of these texts; texts are counted from the first.
fn each_product(
    seen: &Prepared<'_>,
    texts: &Prepared<'_>,
    rows: Range<usize>,
    mut take: impl FnMut(usize, usize, f64),
) {
    for block in blocks(seen.rows.nrows()) {
        let products =
            seen.rows.slice(s![block.clone(), ..]).dot(&texts.rows.slice(s![rows.clone(), ..]).t());
        for ((at, text), product) in products.indexed_iter() {
            take(block.start + at, text, f64::from(*product));
        }
    }
}

fn blocks(n: usize) -> Vec<Range<usize>> {
    (0..n).step_by(BLOCK).map(|first| first..(first + BLOCK).min(n)).collect()
}
