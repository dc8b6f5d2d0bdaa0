//! The undefended vectors: of documents, of queries, and of the attacker's own texts.

use std::collections::HashSet;
use std::sync::OnceLock;

use ndarray::{Array2, Axis};

use embosk_attacks::guided::LANGUAGE_TEXTS;

use super::english::{self, english};
use super::given;
use super::oracle::embed_all;
use super::records::{Split, generate};
use super::retrieval::Hits;
use super::{Corpus, Evaluation};
use crate::embedder::check_finite;
use crate::{Embedder, Error, Role};

/// Fewer spare documents than this teach an attack too few words.
const FEW: usize = 2_000;

/// Everything that is embedded before anything is protected.
pub(super) struct Clean {
    pub(super) documents: TextVectors,
    pub(super) queries: Array2<f32>,
    /// The vectors of the attacker's own texts, which are of the stored kind; without rows until they are needed.
    pub(super) own: TextVectors,
    /// What an attack learns from: these texts, row by row, or more of them, with vectors of their own.
    taught: Taught,
    /// Texts without vectors that an attack learns language from.
    language: Vec<String>,
    /// Whether these are documents too, but not attacked ones.
    pub(super) own_is_spare: bool,
    /// Whether these are sentences that come with the program, and so of another kind than the stored ones.
    pub(super) own_is_built_in: bool,
    /// What an undefended search finds first for each query, once it has been computed.
    pub(super) found: OnceLock<Vec<Hits>>,
}

/// Texts that an attack learns from.
#[derive(Default)]
struct Taught {
    texts: Vec<String>,
    /// Their vectors, if they are not the attacker's own texts alone, `[texts, dim]`.
    vectors: Option<Array2<f32>>,
}

/// The vectors of some texts, `[texts, dim]`.
pub(super) struct TextVectors {
    /// The vectors of the embedder that is defended.
    pub(super) stored: Array2<f32>,
    /// The vectors of the embedder that the attack is for, if that is a surrogate.
    surrogate: Option<Array2<f32>>,
}

impl TextVectors {
    /// The vectors of the embedder that the attack is for.
    pub(super) fn attackable(&self) -> &Array2<f32> {
        self.surrogate.as_ref().unwrap_or(&self.stored)
    }

    /// Whether that embedder is a surrogate.
    pub(super) fn has_surrogate(&self) -> bool {
        self.surrogate.is_some()
    }

    /// Takes the vectors of documents as they are.
    fn given<E: Embedder>(
        evaluation: &Evaluation<E>,
        corpus: &Corpus,
        stored: Array2<f32>,
    ) -> Result<Self, Error> {
        if evaluation.embedder.can_embed() {
            given::check_embedder(evaluation, corpus, &stored)?;
        }
        Self::with_surrogate(evaluation, "documents", corpus.texts(), stored)
    }

    /// Embeds documents.
    fn embed<E: Embedder>(evaluation: &Evaluation<E>, what: &str, texts: &[String]) -> Result<Self, Error> {
        let stored = embed(evaluation, &evaluation.embedder, Role::Document, what, texts)?;
        Self::with_surrogate(evaluation, what, texts, stored)
    }

    fn with_surrogate<E: Embedder>(
        evaluation: &Evaluation<E>,
        what: &str,
        texts: &[String],
        stored: Array2<f32>,
    ) -> Result<Self, Error> {
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
        let documents = match &evaluation.given {
            Some(given) => TextVectors::given(evaluation, corpus, given.documents(corpus)?)?,
            None => TextVectors::embed(evaluation, "documents", corpus.texts())?,
        };
        let given = evaluation.given.as_ref().map(|given| given.queries(corpus)).transpose()?.flatten();
        let queries = match (given, corpus.queries()) {
            (Some(given), _) => given,
            (None, []) => Array2::zeros((0, documents.stored.ncols())),
            (None, queries) => embed(evaluation, &evaluation.embedder, Role::Query, "queries", queries)?,
        };
        if queries.ncols() != documents.stored.ncols() {
            return Err(Error::Embedder(
                "the queries' vectors differ in dimension from the documents'".into(),
            ));
        }
        let own = documents.select(&[]);
        Ok(Self {
            documents,
            queries,
            own,
            taught: Taught::default(),
            language: Vec::new(),
            own_is_spare: false,
            own_is_built_in: false,
            found: OnceLock::new(),
        })
    }

    /// Embeds the attacker's own texts, or takes the vectors of `spare` documents in their place.
    pub(super) fn embed_own<E: Embedder>(
        self,
        evaluation: &Evaluation<E>,
        own: &OwnTextSource,
        (corpus, spare): (&Corpus, &[usize]),
    ) -> Result<Self, Error> {
        let (own_is_spare, own_is_built_in) = (own.is_spare(), own.is_built_in());
        let spare_texts = || spare.iter().map(|&document| corpus.texts()[document].clone());
        let teaches_spare = own.teaches_spare();
        let language = match own {
            OwnTextSource::Texts { language, .. } => language.clone(),
            OwnTextSource::Spare => Vec::new(),
        };
        let (own, texts) = match own {
            OwnTextSource::Texts { texts, .. } if texts.is_empty() => return Ok(self),
            OwnTextSource::Texts { texts, .. } => {
                (TextVectors::embed(evaluation, "the attacker's texts", texts)?, texts.clone())
            }
            OwnTextSource::Spare => (self.documents.select(spare), spare_texts().collect()),
        };
        let taught = if teaches_spare {
            let spare = self.documents.attackable().select(Axis(0), spare);
            let vectors = ndarray::concatenate![Axis(0), own.attackable().view(), spare];
            Taught { texts: texts.into_iter().chain(spare_texts()).collect(), vectors: Some(vectors) }
        } else {
            Taught { texts, vectors: None }
        };
        Ok(Self { own, taught, language, own_is_spare, own_is_built_in, ..self })
    }

