//! The course of an evaluation, shown while a person watches; `--verbose` says in lines that stay what is finished.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use indicatif::ProgressBar;
use serde_json::{Map, Value};

use super::session::Session;
use super::table;
use super::terminal::Terminal;
use crate::evaluate::metrics::Shown;
use crate::evaluate::{Evaluation, Journal, Metric, Report, Row, Undefended};
use crate::{Embedder, Error};

/// The course of an evaluation: which row of how many, what is done in it, and how long the rest takes
/// if it goes on like this.
#[derive(Clone)]
pub(crate) struct Course {
    terminal: Terminal,
    metrics: Arc<[Metric]>,
    bar: ProgressBar,
    counts: Arc<Mutex<Counts>>,
}

struct Counts {
    total: usize,
    done: usize,
    /// Of those done, how many took time; the rest were known.
    measured: usize,
    began: Instant,
}

impl Course {
    pub(crate) fn new(session: &Session) -> Self {
        let counts = Counts { total: 0, done: 0, measured: 0, began: Instant::now() };
        let Session { terminal, names, .. } = session;
        Self {
            terminal: *terminal,
            metrics: names.metrics().into(),
            bar: terminal.spinner(),
            counts: Arc::new(Mutex::new(counts)),
        }
    }

    /// Numbers are whole between any two of them, so a thread that panicked leaves nothing broken.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is done now.
    pub(crate) fn say(&self, message: &str) {
        let counts = self.counts();
        self.bar.set_message(match counts.total {
            0 => message.to_owned(),
            total => {
                let row = (counts.done + 1).min(total);
                format!("{row} of {total}{} · {message}", counts.rest())
            }
        });
    }

    /// Runs an evaluation while its course is shown.
    pub(crate) fn follow<E: Embedder>(&self, evaluation: Evaluation<E>) -> Result<Report, Error> {
        let said = self.clone();
        let report = evaluation.progress(move |message| said.say(message)).run();
        self.finish();
        report
    }

    /// A row that was known, or one more than was planned.
    pub(crate) fn known(&self) {
        self.counts().done += 1;
    }

    pub(crate) fn plan_more(&self, rows: usize) {
        self.counts().total += rows;
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn step(&self, what: &str) {
        let mut counts = self.counts();
        counts.done += 1;
        counts.measured += 1;
        if self.terminal.is_verbose() {
            let elapsed = duration(counts.began.elapsed().as_secs_f64());
            let (done, total) = (counts.done, counts.total);
            self.bar.suspend(|| self.terminal.remark(&format!("{done} of {total}, after {elapsed}: {what}")));
        }
    }
}

impl Counts {
    /// Says nothing before the first row is there to go by.
    fn rest(&self) -> String {
        let left = self.total.saturating_sub(self.done);
        if self.measured == 0 || left == 0 {
            return String::new();
        }
        let each = self.began.elapsed().as_secs_f64() / self.measured as f64;
        format!(", about {} left", duration(each * left as f64))
    }
}

impl Journal for Course {
    /// The undefended attack counts as one row more.
    fn begin(&mut self, settings: &Map<String, Value>, rows: usize) -> Result<(), Error> {
        let mut counts = self.counts();
        counts.total = rows + usize::from(settings.contains_key("attack"));
        counts.began = Instant::now();
        Ok(())
    }

    fn finished_undefended(&mut self, undefended: &Undefended) -> Result<(), Error> {
        self.step(&format!("undefended, {}", strength(&self.metrics, undefended)));
        Ok(())
    }

    fn finished(&mut self, row: &Row) -> Result<(), Error> {
        let Row { defense, adversary, n, .. } = row;
        let attacked = *n > 0;
        let metrics = table::columns(&self.metrics, Shown::Line).into_iter();
        let scores = metrics.filter(|metric| attacked || metric.is_retrieval()).map(|metric| {
            format!("{} {}", metric.heading, table::long(row.score(&metric.name), metric.digits))
        });
        let by = if attacked { format!(", {adversary}") } else { String::new() };
        self.step(&format!("{defense}{by}: {}", scores.collect::<Vec<_>>().join(", ")));
        Ok(())
    }
}

/// The mean scores of the undefended attack by the metrics that leaks are computed from: `BLEU 98.2`.
fn strength(metrics: &[Metric], undefended: &Undefended) -> String {
    let leaks = table::columns(metrics, Shown::Line).into_iter().filter_map(Metric::leaking);
    let scores = leaks.filter_map(|base| {
        let metric = metrics.iter().find(|metric| metric.name == base)?;
        let scores = undefended.texts.values(base);
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        Some(format!("{} {mean:.*}", metric.heading, metric.digits))
    });
    scores.collect::<Vec<_>>().join(", ")
}

/// `45 s`, `3 min`, `1 h 20 min`.
fn duration(seconds: f64) -> String {
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
