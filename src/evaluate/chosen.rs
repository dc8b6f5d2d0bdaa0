//! Which adversaries an evaluation runs, and whether the corpus has what they need.

use std::sync::Arc;

use embosk_attacks::alignment::LEAST_CLOUD;

use super::adversaries::{Adversary, Needs, OWN_PAIRS, Room};
use super::clean::{Clean, OwnTextSource};
use super::conclusion::Means;
use super::{Attackers, Corpus, Evaluation};
use crate::{Embedder, Error};

/// The adversaries to run, and what they have.
pub(super) struct Chosen {
    pub(super) adversaries: Vec<Arc<dyn Adversary>>,
    pub(super) own: OwnTextSource,
    pub(super) means: Means,
    /// Whether they were named, rather than chosen by what the corpus has.
    pub(super) are_named: bool,
}

/// Chooses the adversaries for this many samples out of this many different texts.
pub(super) fn choose<E: Embedder>(
    evaluation: &Evaluation<E>,
    corpus: &Corpus,
    clean: &Clean,
    (samples, texts): (usize, usize),
) -> Result<Chosen, Error> {
    let another_space = clean.documents.has_surrogate();
    let fits = |adversary: &Arc<dyn Adversary>| !(another_space && adversary.needs().embedder_space);
    let named = match &evaluation.adversaries {
        Attackers::Named(named) => named.as_slice(),
        Attackers::All => &[],
    };
    let wanted = |Needs { own_texts, own_texts_wanted, .. }| own_texts_wanted.max(own_texts);
    let wanted = named.iter().map(|adversary| wanted(adversary.needs())).max().unwrap_or(OWN_PAIRS);
    let spare = texts - samples;
    let own = OwnTextSource::gather(evaluation, corpus, (wanted, spare));
    let room = Room {
        dimension: clean.documents.stored.ncols(),
        // a spare document is either stored or the attacker's own
        stored: if own.is_spare() { texts / 2 } else { texts },
        spare,
        own_texts: own.len(spare),
        has_retrained: evaluation.retrained.is_some(),
    };
    let mut chosen = match &evaluation.adversaries {
        Attackers::Named(named) if !named.is_empty() => named.clone(),
        Attackers::Named(_) => evaluation.registry.defaults(&room),
        Attackers::All => evaluation.registry.all(&room),
    };
    if named.is_empty() {
        chosen.retain(fits);
    }
    for adversary in &chosen {
        possible(evaluation, adversary.as_ref(), &room)?;
        if !fits(adversary) {
            return Err(Error::Setting(format!(
                "`{adversary}` takes the vectors as the embedder makes them, and the attack is on a surrogate's; use \
                 leaked(k) or informed(n)"
            )));
        }
    }
    // what named adversaries must have cannot be attacked
    let reserved = |needs: Needs| needs.leaked_pairs.max(if own.is_spare() { needs.own_texts } else { 0 });
    let reserved = named.iter().map(|adversary| reserved(adversary.needs())).max().unwrap_or(0);
    let means = Means {
        samples,
        documents: texts.saturating_sub(reserved),
        own_texts: room.own_texts,
        own_texts_wanted: wanted.max(evaluation.own_texts_wanted()),
    };
    let are_named = !named.is_empty();
    Ok(Chosen { adversaries: chosen, own, means, are_named })
}

/// Refuses an adversary for whom the corpus is too small.
fn possible<E>(evaluation: &Evaluation<E>, adversary: &dyn Adversary, room: &Room) -> Result<(), Error> {
    let Needs { own_texts, cloud, attack, .. } = adversary.needs();
    let is_untrained = evaluation.retrained.is_none() || evaluation.surrogate.is_some();
    let refusal = if own_texts > room.own_texts {
        format!(
            "needs {own_texts} texts of the attacker's own, and there are {}; give more of them \
             (Evaluation::attacker_texts, --attacker-corpus), or lower the number",
            room.own_texts
        )
    } else if attack.is_retrained() && is_untrained {
        "needs an attack that was trained on protected vectors of the embedder itself: `embosk train attack --defense` \
         makes one, `--retrained` names it"
            .into()
    } else if (1..LEAST_CLOUD).contains(&cloud) {
        format!("needs {LEAST_CLOUD} vectors at least: the shape of fewer says nothing")
    } else if cloud > room.stored {
        format!(
            "reads {cloud} stored vectors, and {} different documents are there for it; lower the number, or take a \
             larger corpus",
            room.stored
        )
    } else {
        return Ok(());
    };
    Err(Error::Setting(format!("`{adversary}` {refusal}")))
}
