//! Where a changed file goes.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::super::error::CliError;
use super::super::files::{Readers, write_atomically};
use super::format::is_standard;

/// A file that is written in order, possibly by several threads in turn.
pub(super) type Sink<'a> = dyn Write + Send + 'a;

/// Lets `fill` write a file, which is there afterwards whole or not at all; or stdout.
pub(super) fn write(
    path: &Path,
    fill: impl FnOnce(&mut Sink<'_>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    if is_standard(path) {
        return write_stdout(fill);
    }
    let mut failed = None;
    let written = write_atomically(path, Readers::Usual, |file| {
        let mut watched = Watched { inner: file, broken: None };
        fill(&mut watched).map_err(|error| {
            // a full disk is the reason, whatever a library makes of it; it is told with the file's name
            let broken = watched.broken.take();
            if broken.is_none() {
                failed = Some(error);
            }
            broken.unwrap_or_else(|| io::Error::other("the file was not finished"))
        })
    });
    failed.map_or(written, Err)
}

fn write_stdout(fill: impl FnOnce(&mut Sink<'_>) -> Result<(), CliError>) -> Result<(), CliError> {
    let mut stdout = Watched { inner: io::stdout(), broken: None };
    let mut buffer = BufWriter::with_capacity(1 << 16, &mut stdout);
    let filled = fill(&mut buffer);
    let flushed = buffer.flush();
    drop(buffer);
    // `embosk protect … - | head` is not an error
    if stdout.broken.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        return Ok(());
    }
    filled?;
    flushed.map_err(|error| failure(&error))
}

fn failure(error: &io::Error) -> CliError {
    CliError::new(format!("the output cannot be written: {error}"))
}

/// A file that remembers why it could not be written.
struct Watched<W> {
    inner: W,
    broken: Option<io::Error>,
}

impl<W: Write> Watched<W> {
    fn note<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|error| self.broken = Some(io::Error::new(error.kind(), error.to_string())))
    }
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.inner.write(bytes);
        self.note(done)
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.inner.flush();
        self.note(done)
    }
}
