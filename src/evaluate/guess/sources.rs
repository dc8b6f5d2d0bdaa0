//! The texts whose facts attackers know: their own, and other documents of the corpus.

use std::borrow::Cow;

use super::pool::Pool;
use super::vocabulary::Vocabulary;
use crate::evaluate::facts::{Fact, by_rule};
use crate::evaluate::records::{Split, generate};
use crate::evaluate::{Corpus, Evaluation};

/// How many texts of each source are read, at most.
const TEXTS: usize = 10_000;

/// Texts and the facts in them.
pub(super) struct Sources<'a> {
    corpus: &'a Corpus,
    /// The attacker's own texts, if they are not documents of the corpus, with their facts.
    own: Vec<(Cow<'a, str>, Vec<Fact>)>,
    pub(super) vocabulary: Vocabulary,
}

impl<'a> Sources<'a> {
    pub(super) fn of<E>(evaluation: &'a Evaluation<E>, corpus: &'a Corpus) -> Self {
        let own: Vec<(Cow<'a, str>, Vec<Fact>)> = match &evaluation.attacker_texts {
            Some((_, texts)) => {
                texts.iter().take(TEXTS).map(|text| (Cow::from(text.as_str()), by_rule(text))).collect()
            }
            None if corpus.is_records() => {
                let records = generate(Split::Train, !evaluation.seed).take(TEXTS);
                records.map(|record| (Cow::from(record.text.clone()), record.labels())).collect()
            }
            None => Vec::new(),
        };
        let texts = own.iter().map(|(text, _)| text.as_ref());
        let vocabulary = Vocabulary::of(texts.chain(corpus.texts().iter().take(TEXTS).map(String::as_str)));
        Self { corpus, own, vocabulary }
    }

    /// The labelled facts of a document or, in a corpus without labels, those that are found by rule.
    pub(super) fn facts_of(&self, document: usize) -> Vec<Fact> {
        match self.corpus.facts() {
            Some(facts) => facts[document].clone(),
            None => by_rule(&self.corpus.texts()[document]),
        }
    }

    pub(super) fn fill(&self, pool: &mut Pool<'_>) {
        pool.add(true, self.own.iter().map(|(text, facts)| (text.as_ref(), facts.clone())));
        let documents = 0..self.corpus.texts().len().min(TEXTS);
        pool.add(
            false,
            documents.map(|document| (self.corpus.texts()[document].as_str(), self.facts_of(document))),
        );
    }
}
