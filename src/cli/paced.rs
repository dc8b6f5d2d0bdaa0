//! Progress in lines, for logs and CI: printed at most every 30 seconds.

use std::time::{Duration, Instant};

/// The least time between two printings. A run that takes less prints nothing.
const PACE: Duration = Duration::from_secs(30);

/// Decides when lines are printed. What is finished comes before what is in progress.
#[derive(Debug)]
pub(crate) struct Paced {
    began: Instant,
    last: Instant,
    /// What was finished since the last printing.
    waiting: Vec<String>,
}

impl Paced {
    pub(crate) fn new() -> Self {
        let began = Instant::now();
        Self { began, last: began, waiting: Vec::new() }
    }

    /// Takes note of what is finished. Returns the lines to print now.
    pub(crate) fn note(&mut self, line: String) -> Option<String> {
        self.waiting.push(line);
        self.due(Instant::now(), "")
    }

    /// Takes note of what is in progress. Returns the lines to print now.
    pub(crate) fn say(&mut self, line: &str) -> Option<String> {
        self.due(Instant::now(), line)
    }

    /// Ends the run. Returns the lines that are left to print.
    pub(crate) fn finish(&mut self) -> Option<String> {
        self.rest(Instant::now())
    }

    fn due(&mut self, now: Instant, line: &str) -> Option<String> {
        if now.saturating_duration_since(self.last) < PACE {
            return None;
        }
        self.last = now;
        Some(self.rest(now).unwrap_or_else(|| line.to_owned()))
    }

    /// What is finished and not yet printed.
    fn rest(&mut self, now: Instant) -> Option<String> {
        let is_short = now.saturating_duration_since(self.began) < PACE;
        let lines = std::mem::take(&mut self.waiting).join("\n");
        (!is_short && !lines.is_empty()).then_some(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thirty_seconds_all_that_is_finished_is_printed_first() {
        let mut lines = Paced::new();
        let began = lines.last;
        let mut at = |seconds: u64, finished: Option<&str>, line: &str| {
            lines.waiting.extend(finished.map(str::to_owned));
            lines.due(began + Duration::from_secs(seconds), line)
        };
        assert_eq!(at(5, Some("row 1"), ""), None);
        assert_eq!(at(29, Some("row 2"), ""), None);
        assert_eq!(at(31, None, "row 3 of 9").as_deref(), Some("row 1\nrow 2"));
        assert_eq!(at(60, None, "row 3 of 9"), None);
        assert_eq!(at(61, None, "row 3 of 9").as_deref(), Some("row 3 of 9"));
        assert_eq!(at(99, Some("row 3"), "").as_deref(), Some("row 3"));
        assert_eq!(at(100, Some("row 4"), ""), None);
        assert_eq!(at(101, Some("row 5"), ""), None);
        assert_eq!(lines.rest(began + Duration::from_secs(102)).as_deref(), Some("row 4\nrow 5"));
        assert_eq!(lines.rest(began + Duration::from_secs(103)), None);
    }

    #[test]
    fn a_short_run_prints_nothing() {
        let mut lines = Paced::new();
        assert_eq!(lines.note("row 1".into()), None);
        assert_eq!(lines.finish(), None);
    }
}
