//! Processes the rows of a batch on several threads, if the feature `rayon` is on.
//!
//! Results are the same for any number of threads: each piece of a batch begins at a multiple of a fixed number of
//! rows, and its result depends on nothing but that place.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::thread;

use ndarray::{ArrayView2, ArrayViewMut2, Axis};

/// The least numbers in a piece; fewer are not worth a thread.
const PIECE: usize = 1 << 15;

/// What can be cut between two rows.
pub(crate) trait Rows: Send + Sized {
    fn count(&self) -> usize;
    /// The rows before `row`, and the others.
    fn split(self, row: usize) -> (Self, Self);
}

/// Calls `work` with each piece of `rows` and the number of its first row. Each piece but the last has a multiple of
/// `multiple` rows; a row has `dim` numbers. Of several errors, the first row's is returned.
pub(crate) fn by_pieces<R: Rows, E: Send>(
    rows: R,
    dim: usize,
    multiple: usize,
    work: impl Fn(usize, R) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let piece = PIECE.div_ceil(dim.max(1)).next_multiple_of(multiple.max(1));
    cut(0, rows, piece, &work)
}

/// As [`by_pieces`], for work that cannot fail.
pub(crate) fn for_pieces<R: Rows>(rows: R, dim: usize, multiple: usize, work: impl Fn(usize, R) + Sync) {
    let Ok(()) = by_pieces(rows, dim, multiple, |first, rows| {
        work(first, rows);
        Ok::<_, Infallible>(())
    });
}

/// Calls `work` as [`for_pieces`] does, with pieces of `multiple` rows, on threads of its own instead of rayon's. The
/// caller may hold a lock, and a waiting thread of rayon would take other work that may need the same lock.
pub(crate) fn for_pieces_apart<R: Rows>(rows: R, multiple: usize, work: impl Fn(usize, R) + Sync) {
    let mut pieces = Vec::new();
    let (mut first, mut rest) = (0, rows);
    while rest.count() > multiple {
        let (piece, after) = rest.split(multiple);
        pieces.push((first, piece));
        (first, rest) = (first + multiple, after);
    }
    pieces.push((first, rest));
    let threads = threads().min(pieces.len());
    // the last pieces take the longest, and come first
    let queue = Mutex::new(pieces);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work_off = || {
        while let Some((first, piece)) = next() {
            work(first, piece);
        }
    };
    thread::scope(|scope| {
        // where the system grants no thread, this one does all the work
        (1..threads).for_each(|_| drop(thread::Builder::new().spawn_scoped(scope, work_off)));
        work_off();
    });
}

#[cfg(feature = "rayon")]
fn threads() -> usize {
    rayon::current_num_threads()
}

#[cfg(not(feature = "rayon"))]
fn threads() -> usize {
    1
}

#[cfg(feature = "rayon")]
fn cut<R: Rows, E: Send>(
    first: usize,
    rows: R,
    piece: usize,
    work: &(impl Fn(usize, R) -> Result<(), E> + Sync),
) -> Result<(), E> {
    let pieces = rows.count().div_ceil(piece);
    if pieces < 2 || rayon::current_num_threads() == 1 {
        return work(first, rows);
    }
    let middle = pieces / 2 * piece;
    let (above, below) = rows.split(middle);
    let (above, below) =
        rayon::join(|| cut(first, above, piece, work), || cut(first + middle, below, piece, work));
    above.and(below)
}

#[cfg(not(feature = "rayon"))]
fn cut<R: Rows, E: Send>(
    first: usize,
    rows: R,
    _: usize,
    work: &(impl Fn(usize, R) -> Result<(), E> + Sync),
) -> Result<(), E> {
    work(first, rows)
}

impl<T: Sync> Rows for ArrayView2<'_, T> {
    fn count(&self) -> usize {
        self.nrows()
    }

    fn split(self, row: usize) -> (Self, Self) {
        self.split_at(Axis(0), row)
    }
}

impl<T: Send> Rows for ArrayViewMut2<'_, T> {
    fn count(&self) -> usize {
        self.nrows()
    }

    fn split(self, row: usize) -> (Self, Self) {
        self.split_at(Axis(0), row)
    }
}

/// A value for each row, or for none.
impl<T: Send> Rows for &mut [T] {
    fn count(&self) -> usize {
        self.len()
    }

    fn split(self, row: usize) -> (Self, Self) {
        let row = row.min(self.len());
        self.split_at_mut(row)
    }
}

impl<T: Sync> Rows for &[T] {
    fn count(&self) -> usize {
        self.len()
    }

    fn split(self, row: usize) -> (Self, Self) {
        self.split_at(row.min(self.len()))
    }
}

/// The first tells how many rows there are.
impl<A: Rows, B: Rows> Rows for (A, B) {
    fn count(&self) -> usize {
        self.0.count()
    }

    fn split(self, row: usize) -> (Self, Self) {
        let ((a, c), (b, d)) = (self.0.split(row), self.1.split(row));
        ((a, b), (c, d))
    }
}
