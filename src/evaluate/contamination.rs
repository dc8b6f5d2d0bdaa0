//! Chooses the attacked documents: none that an attack was trained on, unless that is asked for.

use embosk_attacks::Attack;
use serde_json::{Value, json};

use super::{Corpus, Evaluation, privacy};
use crate::{Embedder, Error};

/// The documents to attack, and the others.
pub(super) struct Sample {
    pub(super) attacked: Vec<usize>,
    /// The others, in the order that the seed draws.
    pub(super) spare: Vec<usize>,
    pub(super) contamination: Contamination,
}

/// Fewer texts cannot be attacked: the floor is scored on another text.
const LEAST: usize = 2;

/// How many of the drawn texts an attack was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contamination {
    found: usize,
    samples: usize,
    /// Whether they are attacked anyway.
    kept: bool,
    /// Whether an attack does not say of each drawn text if it was trained on it.
    is_unknown: bool,
}

impl Sample {
    /// Draws the texts by the seed. In place of a text that an attack was trained on, the next one is attacked. If fewer
    /// samples will do, half of the texts stay with the attackers, or more if they have `pairs`.
    pub(super) fn draw<E: Embedder>(
        evaluation: &Evaluation<E>,
        corpus: &Corpus,
        pairs: usize,
    ) -> Result<Self, Error> {
        let order = privacy::order(corpus, &evaluation.comparison(), evaluation.seed);
        let left = order.len().saturating_sub(pairs).min(order.len() / 2);
        let most = if evaluation.fewer_samples && left >= LEAST { left } else { order.len() };
        let samples = evaluation.samples.min(most);
        let is_trained = |document: &usize| trained_on(evaluation, corpus, *document) == Some(true);
        let drawn = || order[..samples].iter();
        let found = drawn().filter(|document| is_trained(document)).count();
        let is_unknown = drawn().any(|document| trained_on(evaluation, corpus, *document).is_none());
        let kept = evaluation.keep_contaminated;
        let contamination = Contamination { found, samples, kept, is_unknown };
        if found == 0 || evaluation.keep_contaminated {
            let mut attacked = order;
            let spare = attacked.split_off(samples);
            return Ok(Self { attacked, spare, contamination });
        }
        let (mut attacked, mut spare) = (Vec::with_capacity(samples), Vec::new());
        for document in order {
            let is_attacked = attacked.len() < samples && !is_trained(&document);
            if is_attacked { &mut attacked } else { &mut spare }.push(document);
        }
        let (other, all) = (attacked.len(), attacked.len() + spare.len());
        if other < samples && !(evaluation.fewer_samples && other >= LEAST) {
            return Err(Error::Setting(format!(
                "{samples} texts are to be attacked, and the attack was trained on all but {other} of {all}; attack \
                 texts that it was not trained on, or keep them (--keep-contaminated, Evaluation::keep_contaminated) to \
                 see what it remembers"
            )));
        }
        Ok(Self { attacked, spare, contamination })
    }
}

impl Contamination {
    /// What a reader of the report should know.
    pub(super) fn warnings(self) -> impl Iterator<Item = String> {
        let Self { found, samples, kept, is_unknown } = self;
        let texts = format!("{found} of {samples} texts to attack were in the attack's training texts");
        let known = match (found, kept) {
            (0, _) => None,
            (_, true) => Some(format!("{texts}; what comes back of them says little about other texts")),
            (_, false) => Some(format!("{texts}, so others were drawn in their place")),
        };
        let unknown = is_unknown.then(|| {
            "the attack does not list all that it was trained on, so it may remember texts that are attacked; make sure that \
             they are new to it"
                .to_owned()
        });
        known.into_iter().chain(unknown)
    }

    /// The entry for the signature; `None` if nothing was found.
    pub(super) fn setting(self) -> Option<(String, Value)> {
        let Self { found, kept, .. } = self;
        (found > 0).then(|| ("contamination".to_owned(), json!({"texts": found, "left_out": !kept})))
    }
}

/// Whether an attack was trained on a document; `None` if one does not say and no other says yes. Held-out records are
/// in no training, because they share no full name with those of the training split.
fn trained_on<E: Embedder>(evaluation: &Evaluation<E>, corpus: &Corpus, document: usize) -> Option<bool> {
    if corpus.is_records() {
        return Some(false);
    }
    let text = evaluation.comparison().apply(&corpus.texts()[document]);
    let attacks = evaluation.attack.iter().chain(&evaluation.retrained);
    let said: Vec<_> = attacks.map(|attack| attack.trained_on(&text)).collect();
    if said.contains(&Some(true)) { Some(true) } else { (!said.contains(&None)).then_some(false) }
}
