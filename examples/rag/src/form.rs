//! How rows look in the store: plain, or protected and sealed.

use std::sync::Arc;

use embosk::defenses::{self, Difference, Refusal};
use embosk::ndarray::Array2;
use embosk::{Embedder, Key, Projection, Protected, Role, Sealed, Sealer};
use zeroize::Zeroizing;

use crate::store::{Candidate, Protection};
use crate::{Access, Error, Settings};

/// The row that the fit is sealed for.
const FIT: &str = "fit";

/// What is between the application and its store.
pub(crate) enum Form {
    Plain(Arc<dyn Embedder>),
    Protected(Box<Sealed<Arc<dyn Embedder>>>),
}

/// A row that was found, with its score: the higher, the better.
pub(crate) struct Ranked {
    pub(crate) id: String,
    pub(crate) score: f64,
}

impl Form {
    /// The form of a new collection, fitted on the exact vectors of its first chunks, `[chunks, dim]`.
    pub(crate) fn create(
        access: &Access,
        embedder: Arc<dyn Embedder>,
        exact: &Array2<f32>,
    ) -> Result<(Self, Option<Protection>), Error> {
        let Access::Protected { key, settings } = access else { return Ok((Self::Plain(embedder), None)) };
        if exact.nrows() <= settings.dims {
            return Err(Error::TooFewChunks { chunks: exact.nrows(), dims: settings.dims });
        }
        let fit = Projection::fit(exact.view(), settings.dims)?;
        let sealed = sealed(embedder, &fit, key, settings)?;
        let text = to_text(&fit.to_bytes().unwrap_or_default());
        let protection = Protection {
            fingerprint: sealed.fingerprint(),
            fit: Sealer::new(key).seal_text(FIT, FIT, &text)?,
        };
        Ok((Self::Protected(Box::new(sealed)), Some(protection)))
    }

    /// The form of a collection that exists.
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
                if settings.dims > fit.dims() {
                    return Err(other_dims(&fit, settings));
                }
                let sealed = sealed(embedder, &fit, key, settings)?;
                let checked = sealed.check_fingerprint(&protection.fingerprint);
                let _ = checked.map_err(Error::OtherStack)?;
                Ok(Self::Protected(Box::new(sealed)))
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
            Self::Protected(sealed) => {
                let documents = sealed.protect_documents(ids, exact)?;
                Ok((documents.vectors, documents.sealed))
            }
        }
    }

    /// Finds the best `k` rows for a question. `nearest` asks the store for the rows nearest to a vector.
    pub(crate) fn search(
        &self,
        question: &str,
        k: usize,
        nearest: impl FnOnce(&[f32], usize) -> Result<Vec<Candidate>, Error>,
    ) -> Result<Vec<Ranked>, Error> {
        match self {
            Self::Plain(embedder) => {
                let exact = embedder.embed(Role::Query, &[question]).map_err(embosk::Error::Embedder)?;
                let found = nearest(&exact.row(0).to_vec(), k)?;
                Ok(found.into_iter().map(|row| Ranked { id: row.id, score: 1.0 - row.distance }).collect())
            }
            Self::Protected(sealed) => {
                let query = sealed.embed_query(question)?;
                let found = nearest(query.vector(), sealed.candidates().max(k))?;
                let rows: Vec<_> = found.iter().map(|row| (&row.id, &row.exact)).collect();
                let best = sealed.rerank(&query, &rows, k).map_err(|error| at(&found, error))?;
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
            Self::Protected(sealed) => Ok(sealed.seal_text(id, field, text)?),
        }
    }

    /// A text that was stored.
    pub(crate) fn open_text(&self, id: &str, field: &str, stored: &[u8]) -> Result<Zeroizing<String>, Error> {
        match self {
            Self::Plain(_) => Ok(Zeroizing::new(String::from_utf8_lossy(stored).into_owned())),
            Self::Protected(sealed) => {
                sealed.open_text(id, field, stored).map_err(|error| Error::row(id, error))
            }
        }
    }
}

fn sealed(
    embedder: Arc<dyn Embedder>,
    fit: &Projection,
    key: &Key,
    settings: &Settings,
) -> Result<Sealed<Arc<dyn Embedder>>, Error> {
    Ok(Protected::new(embedder).with(settings.stack(fit, key)?).reranked()?)
}

/// Names the row that did not open.
fn at(found: &[Candidate], error: embosk::Error) -> Error {
    match &error {
        embosk::Error::Defense(defenses::Error::Sealed { row, .. }) => Error::row(&found[*row].id, error),
        _ => error.into(),
    }
}

/// Refuses settings that ask for more coordinates than were fitted.
fn other_dims(fit: &Projection, settings: &Settings) -> Error {
    Error::OtherStack(embosk::Error::Defense(defenses::Error::OtherSpace(Difference::Setting {
        defense: "projection".into(),
        name: "dims".into(),
        stored: Some(fit.dims().to_string()),
        found: Some(settings.dims.to_string()),
    })))
}

fn open_fit(key: &Key, stored: &[u8]) -> Result<Projection, Error> {
    let text = Sealer::new(key).open_text(FIT, FIT, stored).map_err(|error| match error {
        defenses::Error::Sealed { refusal: Refusal::OtherKey { sealed, found }, .. } => {
            Error::OtherKey { stored: sealed, given: found }
        }
        other => Error::row(FIT, other.into()),
    })?;
    Ok(Projection::from_bytes(&from_text(&text))?)
}

/// Bytes as a text, which is what a sealer seals: each byte is the character of its number.
fn to_text(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(bytes.iter().copied().map(char::from).collect())
}

fn from_text(text: &str) -> Vec<u8> {
    text.chars().filter_map(|letter| u8::try_from(letter).ok()).collect()
}
