//! What the embedder says about itself, what is assumed if it says nothing, and the warnings for the reader.

use embosk_defenses::{Norms, Role, Stack};
use serde_json::{Map, Value};

use super::clean::Clean;
use super::retrieval::is_unit_norm;
use super::{Corpus, Evaluation};
use crate::Embedder;
use crate::embedder::Normalizer;

/// Says once if the vectors have other norms than one of `stacks` is meant for.
pub(super) fn norm_warning(clean: &Clean, stacks: &[Stack]) -> Option<String> {
    let norms = [(Role::Document, &clean.documents.stored), (Role::Query, &clean.queries)]
        .map(|(role, vectors)| (role, Norms::of(vectors)));
    let of_stack = |stack| norms.iter().find_map(|(role, norms)| norms.as_ref()?.warning(stack, *role));
    stacks.iter().find_map(of_stack)
}

impl<E: Embedder> Evaluation<E> {
    /// The embedder that the attack is for: the surrogate if there is one.
    pub(super) fn attacked(&self) -> &dyn Embedder {
        match &self.surrogate {
            Some(surrogate) => surrogate.as_ref(),
            None => &self.embedder,
        }
    }

    /// How texts are compared: as was set, otherwise as the attacked embedder says, otherwise without regard to case.
    pub(super) fn comparison(&self) -> Normalizer {
        let said = || self.attacked().normalizer();
        let assumed = || Normalizer::new("lowercase (assumed)", str::to_lowercase);
        self.normalizer.clone().or_else(said).unwrap_or_else(assumed)
    }

    /// Names and hashes of the embedders, for the signature.
    pub(super) fn identities(&self) -> Map<String, Value> {
        let named = |name: &str, embedder: &dyn Embedder| {
            let identity = embedder.identity()?;
            Some([(name.to_owned(), identity.name), (format!("{name}_sha256"), identity.hash)])
        };
        let surrogate = self.surrogate.as_ref().and_then(|surrogate| named("surrogate", surrogate.as_ref()));
        let all = named("embedder", &self.embedder).into_iter().chain(surrogate).flatten();
        let vectors = self.given.iter().map(|given| ("vectors_sha256".to_owned(), given.hash()));
        all.chain(vectors).map(|(name, value)| (name, value.into())).collect()
    }

    /// What a reader of the report should know about its embedder, and the caller's caveats.
    pub(super) fn warnings(&self, clean: &Clean) -> Vec<String> {
        let mut warnings = self.caveats.clone();
        warnings.extend(self.embedder.caveats());
        warnings.extend(self.surrogate.iter().flat_map(Embedder::caveats));
        let attacked = self.attacked();
        if self.attack.is_some() && self.normalizer.is_none() && attacked.normalizer().is_none() {
            warnings.push(
                "nothing is known about how the embedder reads text, so texts are compared without regard to case \
                 (assumed): a text that came back in another case counts as recovered; set a \
                 normalizer to compare as the embedder reads"
                    .into(),
            );
        }
        if self.embedder.can_embed()
            && self.embedder.identity().is_none()
            && !self.notes.contains_key("embedder")
        {
            warnings.push(
                "the embedder does not say which one it is, so this report cannot be told from one of another \
                 embedder; give the embedder a name and an identity"
                    .into(),
            );
        }
        let vectors = clean.documents.attackable();
        if attacked.has_unit_norm() == Some(true) && !is_unit_norm(vectors.view()) {
            warnings.push(
                "the embedder says that its vectors have norm 1, but they do not; what attackers make of lengths is \
                 not measured"
                    .into(),
            );
        }
        warnings
    }

    /// Says how many attacked texts are longer than the embedder's window.
    pub(super) fn window_warning(&self, corpus: &Corpus, attacked: &[usize]) -> Option<String> {
        let goes_on = |text: &&String| self.embedder.window(text).is_some_and(|read| read != (0..text.len()));
        let longer = attacked.iter().map(|&document| &corpus.texts()[document]).filter(goes_on).count();
        (longer > 0).then(|| {
            format!(
                "{longer} of {} attacked texts are longer than the embedder's window: the rest of each is in no vector, \
                 and can neither leak nor be found; store such texts in shorter chunks",
                attacked.len()
            )
        })
    }
}
