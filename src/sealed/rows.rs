//! What goes to the store, what stays in the process, and what a search returns.

use std::fmt;

use ndarray::Array2;
use zeroize::Zeroizing;

/// One document: what the store searches, and what only the holder of the key can open.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Document {
    /// The protected vector, for the store's index.
    pub vector: Vec<f32>,
    /// The exact vector, sealed, to be stored beside it.
    pub sealed: Vec<u8>,
}

/// Documents in the order in which they were given.
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Documents {
    /// The protected vectors, `[documents, dim]`, for the store's index.
    pub vectors: Array2<f32>,
    /// The exact vectors, sealed, one for each document.
    pub sealed: Vec<Vec<u8>>,
}

impl Documents {
    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.sealed.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sealed.is_empty()
    }
}

impl IntoIterator for Documents {
    type Item = Document;
    type IntoIter = std::vec::IntoIter<Document>;

    fn into_iter(self) -> Self::IntoIter {
        let rows = self.vectors.rows().into_iter().zip(self.sealed);
        let rows = rows.map(|(vector, sealed)| Document { vector: vector.to_vec(), sealed });
        rows.collect::<Vec<_>>().into_iter()
    }
}

/// A query: its protected vector goes to the store, its exact one stays in the process and is wiped from memory
/// when the query is dropped.
#[derive(Clone)]
pub struct Query {
    vector: Vec<f32>,
    exact: Zeroizing<Vec<f32>>,
}

impl Query {
    pub(super) fn new(vector: Vec<f32>, exact: Zeroizing<Vec<f32>>) -> Self {
        Self { vector, exact }
    }

    /// Returns the protected vector, for the store.
    pub fn vector(&self) -> &[f32] {
        &self.vector
    }

    pub(super) fn exact(&self) -> &[f32] {
        &self.exact
    }
}

/// A row that the store found, with the score of its exact vector.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Ranked {
    /// The row's place in what the store returned, counted from 0.
    pub hit: usize,
    /// How similar the exact vectors are; higher is more similar.
    pub score: f64,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("dim", &self.vector.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Documents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Documents").field("shape", &self.vectors.shape()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query").field("dim", &self.vector.len()).finish_non_exhaustive()
    }
}
