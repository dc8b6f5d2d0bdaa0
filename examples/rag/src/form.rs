//! How rows look in the store: plain, or protected and sealed.

use std::sync::Arc;

use embosk::defenses::{self, Difference, Refusal};
use embosk::ndarray::{Array2, ArrayView1};
use embosk::{Embedder, Key, Projection, Protected, Role, Sealed, Sealer};
use zeroize::Zeroizing;

use crate::settings::Coarse;
use crate::store::{Candidate, Metric, Protection, Row, Source};
use crate::{Access, Error, Settings};

/// The row that the fit is sealed for.
const FIT: &str = "fit";

/// What is between the application and a space of its store.
pub(crate) enum Form {
    Plain(Arc<dyn Embedder>),
    Protected(Box<UnderKey>),
}

pub(crate) struct UnderKey {
    sealed: Sealed<Arc<dyn Embedder>>,
    coarse: Coarse,
    /// The projection, if there is one.
    fit: Option<Projection>,
}

/// A row that was found, with its score: the higher, the better.
pub(crate) struct Ranked {
    pub(crate) id: String,
    pub(crate) score: f64,
}

impl Form {
    /// The form of a new space. A projection is fitted on the exact vectors of its first chunks, `[chunks, dim]`,
    /// unless rows move from `former`, which has one of as many dimensions.
    pub(crate) fn create(
        access: &Access,
        embedder: Arc<dyn Embedder>,
        exact: &Array2<f32>,
        former: Option<&Self>,
    ) -> Result<(Self, Option<Protection>), Error> {
        let Access::Protected { key, settings } = access else { return Ok((Self::Plain(embedder), None)) };
        let fit = match (settings.coarse, former) {
            (Coarse::Rotated, _) => None,
            (Coarse::Components { dims, .. }, Some(Self::Protected(former)))
                if former.fit.as_ref().is_some_and(|fit| fit.dims() == dims) =>
            {
                former.fit.clone()
            }
            (Coarse::Components { dims, .. }, _) if exact.nrows() <= dims => {
                return Err(Error::TooFewChunks { chunks: exact.nrows(), dims });
            }
            (Coarse::Components { dims, .. }, _) => Some(Projection::fit(exact.view(), dims)?),
        };
        let text = to_text(&fit.as_ref().and_then(Projection::to_bytes).unwrap_or_default());
        let form = UnderKey::new(embedder, fit, key, settings)?;
        let protection = Protection {
            fingerprint: form.sealed.fingerprint(),
            fit: Sealer::new(key).seal_text(FIT, FIT, &text)?,
        };
        Ok((Self::Protected(Box::new(form)), Some(protection)))
    }

    /// The form of a space that exists.
    pub(crate) fn open(
        access: &Access,
        embedder: Arc<dyn Embedder>,
        protection: Option<&Protection>,
    ) -> Result<Self, Error> {
        match (access, protection) {
            (Access::Plain, None) => Ok(Self::Plain(embedder)),
            (Access::Plain, Some(_)) => Err(Error::Protected),
            (Access::Protected { .. }, None) => Err(Error::NotProtected),
            (Access::Protected { key, settings }, Some(protection)) => {
                let fit = open_fit(key, &protection.fit)?;
                check_dims(fit.as_ref(), settings)?;
                let form = UnderKey::new(embedder, fit, key, settings)?;
                let checked = form.sealed.check_fingerprint(&protection.fingerprint);
                let _ = checked.map_err(Error::OtherStack)?;
                Ok(Self::Protected(Box::new(form)))
            }
        }
    }

    /// What the store searches, `[chunks, dim]`, and the exact vectors as they are stored.
    pub(crate) fn documents(
        &self,
        ids: &[String],
        exact: Array2<f32>,
    ) -> Result<(Array2<f32>, Vec<Vec<u8>>), Error> {
        match self {
            Self::Plain(_) => Ok((exact, vec![Vec::new(); ids.len()])),
            Self::Protected(form) => {
                let documents = form.sealed.protect_documents(ids, exact)?;
                Ok((documents.vectors, documents.sealed))
            }
        }
    }

