//! Progress in lines, for logs and CI: at most one line every 30 seconds.

use std::time::{Duration, Instant};

/// The least time between two lines. A run that takes less prints none.
const PACE: Duration = Duration::from_secs(30);

/// Decides which lines are printed. What is finished comes before what is in progress.
#[derive(Debug)]
pub(crate) struct Paced {
    last: Instant,
    /// What was finished since the last line.
    waiting: Option<String>,
}

impl Paced {
    pub(crate) fn new() -> Self {
        Self { last: Instant::now(), waiting: None }
    }

    /// Takes note of what is finished. Returns the line to print now.
    pub(crate) fn note(&mut self, line: String) -> Option<String> {
        self.waiting = Some(line);
        self.due(Instant::now(), "")
    }

    /// Takes note of what is in progress. Returns the line to print now.
    pub(crate) fn say(&mut self, line: &str) -> Option<String> {
        self.due(Instant::now(), line)
    }

    fn due(&mut self, now: Instant, line: &str) -> Option<String> {
        if now.saturating_duration_since(self.last) < PACE {
            return None;
        }
        self.last = now;
        Some(self.waiting.take().unwrap_or_else(|| line.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_every_thirty_seconds_and_says_what_is_finished_first() {
        let mut lines = Paced::new();
        let began = lines.last;
        let mut at = |seconds: u64, finished: Option<&str>, line: &str| {
            if let Some(finished) = finished {
                lines.waiting = Some(finished.to_owned());
            }
            lines.due(began + Duration::from_secs(seconds), line)
        };
        assert_eq!(at(5, Some("row 1"), ""), None);
        assert_eq!(at(29, Some("row 2"), ""), None);
        assert_eq!(at(31, None, "row 3 of 9").as_deref(), Some("row 2"));
        assert_eq!(at(60, None, "row 3 of 9"), None);
        assert_eq!(at(61, None, "row 3 of 9").as_deref(), Some("row 3 of 9"));
        assert_eq!(at(99, Some("row 3"), "").as_deref(), Some("row 3"));
    }
}
