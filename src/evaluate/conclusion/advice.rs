use serde::{Deserialize, Serialize};

use super::{AttackStrength, Shortfall};

/// What would make an inconclusive report conclusive, the best first.
///
/// The command line prints the command for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Advice {
    /// Attack more documents: about this many, which the corpus has, would decide.
    MoreSamples(usize),
    /// Take a corpus with more documents, and attack about this many of them.
    MoreDocuments(usize),
    /// Take a corpus with more judged queries: about this many would decide.
    MoreQueries(usize),
    /// Give the attacker more texts of their own, of the stored kind:
    /// [`Evaluation::attacker_texts`](crate::Evaluation::attacker_texts).
    AttackerTexts {
        /// How many they have.
        there: usize,
        /// How many the adversaries and the attack would use.
        wanted: usize,
    },
    /// Use guided search in place of a trained attack alone.
    GuidedSearch,
    /// Train the attack further, on texts of the stored kind.
    FineTune,
    /// Add an adversary that tries to undo keys: `leaked` with this many pairs.
    AttackKey {
        /// How many pairs.
        pairs: usize,
    },
    /// Take a corpus with at least this many documents, and add `leaked` with this many pairs.
    DocumentsToLeak {
        /// How many documents.
        documents: usize,
        /// How many pairs.
        pairs: usize,
    },
    /// Use an attack that was retrained for exactly this stack.
    Retrain {
        /// The stack.
        defense: String,
    },
}

/// What an evaluation has, and might have more of.
#[derive(Debug, Clone, Copy)]
pub(in crate::evaluate) struct Means {
    /// How many documents are attacked.
    pub(in crate::evaluate) samples: usize,
    /// The most documents that could be attacked.
    pub(in crate::evaluate) documents: usize,
    /// The attacker's own texts: how many there are, and how many would be used.
    pub(in crate::evaluate) own_texts: usize,
    pub(in crate::evaluate) own_texts_wanted: usize,
}

/// What to do if these strengths conclude nothing; empty if one is conclusive.
pub(in crate::evaluate) fn advice(strengths: &[AttackStrength], means: Means) -> Vec<Advice> {
    if strengths.iter().any(AttackStrength::is_conclusive) {
        return Vec::new();
    }
    let mut advice = Vec::new();
    advice.extend(strengths.iter().filter_map(|strength| means.deciding(strength)).min().map(|needed| {
        if needed <= means.documents { Advice::MoreSamples(needed) } else { Advice::MoreDocuments(needed) }
    }));
    let retrained = strengths.iter().find_map(|strength| match &strength.shortfall {
        Some(Shortfall::RetrainedTooWeak { defense }) => Some(defense.clone()),
        _ => None,
    });
    if let Some(defense) = retrained {
        advice.push(Advice::Retrain { defense });
        return advice;
    }
    let Means { own_texts: there, own_texts_wanted: wanted, .. } = means;
    if there < wanted {
        advice.push(Advice::AttackerTexts { there, wanted });
    }
    advice.extend([Advice::GuidedSearch, Advice::FineTune]);
    advice
}

/// What to do for the leaks that cannot be read if others can: a stronger search, and more of the corpus's texts.
pub(in crate::evaluate) fn for_others(strengths: &[AttackStrength], means: Means) -> Vec<Advice> {
    let open = || strengths.iter().filter(|strength| !strength.is_conclusive());
    let search = open().any(|strength| strength.reads_outputs).then_some(Advice::GuidedSearch);
    let needed = open().filter_map(|strength| means.deciding(strength));
    let samples = needed.filter(|&needed| needed <= means.documents).max().map(Advice::MoreSamples);
    search.into_iter().chain(samples).collect()
}

impl Means {
    /// About how many texts must be attacked to read a leak; some may have no score. `None` if the leak can be read, or
    /// the number would decide against the attack.
    fn deciding(&self, strength: &AttackStrength) -> Option<usize> {
        match strength.shortfall {
            Some(Shortfall::TooFewTexts { needed }) if strength.gap.value > strength.least_gap => {
                Some((needed * self.samples).div_ceil(strength.n.max(1)))
            }
            _ => None,
        }
    }
}
