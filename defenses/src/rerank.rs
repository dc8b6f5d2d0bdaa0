use std::fmt;

use ndarray::ArrayViewMut2;

use crate::spec::{Part, Value};
use crate::{Defense, Error, Guarantee, Key, Precision, Rng, Role, Sealer, Spec, check_finite};

/// How many candidates are opened for each query by default.
pub const CANDIDATES: usize = 200;

/// More candidates than this for each query are refused.
const MOST: usize = 1_000_000;

/// Ends a stack whose candidates are ordered by exact vectors, which are sealed beside the coarse ones.
///
/// # What it does
/// Nothing to a vector. It declares that the exact vector is sealed beside the coarse one that the parts before it
/// make. A search asks the store for `candidates` rows, which the holder of the key opens and orders.
/// `embosk::Protected::sealed` does this in an application, and an evaluation measures it.
///
/// # Who it stops
/// Nobody: that is up to the parts before it. It restores the retrieval that they cost.
///
/// # Who it does not
/// Whoever has the key opens every row. An operator sees which rows a query asks for.
///
/// # What it costs in retrieval
/// Documents that are not among the candidates are lost. Each query moves [`query_bytes`](Self::query_bytes) bytes of
/// sealed vectors.
///
/// # Order in a stack
/// Last, and only once. A stack with another part after it refuses to protect vectors.
///
/// # Fingerprint
/// The key, if there is one: rows that were sealed under another key do not open.
///
/// # Default
/// 200 candidates, and vectors of 8 bits. Without a key, as in an evaluation that stores nothing, nothing can be
/// sealed.
///
/// # Example
/// ```
/// use embosk_defenses::{Defense, Stack};
///
/// let stack: Stack = "gaussian(sigma=0.1) | rerank(candidates=200)".parse()?;
/// assert_eq!(stack.reranking().map(|rerank| rerank.candidates()), Some(200));
///
/// let refused = "rerank(candidates=200) | gaussian(sigma=0.1)".parse::<Stack>().unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "defense spec, character 1: `rerank` must be the last part of a stack; move it behind `gaussian`"
/// );
/// # Ok::<(), embosk_defenses::Error>(())
/// ```
#[derive(Clone)]
pub struct Rerank {
    candidates: usize,
    key: Option<Key>,
    precision: Precision,
}

impl Rerank {
    /// Creates a part that orders this many candidates for each query, from 1 to 1,000,000.
    ///
    /// # Errors
    /// [`Error::Setting`] for another number.
    pub fn new(candidates: usize) -> Result<Self, Error> {
        if (1..=MOST).contains(&candidates) {
            Ok(Self { candidates, ..Self::default() })
        } else {
            Err(Error::Setting { name: "candidates", expected: "a whole number from 1 to 1000000" })
        }
    }

    /// Sets the key under which exact vectors are sealed. Default: none.
    pub fn key(self, key: &Key) -> Self {
        Self { key: Some(key.clone()), ..self }
    }

    /// Sets how exact vectors are rounded before they are sealed. Default: [`Precision::Int8`].
    pub fn precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Returns how many candidates are opened for each query.
    pub fn candidates(&self) -> usize {
        self.candidates
    }

    /// Returns how exact vectors are rounded before they are sealed.
    pub fn rounding(&self) -> Precision {
        self.precision
    }

    /// Returns whether exact vectors are sealed under `key`.
    pub fn is_sealed_under(&self, key: &Key) -> bool {
        self.key.as_ref() == Some(key)
    }

    /// Returns the sealer of rows beside the vectors of `stack`, which may end in this part. `None` without a key.
    pub fn sealer(&self, stack: &dyn Defense) -> Option<Sealer> {
        let key = self.key.as_ref()?;
        Some(Sealer::new(key).precision(self.precision).bound_to(stack))
    }

    /// Returns how many bytes of sealed vectors of `dim` dimensions the store sends for one query.
    pub fn query_bytes(&self, dim: usize) -> usize {
        self.candidates * self.precision.sealed_bytes(dim)
    }

    fn part(&self) -> Part {
        let mut part = Part::new("rerank").with("candidates", self.candidates);
        if let Some(key) = &self.key {
            part = part.with("key", Value::fingerprint(&key.fingerprint()));
        }
        match self.precision {
            Precision::Int8 => part,
            other => part.with("precision", other.name()),
        }
    }
}

impl Default for Rerank {
    fn default() -> Self {
        Self { candidates: CANDIDATES, key: None, precision: Precision::default() }
    }
}

impl Defense for Rerank {
    fn protect(&self, _: Role, vectors: ArrayViewMut2<'_, f32>, _: &mut Rng) -> Result<(), Error> {
        check_finite(&vectors)
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::Isometry
    }

    fn spec(&self) -> Spec {
        self.part().into()
    }

    /// Only the key: documents and queries need not agree on the number of candidates or on how rows are rounded.
    fn space(&self) -> Spec {
        match &self.key {
            Some(key) => Part::new("rerank").with("key", Value::fingerprint(&key.fingerprint())).into(),
            None => Spec::default(),
        }
    }

    /// Nothing was changed.
    fn unprotect(&self, vectors: ArrayViewMut2<'_, f32>) -> Result<(), Error> {
        check_finite(&vectors)
    }

    fn reranking(&self) -> Option<Rerank> {
        Some(self.clone())
    }
}

impl fmt::Display for Rerank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spec().fmt(f)
    }
}

impl fmt::Debug for Rerank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rerank")
            .field("candidates", &self.candidates)
            .field("key", &self.key)
            .field("precision", &self.precision)
            .finish()
    }
}
