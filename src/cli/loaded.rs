//! An embedder named on the command line: in a folder, or behind an address.

use std::fmt;
use std::sync::Arc;

use ndarray::Array2;

use super::error::CliError;
use crate::embedder::{HttpEmbedder, NoEmbedder, SentenceTransformer, Volume, forward};
use crate::{BoxError, Embedder, Role};

/// An embedder, and what verbs need of it.
pub(crate) enum Loaded {
    Local(Box<SentenceTransformer>),
    Remote {
        embedder: Box<HttpEmbedder>,
        /// The hash of its identity.
        hash: String,
    },
    /// No embedder: there are only vectors.
    None(NoEmbedder),
    /// One of the program that this one is a part of.
    Own {
        embedder: Arc<dyn Embedder>,
        /// The hash of its identity, if it states one.
        hash: String,
    },
}

impl Loaded {
    pub(crate) fn local(embedder: SentenceTransformer) -> Self {
        Self::Local(Box::new(embedder))
    }

    pub(crate) fn remote(embedder: HttpEmbedder) -> Self {
        let hash = Embedder::identity(&embedder).map(|identity| identity.hash).unwrap_or_default();
        Self::Remote { embedder: Box::new(embedder), hash }
    }

    pub(crate) fn own(embedder: Arc<dyn Embedder>) -> Self {
        let hash = embedder.identity().map(|identity| identity.hash).unwrap_or_default();
        Self::Own { embedder, hash }
    }

    fn embedder(&self) -> &dyn Embedder {
        match self {
            Self::Local(embedder) => embedder.as_ref(),
            Self::Remote { embedder, .. } => embedder.as_ref(),
            Self::None(nobody) => nobody,
            Self::Own { embedder, .. } => embedder.as_ref(),
        }
    }

    /// The dimension of the vectors.
    pub(crate) fn dimension(&self) -> usize {
        self.embedder().dimension().unwrap_or_default()
    }

    /// The hash by which attacks that were trained on the embedder know it.
    pub(crate) fn hash(&self) -> &str {
        match self {
            Self::Local(embedder) => embedder.hash(),
            Self::Remote { hash, .. } | Self::Own { hash, .. } => hash,
            Self::None(_) => "",
        }
    }

    /// Whether it says which embedder it is.
    pub(crate) fn has_identity(&self) -> bool {
        self.embedder().identity().is_some()
    }

    /// Whether all vectors have norm 1.
    pub(crate) fn is_normalized(&self) -> bool {
        self.embedder().has_unit_norm() == Some(true)
    }

    /// A text as the embedder reads it.
    pub(crate) fn normalize(&self, text: &str) -> String {
        match self {
            Self::Local(embedder) => embedder.normalize(text),
            Self::Remote { .. } | Self::None(_) | Self::Own { .. } => self
                .embedder()
                .normalizer()
                .map_or_else(|| text.to_owned(), |normalizer| normalizer.apply(text)),
        }
    }

    /// The same embedder, but it reads only `tokens` tokens of a text.
    pub(crate) fn max_length(self, tokens: usize) -> Result<Self, CliError> {
        match self {
            Self::Local(embedder) => Ok(Self::local(embedder.max_length(tokens)?)),
            Self::Remote { .. } | Self::None(_) | Self::Own { .. } => Err(CliError::new(
                "--paper has the embedder read as many tokens as the inverter was trained on, and one behind an address \
                 cannot be told; leave --paper out",
            )),
        }
    }

    /// The host that texts are sent to; `None` if they stay on this machine.
    pub(crate) fn host(&self) -> Option<&str> {
        match self {
            Self::Local(_) | Self::None(_) | Self::Own { .. } => None,
            Self::Remote { embedder, .. } => Some(embedder.host()),
        }
    }

    /// What would have been sent so far, in a dry run.
    pub(crate) fn rehearsed(&self) -> Option<Volume> {
        match self {
            Self::Local(_) | Self::None(_) | Self::Own { .. } => None,
            Self::Remote { embedder, .. } => embedder.rehearsed(),
        }
    }
}

impl Embedder for Loaded {
    fn embed(&self, role: Role, texts: &[&str]) -> Result<Array2<f32>, BoxError> {
        self.embedder().embed(role, texts)
    }

    forward!(self => self.embedder());
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loaded({self})")
    }
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(embedder) => embedder.fmt(f),
            Self::Remote { embedder, .. } => embedder.fmt(f),
            Self::None(_) => f.write_str("vectors without an embedder"),
            Self::Own { embedder, .. } => match embedder.identity() {
                Some(identity) => f.write_str(&identity.name),
                None => f.write_str("an embedder without a name"),
            },
        }
    }
}