    /// The exact vectors of rows, `[rows, dim]`.
    pub(crate) fn exact(&self, rows: &[Row]) -> Result<Array2<f32>, Error> {
        match self {
            Self::Plain(_) => {
                let mut exact = Array2::zeros((rows.len(), rows.first().map_or(0, |row| row.vector.len())));
                for (mut to, row) in exact.rows_mut().into_iter().zip(rows) {
                    to.assign(&ArrayView1::from(&row.vector));
                }
                Ok(exact)
            }
            Self::Protected(form) => {
                let (ids, sealed): (Vec<_>, Vec<_>) = rows.iter().map(|row| (&row.id, &row.exact)).unzip();
                let opened = form.sealed.sealer().open_vectors(&ids, &sealed);
                opened.map_err(|error| at(|row| &rows[row].id, error.into()))
            }
        }
    }

    /// A source and its rows as `new` stores them, under the same ids.
    ///
    /// Sealed vectors are not rounded again. Coarse vectors stay as they are if both forms make the same of them, so
    /// that nobody gets to see the same vector with other noise.
    pub(crate) fn moved(
        &self,
        new: &Self,
        source: Source,
        rows: Vec<Row>,
    ) -> Result<(Source, Vec<Row>), Error> {
        let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let (vectors, sealed) = match (self, new) {
            _ if rows.is_empty() => Default::default(),
            (Self::Protected(old), Self::Protected(new)) => {
                let pairs: Vec<_> = rows.iter().map(|row| (&row.id, &row.exact)).collect();
                let sealed =
                    old.sealed.rekey(&new.sealed, &pairs).map_err(|error| at(|row| &ids[row], error))?;
                let vectors = if old.makes_the_same_as(new) {
                    rows.iter().map(|row| row.vector.clone()).collect()
                } else {
                    to_rows(&new.sealed.protect_documents(&ids, self.exact(&rows)?)?.vectors)
                };
                (vectors, sealed)
            }
            _ => {
                let (vectors, sealed) = new.documents(&ids, self.exact(&rows)?)?;
                (to_rows(&vectors), sealed)
            }
        };
        let text =
            |id: &str, field: &str, stored: &[u8]| new.seal(id, field, &self.open_text(id, field, stored)?);
        let field = text_of(&source.id);
        let rows = rows.into_iter().zip(vectors).zip(sealed).map(|((row, vector), exact)| {
            let text = text(&row.id, &field, &row.text)?;
            Ok(Row { id: row.id, vector, exact, text })
        });
        let rows = rows.collect::<Result<_, Error>>()?;
        let name = text(&source.id, NAME, &source.name)?;
        let digest = text(&source.id, DIGEST, &source.digest)?;
        Ok((Source { id: source.id, name, digest }, rows))
    }

    /// Finds the best `k` rows for a question. `nearest` asks the store for the rows nearest to a vector.
    pub(crate) fn search(
        &self,
        question: &str,
        k: usize,
        metric: Metric,
        nearest: impl FnOnce(&[f32], usize) -> Result<Vec<Candidate>, Error>,
    ) -> Result<Vec<Ranked>, Error> {
        match self {
            Self::Plain(embedder) => {
                let exact = embedder.embed(Role::Query, &[question]).map_err(embosk::Error::Embedder)?;
                let found = nearest(&exact.row(0).to_vec(), k)?;
                Ok(found
                    .into_iter()
                    .map(|row| Ranked { score: metric.similarity(row.distance), id: row.id })
                    .collect())
            }
            Self::Protected(form) => {
                let sealed = &form.sealed;
                let query = sealed.embed_query(question)?;
                let found = nearest(query.vector(), sealed.candidates().max(k))?;
                let rows: Vec<_> = found.iter().map(|row| (&row.id, &row.exact)).collect();
                let best =
                    sealed.rerank(&query, &rows, k).map_err(|error| at(|row| &found[row].id, error))?;
                Ok(best
                    .iter()
                    .map(|best| Ranked { id: found[best.hit].id.clone(), score: best.score })
                    .collect())
            }
        }
    }

