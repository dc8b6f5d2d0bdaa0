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
    /// Use an attack that was retrained for exactly this stack.
    Retrain {
        /// The stack.
        defense: String,
    },
}

/// What an evaluation has, and might have more of.
#[derive(Debug, Clone, Copy)]
pub(in crate::evaluate) struct Means {
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
    let needed = strengths.iter().filter_map(|strength| match &strength.shortfall {
        // a number that decides against the attack is of no use
        Some(Shortfall::TooFewTexts { needed }) if strength.gap.value > strength.least_gap => Some(*needed),
        _ => None,
    });
    advice.extend(needed.min().filter(|&needed| needed <= means.documents).map(Advice::MoreSamples));
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
