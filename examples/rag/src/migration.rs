//! Rows that move to another key, or from none to one, while questions are answered.

use std::sync::Arc;

use embosk::Embedder;
use embosk::ndarray::{Array2, Axis, concatenate};

use crate::collection::opened;
use crate::store::{Space, Store};
use crate::{Access, Collection, Error};

/// The projection is fitted on the first files, up to about this many rows.
const SAMPLE: usize = 10_000;

impl<S: Store> Collection<S> {
    /// Begins to move a collection from one access to another: from none to a key, to another key, or to other
    /// settings. Continues a move that was begun before.
    ///
    /// Call [`advance`](Self::advance) until nothing is left. The collection answers questions and accepts
    /// documents throughout. Its rows keep their ids.
    ///
    /// # Errors
    /// As [`open`](Self::open), from either access; [`Error::TooFewChunks`] or [`Error::NoTexts`] if a projection cannot
    /// be fitted.
    pub fn migrate(store: S, embedder: Arc<dyn Embedder>, from: &Access, to: &Access) -> Result<Self, Error> {
        let mut collection = Self::open_both(store, embedder, from, to)?;
        if let [(space, _)] = &collection.spaces[..]
            && opened(&collection.store, space, &collection.embedder, to).is_err()
        {
            let exact = collection.sample()?;
            collection.begin(to, &exact)?;
        }
        Ok(collection)
    }

    /// Opens a collection before, during or after its move from one access to another.
    ///
    /// # Errors
    /// As [`open`](Self::open), from either access.
    pub fn open_both(
        store: S,
        embedder: Arc<dyn Embedder>,
        from: &Access,
        to: &Access,
    ) -> Result<Self, Error> {
        let open = |space: &Space, access: &Access| opened(&store, space, &embedder, access);
        let spaces = match &store.spaces()?[..] {
            [] => return Err(Error::NoCollection),
            [space] => vec![open(space, to).or_else(|_| open(space, from))?],
            [old, new, ..] => vec![open(old, from)?, open(new, to)?],
        };
        Ok(Self { store, embedder, spaces })
    }

    /// Moves up to `most` files, each whole or not at all, and returns how many are left.
    ///
    /// # Errors
    /// [`Error::Row`] if a row does not open, and what the store returns. What was moved before stays moved.
    pub fn advance(&mut self, most: usize) -> Result<usize, Error> {
        let [(Space { id, .. }, _), _] = self.spaces[..] else { return Ok(0) };
        let left = match self.step(most) {
            // another process has moved the last file
            Err(_) if !self.store.spaces()?.iter().any(|space| space.id == id) => 0,
            left => left?,
        };
        if left == 0 {
            self.spaces.remove(0);
        }
        Ok(left)
    }

    fn step(&mut self, most: usize) -> Result<usize, Error> {
        let [(from, old), (to, new)] = &self.spaces[..] else { return Ok(0) };
        let mut sources = self.store.sources(from)?;
        let left = sources.split_off(most.min(sources.len())).len();
        for source in sources {
            let (id, rows) = (source.id.clone(), self.store.rows(from, &source.id)?);
            let (source, rows) = old.moved(new, source, rows)?;
            // a file that an ingestion has replaced meanwhile is not there any more
            let _ = self.store.replace(Some((from, &id)), to, &source, &rows)?;
        }
        // what was stored under the old key meanwhile is still to be moved
        Ok(if left == 0 && self.store.remove(from)? { 0 } else { left.max(1) })
    }

    /// The exact vectors of the first files, `[rows, dim]`.
    fn sample(&self) -> Result<Array2<f32>, Error> {
        let Some((space, form)) = self.spaces.first() else { return Err(Error::NoCollection) };
        let (mut parts, mut rows) = (Vec::new(), 0);
        for source in self.store.sources(space)? {
            let part = self.store.rows(space, &source.id)?;
            if !part.is_empty() {
                rows += part.len();
                parts.push(form.exact(&part)?);
            }
            if rows >= SAMPLE {
                break;
            }
        }
        let parts: Vec<_> = parts.iter().map(|part| part.view()).collect();
        concatenate(Axis(0), &parts).map_err(|_| Error::NoTexts)
    }
}
