//! What goes to stdout and stderr beside the verbs' own work: results, remarks, warnings, and progress while a
//! person watches.
//!
//! Progress is shown only where stderr is a terminal. `--quiet` leaves results, warnings and errors; `--verbose`
//! adds lines that stay.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::error::CliError;
use crate::evaluate::Report;

/// How much is said beside results and errors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Terminal {
    Quiet,
    #[default]
    Usual,
    Verbose,
}

impl Terminal {
    pub(crate) fn new(quiet: bool, verbose: bool) -> Self {
        match (quiet, verbose) {
            (true, _) => Self::Quiet,
            (_, true) => Self::Verbose,
            _ => Self::Usual,
        }
    }

    pub(crate) fn is_quiet(self) -> bool {
        self == Self::Quiet
    }

    pub(crate) fn is_verbose(self) -> bool {
        self == Self::Verbose
    }

    /// Prints a line for the person at the terminal. Not with `--quiet`.
    pub(crate) fn remark(self, text: &str) {
        if !self.is_quiet() {
            warn(text);
        }
    }

    /// A line that says what goes on and for how long, for work of unknown length.
    pub(crate) fn spinner(self) -> ProgressBar {
        let bar = self.shown(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// A bar over `length` texts.
    pub(crate) fn bar(self, what: &'static str, length: usize) -> ProgressBar {
        let bar = self.shown(ProgressBar::new(length as u64).with_message(what));
        if let Ok(style) =
            ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} · {elapsed} · {eta} left")
        {
            bar.set_style(style);
        }
        // the clock goes on where one batch takes minutes
        bar.enable_steady_tick(Duration::from_secs(1));
        bar
    }

    /// The bar, or with `--quiet` one that is not seen.
    pub(crate) fn shown(self, bar: ProgressBar) -> ProgressBar {
        if self.is_quiet() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar
    }
}

/// Writes to stdout. Returns `false` when nobody reads it any more, which is no error: `embosk … | head`.
pub(crate) fn print(text: &str) -> Result<bool, CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::new(format!("stdout cannot be written: {error}"))),
    }
}

/// Warns of what a reader of a report should know about its embedder. The table says it by itself.
pub(crate) fn warn_of(report: &Report) {
    for warning in &report.warnings {
        warn(&format!("warning: {warning}"));
    }
}

/// Prints a line that is not to be overlooked, to stderr.
pub(crate) fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