    /// The texts that an attack learns from, with the vectors of its embedder; `None` if there are none.
    pub(super) fn taught(&self) -> Result<Option<embosk_attacks::OwnTexts<'_>>, Error> {
        let Taught { texts, vectors } = &self.taught;
        if texts.is_empty() {
            return Ok(None);
        }
        let vectors = vectors.as_ref().unwrap_or_else(|| self.own.attackable());
        Ok(Some(embosk_attacks::OwnTexts::new(texts, vectors.view())?))
    }

    /// Texts without vectors that an attack learns language from.
    pub(super) fn language(&self) -> &[String] {
        &self.language
    }
}

impl<E> Evaluation<E> {
    /// How many of the attacker's own texts the attacks use.
    pub(super) fn own_texts_wanted(&self) -> usize {
        let attacks = self.attack.iter().chain(&self.retrained);
        attacks.map(|attack| attack.own_texts_wanted()).max().unwrap_or(0)
    }
}

/// Where the attacker's own texts are from.
pub(super) enum OwnTextSource {
    /// Texts from outside the corpus: a stored one would be half a pair.
    Texts {
        name: String,
        texts: Vec<String>,
        /// More of them, which nobody embeds.
        language: Vec<String>,
        /// Whether they are sentences that come with the program.
        are_built_in: bool,
    },
    /// The documents that are not attacked.
    Spare,
}

impl OwnTextSource {
    /// Gathers up to `wanted` texts, or as many as the attacks want: those that the evaluation was given, records if
    /// the corpus is made of them, or otherwise `spare` documents. An attack that learns from the attacker's own
    /// texts gets built-in sentences if there are few spare documents, and learns from these documents as well.
    pub(super) fn gather<E: Embedder>(
        evaluation: &Evaluation<E>,
        corpus: &Corpus,
        (wanted, spare): (usize, usize),
    ) -> Self {
        if !evaluation.embedder.can_embed() {
            return Self::Spare;
        }
        let by_attacks = evaluation.own_texts_wanted();
        let are_built_in = evaluation.attacker_texts.is_none() && !corpus.is_records();
        let (name, mut texts): (&str, Box<dyn Iterator<Item = String> + '_>) =
            match (&evaluation.attacker_texts, corpus.is_records()) {
                (Some((name, texts)), _) => (name, Box::new(texts.iter().cloned())),
                (None, true) => {
                    let records = generate(Split::Train, !evaluation.seed).map(|record| record.text);
                    ("records of the training split", Box::new(records))
                }
                (None, false) if by_attacks > spare && spare < FEW => {
                    (english::NAME, Box::new(english().into_iter()))
                }
                (None, false) => return Self::Spare,
            };
        let comparison = evaluation.comparison();
        let mut seen: HashSet<String> = corpus.texts().iter().map(|text| comparison.apply(text)).collect();
        let mut rest = texts.by_ref().filter(|text| seen.insert(comparison.apply(text)));
        let texts: Vec<String> = rest.by_ref().take(wanted.max(by_attacks)).collect();
        // records never end
        let are_given = by_attacks > 0 && evaluation.attacker_texts.is_some();
        let language: Vec<String> = if are_given { rest.take(LANGUAGE_TEXTS).collect() } else { Vec::new() };
        let more = match (spare, language.len()) {
            (1.., _) if are_built_in => {
                format!("; the attack learns from {spare} spare documents too")
            }
            (_, 1..) => format!("; the attack learns language from {} more", language.len()),
            _ => String::new(),
        };
        Self::Texts { name: format!("{name}:{}{more}", texts.len()), texts, language, are_built_in }
    }

    /// How many there are, if `spare` documents are not attacked.
    pub(super) fn len(&self, spare: usize) -> usize {
        match self {
            Self::Texts { texts, .. } => texts.len(),
            Self::Spare => spare,
        }
    }

    pub(super) fn is_spare(&self) -> bool {
        matches!(self, Self::Spare)
    }

    /// Whether an attack learns from the documents that are not attacked as well: the few there are of the stored kind.
    pub(super) fn teaches_spare(&self) -> bool {
        self.is_built_in()
    }

    /// Whether they are sentences that come with the program.
    pub(super) fn is_built_in(&self) -> bool {
        matches!(self, Self::Texts { are_built_in: true, .. })
    }

    /// What a signature calls them.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Spare => "spare documents",
            Self::Texts { name, .. } => name,
        }
    }

    /// The SHA-256 of the texts, in hexadecimal; `None` for spare documents, which the corpus's hash covers.
    pub(super) fn hash(&self) -> Option<String> {
        match self {
            Self::Texts { texts, language, .. } if !texts.is_empty() => {
                let all = texts.iter().chain(language).cloned().collect();
                Some(Corpus::passages("own", all).hash())
            }
            _ => None,
        }
    }
}

pub(super) fn embed<E>(
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
