//! Shows the course of an evaluation: as a bar if a person watches, and otherwise as a line now and then. `--verbose`
//! adds permanent lines that say what is finished.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde_json::{Map, Value};

use super::models::Stages;
use super::next::{Next, Seen};
use super::paced::Paced;
use super::session::Session;
use super::settings::Prepared;
use super::table;
use super::terminal::{Terminal, duration, warn};
use crate::Error;
use crate::evaluate::metrics::Shown;
use crate::evaluate::{Advice, AttackStrength, Journal, Metric, NO_SCORE, Report, Row, Stage, Undefended};

/// A run is likely to be interrupted if it has taken this long, or will take so many seconds more.
const LONG_SO_FAR: Duration = Duration::from_secs(30);
const LONG_TO_GO: f64 = 60.0;

/// The course of an evaluation: which row of how many, what is being done in it, and the estimated time for the rest.
#[derive(Clone)]
pub(crate) struct Course {
    terminal: Terminal,
    metrics: Arc<[Metric]>,
    bar: ProgressBar,
    counts: Arc<Mutex<Counts>>,
    next: Arc<Next>,
}

struct Counts {
    total: usize,
    done: usize,
    /// How many of the finished rows were measured; the others were known.
    measured: usize,
    /// How many texts are attacked; 0 until this is known, or if none is scored.
    attacked: usize,
    is_guided: bool,
    began: Instant,
    /// What to say of kept rows once there are some and the run is long; nothing if that is said.
    promise: Option<&'static str>,
    /// Used if no bar can be seen.
    lines: Option<Paced>,
}

impl Course {
    /// `next` makes commands of advice.
    pub(crate) fn new(session: &Session, next: Next) -> Self {
        let Session { terminal, names, .. } = session;
        let lines = terminal.says_in_lines().then(Paced::new);
        let began = Instant::now();
        let counts = Counts {
            total: 0,
            done: 0,
            measured: 0,
            attacked: 0,
            is_guided: false,
            began,
            promise: None,
            lines,
        };
        Self {
            terminal: *terminal,
            metrics: names.metrics().into(),
            bar: terminal.spinner(),
            counts: Arc::new(Mutex::new(counts)),
            next: Arc::new(next),
        }
    }

    /// The counts are consistent between any two changes, so a thread that panicked leaves nothing broken.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what is being done now.
    pub(crate) fn say(&self, message: &str) {
        let mut counts = self.counts();
        let message = counts.now(message);
        if let Some(line) = counts.lines.as_mut().and_then(|lines| lines.say(&message)) {
            warn(&line);
        }
        let promise = counts.due_promise();
        drop(counts);
        self.bar.set_message(message);
        if let Some(promise) = promise {
            self.tell(promise);
        }
    }

    /// Prints a line that stays.
    pub(crate) fn tell(&self, text: &str) {
        self.bar.suspend(|| self.terminal.remark(text));
    }

    /// Runs an evaluation with an attack of these stages, and shows its course.
    pub(crate) fn follow(&self, evaluation: Prepared, stages: Stages) -> Result<Report, Error> {
        self.counts().is_guided = stages.guided;
        let said = self.clone();
        let report = evaluation.progress(move |message| said.say(message)).run();
        self.finish();
        report
    }

    /// What to run next; nothing if nothing is advised.
    pub(crate) fn advise(&self, advice: &[Advice]) -> String {
        self.next.lines(advice, self.counts().seen())
    }

    /// Sets what is said of kept rows, once, if the run is long enough that it may be interrupted.
    pub(crate) fn promise(&self, text: &'static str) {
        self.counts().promise = Some(text);
    }

    /// Counts a row that was known, or one more than was planned.
    pub(crate) fn known(&self) {
        self.counts().done += 1;
    }

    /// Counts the undefended attack, which was known.
    pub(crate) fn known_undefended(&self, undefended: &Undefended) {
        self.counts().attacked = undefended.texts.len();
        self.known();
    }

    pub(crate) fn plan_more(&self, rows: usize) {
        self.counts().total += rows;
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
        if let Some(lines) = self.counts().lines.as_mut().and_then(Paced::finish) {
            warn(&lines);
        }
    }

    fn step(&self, what: &str) {
        let mut counts = self.counts();
        counts.done += 1;
        counts.measured += 1;
        let line = counts.finished(what);
        if self.terminal.is_verbose() {
            self.tell(&line);
        } else if let Some(line) = counts.lines.as_mut().and_then(|lines| lines.note(line)) {
            warn(&line);
        }
        let promise = counts.due_promise();
        drop(counts);
        if let Some(promise) = promise {
            self.tell(promise);
        }
    }
}

