//! Says where a corpus is too small for what attackers would use.

use super::adversaries::{Adversary, Needs};
use super::chosen::Chosen;

/// What to give attackers.
pub(super) const GIVE: &str = "give them texts of the kind that is stored, as `attacker_corpus`, or --attacker-corpus FILE on the command line";

impl Chosen {
    /// What attackers lack, and what to give them. Otherwise, a reader of the report would think that they are as
    /// strong as they can be.
    pub(super) fn shortfalls(&self, dimension: usize) -> Vec<String> {
        let texts = self.other_own_texts().or_else(|| self.few_own_texts());
        texts.into_iter().chain(self.few_pairs(2 * dimension)).collect()
    }

    /// Says that built-in sentences replace documents, of which there are too few.
    fn other_own_texts(&self) -> Option<String> {
        self.own.is_built_in().then(|| {
            format!(
                "the corpus has too few documents to spare, so attackers have built-in English sentences for texts of their \
                 own, and the attack learns from the spare documents too; with more texts of the kind that is stored they \
                 may do better, and `membership_tpr` can be scored: {GIVE}"
            )
        })
    }

    fn few_own_texts(&self) -> Option<String> {
        let (there, wanted) = (self.means.own_texts, self.means.own_texts_wanted);
        let uses_them =
            |Needs { own_texts, own_texts_wanted, .. }: &Needs| own_texts.max(own_texts_wanted) > &0;
        let by = self.names(uses_them).unwrap_or_else(|| "the attack".into());
        (there < wanted).then(|| {
            format!(
                "attackers have {there} texts of their own and would use {wanted}, so {by} may be weaker than on a larger \
                 corpus: {GIVE}"
            )
        })
    }

    /// Says that adversaries chosen by what the corpus has lack pairs. A named adversary states its number of pairs.
    fn few_pairs(&self, enough: usize) -> Option<String> {
        let has_few = |needs: &Needs| (1..enough).contains(&needs.leaked_pairs);
        let few = self.names(has_few).filter(|_| !self.are_named)?;
        let samples = self.means.documents.saturating_sub(enough);
        let fewer =
            if samples < 2 { String::new() } else { format!(", or attack {samples} samples at most") };
        Some(format!(
            "{few} has fewer pairs than the {enough} that determine any key (two for each dimension), as the corpus has no \
             more documents to leak; take a larger corpus{fewer}"
        ))
    }

    fn names(&self, of: impl Fn(&Needs) -> bool) -> Option<String> {
        let names = self.adversaries.iter().filter(|adversary| of(&adversary.needs()));
        let names: Vec<String> = names.map(ToString::to_string).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}
