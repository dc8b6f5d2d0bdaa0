//! How far a file has been read, on stderr.

use std::cell::{Cell, RefCell};

use indicatif::ProgressBar;

use super::super::paced::Paced;
use super::super::terminal::{Terminal, warn};

/// Says how many rows are done: beside a spinner, or without a terminal in a line now and then.
pub(crate) struct Progress {
    spinner: ProgressBar,
    lines: Option<RefCell<Paced>>,
    rows: Cell<usize>,
}

impl Progress {
    pub(super) fn new(terminal: Terminal) -> Self {
        let lines = terminal.says_in_lines().then(|| RefCell::new(Paced::new()));
        Self { spinner: terminal.spinner(), lines, rows: Cell::new(0) }
    }

    /// Says what is being done with a file that is read as a whole.
    pub(super) fn say(&self, what: &'static str) {
        self.spinner.set_message(what);
    }

    /// Counts rows that are done, of `total` if that is known.
    pub(super) fn add(&self, rows: usize, total: Option<usize>) {
        let rows = self.rows.get() + rows;
        self.rows.set(rows);
        let message = match total {
            Some(total) => format!("{rows} of {total} rows"),
            None => format!("{rows} rows"),
        };
        if let Some(line) = self.lines.as_ref().and_then(|lines| lines.borrow_mut().say(&message)) {
            warn(&line);
        }
        self.spinner.set_message(message);
    }

    pub(super) fn finish(&self) {
        self.spinner.finish_and_clear();
    }
}
