//! Arrow's and Parquet's readers, which panic on some damaged files instead of failing.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;

const MESSAGE: &str = "its parts do not fit each other";

thread_local! {
    /// Whether this thread is in [`survive`].
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// Record batches of a reader. After a panic of the reader there is an error, and then nothing.
pub(super) struct Surviving<I> {
    batches: Option<I>,
}

impl<I> Surviving<I> {
    pub(super) fn new(batches: I) -> Self {
        Self { batches: Some(batches) }
    }
}

impl<I: Iterator<Item = Result<RecordBatch, ArrowError>>> Iterator for Surviving<I> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batches = self.batches.as_mut()?;
        survive(|| Ok(batches.next())).unwrap_or_else(|error| {
            self.batches = None;
            Some(Err(error))
        })
    }
}

/// Calls a reader, and makes an error of its panic. What the reader was about to change must not be used again.
pub(super) fn survive<T>(read: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, ArrowError> {
    READING.set(true);
    let read = panic::catch_unwind(AssertUnwindSafe(read));
    READING.set(false);
    read.unwrap_or_else(|_| Err(ArrowError::ParseError(MESSAGE.into())))
}

/// Has the process print nothing for panics that [`survive`] catches, and all others as before.
pub(in super::super) fn keep_silent() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !READING.get() {
            usual(panic);
        }
    }));
}
