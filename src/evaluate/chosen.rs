//! Which adversaries an evaluation runs, and whether the corpus has what they need.

use super::adversary::{Adversary, CLOUD, OWN_PAIRS};
use super::clean::{Clean, OwnTexts};
use super::{Adversaries, Corpus, Evaluation};
use crate::{Embedder, Error};

/// The adversaries to run, and the texts that they have themselves.
pub(super) fn adversaries<E: Embedder>(
    evaluation: &Evaluation<E>,
    corpus: &Corpus,
    clean: &Clean,
    (samples, texts): (usize, usize),
) -> Result<(Vec<Adversary>, OwnTexts), Error> {
    let dimension = clean.documents.stored.ncols();
    let another_space = clean.documents.has_surrogate();
    let spare = texts - samples;
    let fits = |adversary: &Adversary| !(another_space && adversary.stays_in_the_space());
    let gather = |adversaries: &[Adversary]| OwnTexts::gather(evaluation, corpus, adversaries);
    let (chosen, own) = match &evaluation.adversaries {
        Adversaries::Named(named) if !named.is_empty() => (named.clone(), gather(named)),
        of_ours => {
            let own = gather(&[Adversary::Informed(OWN_PAIRS)]);
            let mut chosen = match of_ours {
                Adversaries::Named(_) => Adversary::defaults(dimension, spare, own.len(spare)),
                Adversaries::Every => {
                    let documents = if own.is_spare() { texts / 2 } else { texts };
                    let texts = (documents, spare, own.len(spare));
                    Adversary::every(dimension, texts, evaluation.retrained.is_some())
                }
            };
            chosen.retain(fits);
            (chosen, own)
        }
    };
    for &adversary in &chosen {
        possible(evaluation, adversary, &own, texts, spare)?;
        if !fits(&adversary) {
            return Err(Error::Setting(format!(
                "`{adversary}` takes the vectors as the embedder makes them, and the attack is on a surrogate's; use \
                 leaked(k) or informed(n)"
            )));
        }
    }
    Ok((chosen, own))
}

fn possible<E>(
    evaluation: &Evaluation<E>,
    adversary: Adversary,
    own: &OwnTexts,
    texts: usize,
    spare: usize,
) -> Result<(), Error> {
    let refuse = |message: String| Err(Error::Setting(message));
    let (needed, available) = (adversary.own_texts_needed(), own.len(spare));
    if needed > available {
        return refuse(format!(
            "`{adversary}` needs {needed} texts of the attacker's own, and there are {available}; name more of them, or \
             lower the number"
        ));
    }
    match adversary {
        it if it.is_retrained() && (evaluation.retrained.is_none() || evaluation.surrogate.is_some()) => {
            refuse(format!(
                "`{it}` needs an attack that was trained on protected vectors of the embedder itself: `embosk train \
                 --defense` makes one, `--retrained` names it"
            ))
        }
        Adversary::RetrainedAfter(undoing) => possible(evaluation, undoing.adversary(), own, texts, spare),
        Adversary::Unpaired(vectors) if vectors < CLOUD => {
            refuse(format!("`{adversary}` needs {CLOUD} vectors at least: the shape of fewer says nothing"))
        }
        Adversary::Unpaired(vectors) => {
            // a spare document is either stored or the attacker's own
            let room = if own.is_spare() { texts / 2 } else { texts };
            if vectors <= room {
                return Ok(());
            }
            refuse(format!(
                "`{adversary}` reads {vectors} stored vectors, and {room} different documents are there for it; lower \
                 the number, or take a larger corpus"
            ))
        }
        _ => Ok(()),
    }
}