    /// A text as it is stored.
    pub(crate) fn seal(&self, id: &str, field: &str, text: &str) -> Result<Vec<u8>, Error> {
        match self {
            Self::Plain(_) => Ok(text.as_bytes().to_vec()),
            Self::Protected(form) => Ok(form.sealed.seal_text(id, field, text)?),
        }
    }

    /// A text that was stored.
    pub(crate) fn open_text(&self, id: &str, field: &str, stored: &[u8]) -> Result<Zeroizing<String>, Error> {
        match self {
            Self::Plain(_) => Ok(Zeroizing::new(String::from_utf8_lossy(stored).into_owned())),
            Self::Protected(form) => {
                form.sealed.open_text(id, field, stored).map_err(|error| Error::row(id, error))
            }
        }
    }
}

impl UnderKey {
    fn new(
        embedder: Arc<dyn Embedder>,
        fit: Option<Projection>,
        key: &Key,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let stack = settings.stack(fit.as_ref(), key)?;
        Ok(Self { sealed: Protected::new(embedder).with(stack).reranked()?, coarse: settings.coarse, fit })
    }

    /// Whether coarse vectors of one are coarse vectors of the other: a projection without a key does not depend on
    /// which key seals.
    fn makes_the_same_as(&self, other: &Self) -> bool {
        let fit = |form: &Self| form.fit.as_ref().and_then(Projection::to_bytes);
        self.coarse == other.coarse && self.fit.is_some() && fit(self) == fit(other)
    }
}

/// The field of a source's name.
pub(crate) const NAME: &str = "name";

/// The field of the digest of a source's text.
pub(crate) const DIGEST: &str = "digest";

/// The field of a chunk's text. It names the chunk's source, so that the store cannot give it to another file.
pub(crate) fn text_of(source: &str) -> String {
    format!("text of {source}")
}

fn to_rows(vectors: &Array2<f32>) -> Vec<Vec<f32>> {
    vectors.rows().into_iter().map(|row| row.to_vec()).collect()
}

/// Names the row that did not open.
fn at<'a>(id: impl Fn(usize) -> &'a String, error: embosk::Error) -> Error {
    match &error {
        embosk::Error::Defense(defenses::Error::Sealed { row, .. }) => Error::row(id(*row), error),
        _ => error.into(),
    }
}

/// Refuses settings that ask for more coordinates than were fitted, or for a projection where there is none.
fn check_dims(fit: Option<&Projection>, settings: &Settings) -> Result<(), Error> {
    let difference = match (settings.coarse, fit) {
        (Coarse::Components { .. }, None) => {
            Difference::Defenses { stored: "rotation | rerank".into(), found: "projection | rerank".into() }
        }
        (Coarse::Components { dims, .. }, Some(fit)) if dims > fit.dims() => Difference::Setting {
            defense: "projection".into(),
            name: "dims".into(),
            stored: Some(fit.dims().to_string()),
            found: Some(dims.to_string()),
        },
        _ => return Ok(()),
    };
    Err(Error::OtherStack(embosk::Error::Defense(defenses::Error::OtherSpace(difference))))
}

/// The projection, if there is one.
fn open_fit(key: &Key, stored: &[u8]) -> Result<Option<Projection>, Error> {
    let text = Sealer::new(key).open_text(FIT, FIT, stored).map_err(|error| match error {
        defenses::Error::Sealed { refusal: Refusal::OtherKey { sealed, found }, .. } => {
            Error::OtherKey { stored: sealed, given: found }
        }
        other => Error::row(FIT, other.into()),
    })?;
    Ok(if text.is_empty() { None } else { Some(Projection::from_bytes(&from_text(&text))?) })
}

/// Bytes as a text, which is what a sealer seals: each byte is the character of its number.
fn to_text(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(bytes.iter().copied().map(char::from).collect())
}

fn from_text(text: &str) -> Vec<u8> {
    text.chars().filter_map(|letter| u8::try_from(letter).ok()).collect()
}
