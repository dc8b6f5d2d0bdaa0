//! What goes to stdout and stderr: results, remarks, warnings and progress.
//!
//! If stderr is a terminal, progress is a bar; otherwise it is a line now and then (`paced.rs`). `--quiet` leaves
//! only results, warnings and errors; `--verbose` adds permanent lines.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::error::CliError;
use crate::evaluate::Report;

/// How much is printed besides results and errors.
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

    /// Returns whether progress is printed in lines: if no bar can be seen, and the user did not ask for quiet.
    pub(crate) fn says_in_lines(self) -> bool {
        !self.is_quiet() && !io::stderr().is_terminal()
    }

    /// Prints a line for the person at the terminal. Not with `--quiet`.
    pub(crate) fn remark(self, text: &str) {
        if !self.is_quiet() {
            warn(text);
        }
    }

    /// A line that says what is being done and for how long, for work of unknown length.
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

    /// The bar, or with `--quiet` a hidden one.
    pub(crate) fn shown(self, bar: ProgressBar) -> ProgressBar {
        if self.is_quiet() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        bar
    }
}

/// Writes to stdout. Returns `false` if nobody reads it any longer, which is not an error: `embosk … | head`.
pub(crate) fn print(text: &str) -> Result<bool, CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::new(format!("stdout cannot be written: {error}"))),
    }
}

/// Warns of what a reader of a report should know about its embedder. The table already says it.
pub(crate) fn warn_of(report: &Report) {
    for warning in &report.warnings {
        warn(&format!("warning: {warning}"));
    }
}

/// Prints a line that must not be overlooked, to stderr.
pub(crate) fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// `45 s`, `3 min`, `1 h 20 min`.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds.max(0.0).round() as u64 {
        seconds if seconds < 90 => format!("{seconds} s"),
        seconds if seconds < 5400 => format!("{} min", (seconds + 30) / 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_long_as_they_need_be() {
        let cases = [
            (0.2, "0 s"),
            (89.0, "89 s"),
            (91.0, "2 min"),
            (3600.0, "60 min"),
            (5460.0, "1 h 31 min"),
            (f64::NAN, "0 s"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected);
        }
    }
}
