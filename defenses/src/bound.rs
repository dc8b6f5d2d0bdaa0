//! What a key determines in one dimension. It is drawn at once, or when the first vectors show the dimension.

use std::sync::{Mutex, OnceLock, PoisonError};

use ndarray::ArrayRef2;

use crate::{Error, Key, check_finite};

/// A rotation's matrix of this size takes 256 MiB and minutes to draw.
const MAX_DIM: usize = 8192;

/// Draws a transform from a key in a dimension that is in range.
type Draw<T> = Box<dyn Fn(&Key, usize) -> T + Send + Sync>;

pub(crate) enum Bound<T> {
    Now(Drawn<T>),
    Deferred {
        key: Key,
        draw: Draw<T>,
        first: OnceLock<Drawn<T>>,
        /// Held while `first` is drawn, so that only one caller draws.
        drawing: Mutex<()>,
    },
}

pub(crate) struct Drawn<T> {
    dim: usize,
    transform: T,
}

impl<T> Bound<T> {
    /// The transform of `dim` dimensions under `key`, drawn now.
    pub(crate) fn now(key: &Key, dim: usize, draw: fn(&Key, usize) -> T) -> Result<Self, Error> {
        drawn(key, dim, &draw).map(Self::Now)
    }

    /// The transform under `key` in the dimension of the first vectors.
    pub(crate) fn deferred(key: &Key, draw: impl Fn(&Key, usize) -> T + Send + Sync + 'static) -> Self {
        Self::Deferred {
            key: key.clone(),
            draw: Box::new(draw),
            first: OnceLock::new(),
            drawing: Mutex::new(()),
        }
    }

    /// The dimension, once there is one.
    pub(crate) fn dim(&self) -> Option<usize> {
        match self {
            Self::Now(drawn) => Some(drawn.dim),
            Self::Deferred { first, .. } => first.get().map(|drawn| drawn.dim),
        }
    }

    /// Returns the transform, if it has been drawn.
    pub(crate) fn get(&self) -> Option<&T> {
        match self {
            Self::Now(drawn) => Some(&drawn.transform),
            Self::Deferred { first, .. } => first.get().map(|drawn| &drawn.transform),
        }
    }

    /// Returns the transform for these vectors, or nothing if there are no rows to bind to.
    pub(crate) fn of(&self, vectors: &ArrayRef2<f32>) -> Result<Option<&T>, Error> {
        check_finite(vectors)?;
        if vectors.nrows() == 0 {
            return Ok(None);
        }
        let drawn = self.drawn(vectors.ncols())?;
        if drawn.dim == vectors.ncols() {
            Ok(Some(&drawn.transform))
        } else {
            Err(Error::Dimension { expected: drawn.dim, found: vectors.ncols() })
        }
    }

    /// Returns what is bound, and binds it if nothing is. If several first batches come at once, one draws, and the
    /// others wait.
    fn drawn(&self, dim: usize) -> Result<&Drawn<T>, Error> {
        match self {
            Self::Now(drawn) => Ok(drawn),
            Self::Deferred { key, draw, first, drawing } => {
                if let Some(drawn) = first.get() {
                    return Ok(drawn);
                }
                let _one = drawing.lock().unwrap_or_else(PoisonError::into_inner);
                match first.get() {
                    Some(drawn) => Ok(drawn),
                    None => drawn(key, dim, draw).map(|drawn| first.get_or_init(|| drawn)),
                }
            }
        }
    }
}

fn drawn<T>(key: &Key, dim: usize, draw: &dyn Fn(&Key, usize) -> T) -> Result<Drawn<T>, Error> {
    if (1..=MAX_DIM).contains(&dim) {
        Ok(Drawn { dim, transform: draw(key, dim) })
    } else {
        Err(Error::Setting { name: "dim", expected: "a whole number from 1 to 8192" })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use ndarray::Array2;

    use super::*;

    #[test]
    fn first_batches_that_come_at_once_draw_once() {
        let drawn = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&drawn);
        let bound = Bound::deferred(&Key::from_bytes([1; 32]), move |_, dim| {
            count.fetch_add(1, Ordering::Relaxed);
            thread::sleep(std::time::Duration::from_millis(50));
            dim
        });
        let vectors = Array2::<f32>::zeros((1, 3));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(bound.of(&vectors).unwrap(), Some(&3)));
            }
        });
        assert_eq!(drawn.load(Ordering::Relaxed), 1);
    }
}
