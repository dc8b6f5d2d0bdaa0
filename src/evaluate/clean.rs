//! The undefended vectors: of documents, of queries, and of the attacker's own texts.

use std::collections::HashSet;

use ndarray::{Array2, Axis};

use super::oracle::embed_all;
use super::records::{Split, generate};
use super::{Corpus, Evaluation};
use crate::embedder::check_finite;
use crate::{Embedder, Error, Role};

/// All that is embedded before anything is protected.
pub(super) struct Clean {
    pub(super) documents: TextVectors,
    pub(super) queries: Array2<f32>,
    /// Of the attacker's own texts, of the kind that is stored; without rows until they are needed.
    pub(super) own: TextVectors,
    /// These texts, row by row.
    own_texts: Vec<String>,
    /// Whether these are documents too, though not attacked ones.
    pub(super) own_is_spare: bool,
}

/// The vectors of some texts, `[texts, dim]`.
pub(super) struct TextVectors {
    /// By the embedder that is defended.
    pub(super) stored: Array2<f32>,
    /// By the one that the attack is for, where that is a surrogate.
    surrogate: Option<Array2<f32>>,
}

impl TextVectors {
    /// By the embedder that the attack is for.
    pub(super) fn attackable(&self) -> &Array2<f32> {
        self.surrogate.as_ref().unwrap_or(&self.stored)
    }

    /// Whether that is a surrogate.
    pub(super) fn has_surrogate(&self) -> bool {
        self.surrogate.is_some()
    }

    /// Embeds documents.
    fn embed<E: Embedder>(evaluation: &Evaluation<E>, what: &str, texts: &[String]) -> Result<Self, Error> {
        let stored = embed(evaluation, &evaluation.embedder, Role::Document, what, texts)?;
        let surrogate = match &evaluation.surrogate {
            Some(embedder) => {
                let what = format!("{what} by the surrogate");
                Some(embed(evaluation, embedder.as_ref(), Role::Document, &what, texts)?)
            }
            None => None,
        };
        Ok(Self { stored, surrogate })
    }

    fn select(&self, rows: &[usize]) -> Self {
        let select = |vectors: &Array2<f32>| vectors.select(Axis(0), rows);
        Self { stored: select(&self.stored), surrogate: self.surrogate.as_ref().map(select) }
    }
}

impl Clean {
    /// Embeds documents and queries.
    pub(super) fn embed<E: Embedder>(evaluation: &Evaluation<E>, corpus: &Corpus) -> Result<Self, Error> {
        let documents = TextVectors::embed(evaluation, "documents", corpus.texts())?;
        let queries = match corpus.queries() {
            [] => Array2::zeros((0, documents.stored.ncols())),
            queries => embed(evaluation, &evaluation.embedder, Role::Query, "queries", queries)?,
        };
        if queries.ncols() != documents.stored.ncols() {
            return Err(Error::Embedder(
                "the queries' vectors differ in dimension from the documents'".into(),
            ));
        }
        let own = documents.select(&[]);
        Ok(Self { documents, queries, own, own_texts: Vec::new(), own_is_spare: false })
    }

    /// Embeds the attacker's own texts, or takes the vectors of `spare` documents for them.
    pub(super) fn embed_own<E: Embedder>(
        self,
        evaluation: &Evaluation<E>,
        own: &OwnTextSource,
        (corpus, spare): (&Corpus, &[usize]),
    ) -> Result<Self, Error> {
        let own_is_spare = own.is_spare();
        let (own, own_texts) = match own {
            OwnTextSource::Texts(texts) if texts.is_empty() => return Ok(self),
            OwnTextSource::Texts(texts) => {
                (TextVectors::embed(evaluation, "the attacker's texts", texts)?, texts.clone())
            }
            OwnTextSource::Spare => {
                let texts = spare.iter().map(|&document| corpus.texts()[document].clone()).collect();
                (self.documents.select(spare), texts)
            }
        };
        Ok(Self { own, own_texts, own_is_spare, ..self })
    }

    /// The attacker's own texts as an attack is given them; none where there are none.
    pub(super) fn own_texts(&self) -> Result<Option<embosk_attacks::OwnTexts<'_>>, Error> {
        if self.own_texts.is_empty() {
            return Ok(None);
        }
        Ok(Some(embosk_attacks::OwnTexts::new(&self.own_texts, self.own.attackable().view())?))
    }
}

/// Where the attacker's own texts are from.
pub(super) enum OwnTextSource {
    /// Other texts than the corpus': a stored one would be half a pair.
    Texts(Vec<String>),
    /// The documents that are not attacked.
    Spare,
}

impl OwnTextSource {
    /// Gathers up to `wanted` texts, or as many as the attacks want: those that the evaluation was given, records
    /// where the corpus is made of them, or else spare documents.
    pub(super) fn gather<E: Embedder>(evaluation: &Evaluation<E>, corpus: &Corpus, wanted: usize) -> Self {
        let comparison = evaluation.comparison();
        let normalize = |text: &str| comparison.apply(text);
        let mut seen: HashSet<String> = corpus.texts().iter().map(|text| normalize(text)).collect();
        let attacks = evaluation.attack.iter().chain(&evaluation.retrained);
        let by_attacks = attacks.map(|attack| attack.own_texts_wanted()).max().unwrap_or(0);
        let wanted = wanted.max(by_attacks);
        let mut take = |texts: &mut dyn Iterator<Item = String>| {
            Self::Texts(texts.filter(|text| seen.insert(normalize(text))).take(wanted).collect())
        };
        match (&evaluation.attacker_texts, corpus.is_records()) {
            (Some((_, texts)), _) => take(&mut texts.iter().cloned()),
            (None, true) => take(&mut generate(Split::Train, !evaluation.seed).map(|record| record.text)),
            (None, false) => Self::Spare,
        }
    }

    /// How many there are, where `spare` documents are not attacked.
    pub(super) fn len(&self, spare: usize) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Spare => spare,
        }
    }

    pub(super) fn is_spare(&self) -> bool {
        matches!(self, Self::Spare)
    }

    /// What a signature calls them.
    pub(super) fn name<E>(&self, evaluation: &Evaluation<E>) -> String {
        match (self, &evaluation.attacker_texts) {
            (Self::Spare, _) => "spare documents".into(),
            (Self::Texts(texts), Some((name, _))) => format!("{name}:{}", texts.len()),
            (Self::Texts(texts), None) => format!("records of the training split:{}", texts.len()),
        }
    }

    /// The SHA-256 of the texts, in hexadecimal; of spare documents, which the corpus' covers, none.
    pub(super) fn hash(&self) -> Option<String> {
        match self {
            Self::Texts(texts) if !texts.is_empty() => Some(Corpus::passages("own", texts.clone()).hash()),
            _ => None,
        }
    }
}

fn embed<E>(
    evaluation: &Evaluation<E>,
    embedder: &dyn Embedder,
    role: Role,
    what: &str,
    texts: &[String],
) -> Result<Array2<f32>, Error> {
    let tell = |done| (evaluation.progress)(&format!("embedding {what}: {done} of {}", texts.len()));
    tell(0);
    let Some(cache) = &evaluation.cache else { return embed_all(embedder, role, texts, tell) };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    check_finite(cache.embed(embedder, role, &texts, tell)?)
}
