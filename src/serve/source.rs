//! Where vectors come from: an upstream, or an embedder that runs here.

use std::fmt;
use std::sync::Arc;

use ndarray::{Array2, s};

use super::error::Refusal;
use super::request::Asked;
use super::upstream::Upstream;
use crate::embedder::embed_checked;
use crate::embedder::wire::{Fault, read_counted};
use crate::{Embedder, Error, Role};

/// Where the server has its vectors from.
#[derive(Debug)]
pub struct Source(pub(super) Kind);

pub(super) enum Kind {
    Upstream(Box<Upstream>),
    Local { embedder: Arc<dyn Embedder>, name: String, hash: String },
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream(upstream) => upstream.fmt(f),
            Self::Local { name, .. } => f.debug_struct("Local").field("name", name).finish_non_exhaustive(),
        }
    }
}

impl Source {
    /// Vectors of a service.
    pub fn upstream(upstream: Upstream) -> Self {
        Self(Kind::Upstream(Box::new(upstream)))
    }

    /// Vectors of an embedder that runs here. Its name is the answers' `model`; a request may ask for any model.
    pub fn local(name: impl Into<String>, embedder: impl Embedder + 'static) -> Self {
        let hash = embedder.identity().map(|identity| identity.hash).unwrap_or_default();
        Self(Kind::Local { embedder: Arc::new(embedder), name: name.into(), hash })
    }

    /// Whether documents and queries are embedded differently, as far as is known here.
    pub(super) fn has_roles(&self, model: &str) -> bool {
        match &self.0 {
            Kind::Upstream(upstream) => upstream.has_roles(model),
            Kind::Local { embedder, .. } => embedder.has_roles(),
        }
    }

    /// Adds to a request what tells an upstream the role.
    pub(super) fn mark(&self, model: &str, role: Role, asked: &mut Asked) -> Result<(), Refusal> {
        match &self.0 {
            Kind::Upstream(upstream) => upstream.mark(model, role, asked),
            Kind::Local { .. } => Ok(()),
        }
    }

    /// The dimension of the vectors, if it is known before there are some.
    pub(super) fn dimension(&self) -> Option<usize> {
        match &self.0 {
            Kind::Upstream(_) => None,
            Kind::Local { embedder, .. } => embedder.dimension(),
        }
    }

    /// The model that a request means: its name in the answer, and what tells its vectors from those of others.
    pub(super) fn model<'a>(&'a self, asked: Option<&'a str>) -> Result<(&'a str, &'a str), Refusal> {
        match &self.0 {
            Kind::Upstream(upstream) => upstream.model(asked).map(|model| (model, model)),
            Kind::Local { name, hash, .. } => Ok((name, hash)),
        }
    }

    /// Identifies the vectors of a model in a role, together with the request.
    pub(super) fn vectors_of(&self, identity: &str, role: Role) -> String {
        match (&self.0, role) {
            (Kind::Local { embedder, .. }, Role::Document) if embedder.has_roles() => {
                format!("{identity}:document")
            }
            (Kind::Local { embedder, .. }, Role::Query) if embedder.has_roles() => {
                format!("{identity}:query")
            }
            // what an upstream is told of the role is part of the request
            _ => identity.to_owned(),
        }
    }

    /// Refuses what a local embedder cannot do.
    pub(super) fn check(&self, asked: &Asked) -> Result<(), Refusal> {
        let Kind::Local { .. } = &self.0 else { return Ok(()) };
        if asked.input.texts().is_none() {
            let why = "`input` is tokens, and the server's own embedder takes texts; send the texts";
            return Err(Refusal::bad("invalid_value", why).param("input"));
        }
        match asked.forwarded.keys().find(|name| *name != "user") {
            None => Ok(()),
            // one of our own list
            Some(name) => Err(Refusal::bad(
                "unsupported_parameter",
                format!(
                    "the field `{name}` is for upstreams, and the server has an embedder of its own; leave it out"
                ),
            )),
        }
    }
}

/// Reads an upstream's answer.
pub(super) fn read(body: &[u8], inputs: usize) -> Result<(Array2<f32>, u64), Refusal> {
    match read_counted(body, inputs) {
        Ok((vectors, tokens)) => Ok((vectors, tokens.unwrap_or_default())),
        Err(Fault::Short) => {
            Err(Refusal::upstream("upstream_incomplete", "the upstream's answer ends in the middle"))
        }
        Err(Fault::Wrong(message)) => {
            Err(Refusal::upstream("upstream_invalid", format!("the upstream: {message}")))
        }
    }
}

/// Embeds texts here, and counts their tokens if the embedder can.
pub(super) fn embed(
    embedder: &dyn Embedder,
    role: Role,
    asked: &Asked,
) -> Result<(Array2<f32>, u64), Refusal> {
    let texts = asked.input.texts().unwrap_or_default();
    let vectors = embed_checked(embedder, role, &texts).map_err(|error| match error {
        Error::Rows { .. } => Refusal::internal("the embedder returned another number of vectors than texts"),
        // what an embedder says may hold the text
        _ => Refusal::internal("the embedder failed"),
    })?;
    Ok((vectors, embedder.token_count(role, &texts).unwrap_or_default() as u64))
}

/// Cuts vectors to the dimensions that were asked for, if the source did not. Cut vectors keep their length.
pub(super) fn cut(vectors: Array2<f32>, asked: Option<usize>) -> Result<Array2<f32>, Refusal> {
    match asked {
        None => Ok(vectors),
        Some(asked) if asked == vectors.ncols() => Ok(vectors),
        Some(asked) if asked > vectors.ncols() => Err(Refusal::bad(
            "invalid_value",
            format!("`dimensions` is {asked}, and the model's vectors have {}", vectors.ncols()),
        )
        .param("dimensions")),
        Some(asked) => {
            let norm = |row: ndarray::ArrayView1<'_, f32>| {
                row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
            };
            let mut short = vectors.slice(s![.., ..asked]).to_owned();
            for (mut row, whole) in short.rows_mut().into_iter().zip(vectors.rows()) {
                let left = norm(row.view());
                if left > 0.0 {
                    let factor = norm(whole) / left;
                    row.mapv_inplace(|value| (f64::from(value) * factor) as f32);
                }
            }
            Ok(short)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn cut_vectors_keep_their_length() {
        let cut_to = |dimensions| cut(array![[3.0, 4.0, 12.0]], dimensions);
        assert_eq!(cut_to(None).unwrap(), cut_to(Some(3)).unwrap());
        let short = cut_to(Some(2)).unwrap();
        assert!((short[[0, 0]] - 7.8).abs() < 1e-5 && (short[[0, 1]] - 10.4).abs() < 1e-5, "{short}");
        assert_eq!(cut_to(Some(4)).unwrap_err().code, "invalid_value");
        assert_eq!(cut(array![[0.0, 1.0]], Some(1)).unwrap(), array![[0.0]]);
    }
}