impl Counts {
    /// What to say of kept rows now: if there is one, and the run has taken or will take long.
    fn due_promise(&mut self) -> Option<&'static str> {
        let is_long =
            self.began.elapsed() >= LONG_SO_FAR || self.left().is_some_and(|left| left >= LONG_TO_GO);
        if self.measured > 0 && is_long { self.promise.take() } else { None }
    }

    /// What is being done now, and in which row.
    fn now(&self, message: &str) -> String {
        match self.total {
            0 => message.to_owned(),
            total => {
                let row = (self.done + 1).min(total);
                format!("{row} of {total}{} · {message}", self.rest())
            }
        }
    }

    /// What was finished last, and when the others will be.
    fn finished(&self, what: &str) -> String {
        let Self { done, total, began, .. } = self;
        format!("{done} of {total}, after {}{}: {what}", duration(began.elapsed().as_secs_f64()), self.rest())
    }

    /// The estimated time for the rest; empty until the first row is measured.
    fn rest(&self) -> String {
        self.left().map_or_else(String::new, |left| format!(", about {} left", duration(left)))
    }

    /// How many seconds the rows that are left will take; `None` before the first is measured, and after the last.
    fn left(&self) -> Option<f64> {
        let left = self.total.saturating_sub(self.done);
        (self.measured > 0 && left > 0).then(|| self.each() * left as f64)
    }

    fn seen(&self) -> Seen {
        let attacked = (self.attacked > 0).then_some(self.attacked);
        Seen { attacked, is_guided: self.is_guided, whole: self.whole() }
    }

    /// How many seconds all rows take; `None` until a second is measured, unless there is only one, because the first
    /// includes what is done once for all.
    fn whole(&self) -> Option<f64> {
        (self.measured > 1 || self.measured > 0 && self.measured == self.total)
            .then(|| self.each() * self.total as f64)
    }

    fn each(&self) -> f64 {
        self.began.elapsed().as_secs_f64() / self.measured as f64
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
        self.counts().attacked = undefended.texts.len();
        self.step(&format!("undefended, {}", strength(&self.metrics, undefended)));
        Ok(())
    }

    /// Says what will be inconclusive before anyone waits for the rows.
    fn judged(&mut self, strengths: &[AttackStrength], advice: &[Advice]) -> Result<(), Error> {
        let open = strengths.iter().filter(|strength| !strength.is_conclusive());
        let each: String =
            open.map(|strength| format!("  {}: {strength}\n", strength.leak.replace('_', " "))).collect();
        if !strengths.iter().any(AttackStrength::is_conclusive) {
            let each = if each.is_empty() { format!("  {NO_SCORE}\n") } else { each };
            let text = format!("this will be inconclusive:\n{each}{}", self.advise(advice));
            self.bar.suspend(|| warn(text.trim_end()));
        } else if !each.is_empty() {
            self.tell(format!("some leaks cannot be read:\n{each}{}", self.advise(advice)).trim_end());
        }
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

    fn spent(&mut self, stages: &[(Stage, Duration)]) {
        let stages = long_stages(stages);
        if !stages.is_empty() {
            self.tell(&format!("processor time: {stages}"));
        }
    }
}

/// The stages that took a second or more, the longest first: `attack 40 s, restoring 31 s`.
fn long_stages(stages: &[(Stage, Duration)]) -> String {
    let mut long: Vec<_> = stages.iter().filter(|(_, spent)| spent.as_secs() > 0).collect();
    long.sort_by_key(|(_, spent)| std::cmp::Reverse(*spent));
    let each = long.iter().map(|(stage, spent)| format!("{stage} {}", duration(spent.as_secs_f64())));
    each.collect::<Vec<_>>().join(", ")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64, measured: usize, total: usize) -> Counts {
        Counts {
            total,
            done: measured,
            measured,
            attacked: 0,
            is_guided: false,
            began: Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap_or_else(Instant::now),
            promise: Some("kept"),
            lines: None,
        }
    }

    #[test]
    fn the_whole_is_forecast_once_a_second_row_is_measured() {
        assert_eq!([after(40, 0, 9), after(40, 1, 9)].map(|counts| counts.whole()), [None; 2]);
        let seconds = |counts: Counts| counts.whole().map(f64::round);
        assert_eq!([after(40, 2, 9), after(40, 1, 1)].map(seconds), [Some(180.0), Some(40.0)]);
    }

    #[test]
    fn kept_rows_are_told_of_once_in_a_long_run() {
        assert_eq!(after(40, 0, 9).due_promise(), None, "no row is kept");
        assert_eq!(after(5, 1, 3).due_promise(), None, "it ends soon");
        assert_eq!(after(10, 1, 9).due_promise(), Some("kept"), "it goes on for long");
        let mut counts = after(31, 8, 9);
        assert_eq!((counts.due_promise(), counts.due_promise()), (Some("kept"), None));
    }
}
