//! What an evaluation spends its time on.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use cpu_time::ProcessTime;

/// A part of an evaluation's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Documents, queries, the attacker's own texts and candidate facts are embedded.
    Embedding,
    /// Stacks protect the vectors, and these are searched.
    Retrieval,
    /// Adversaries fit and apply what they restore vectors with.
    Restoring,
    /// Restored vectors are turned into texts.
    Attack,
    /// Facts and stored texts are guessed.
    Guessing,
    /// Scores and their intervals are computed.
    Scoring,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedding => "embedding",
            Self::Retrieval => "retrieval",
            Self::Restoring => "restoring",
            Self::Attack => "attack",
            Self::Guessing => "guessing",
            Self::Scoring => "scoring",
        })
    }
}

/// Measures the processor time of stages. What is measured within another stage does not count for that one.
pub(super) struct Meter {
    state: RefCell<State>,
}

struct State {
    /// The stages in progress, the innermost last.
    open: Vec<Stage>,
    since: ProcessTime,
    /// The time of each stage, in the order in which they first occurred.
    spent: Vec<(Stage, Duration)>,
}

impl Meter {
    pub(super) fn new() -> Self {
        let state = State { open: Vec::new(), since: ProcessTime::now(), spent: Vec::new() };
        Self { state: RefCell::new(state) }
    }

    /// Does `work` as part of a stage.
    pub(super) fn of<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        self.state.borrow_mut().turn_to(stage);
        let done = work();
        self.state.borrow_mut().turn_back();
        done
    }

    /// The processor time of each stage, of all threads.
    pub(super) fn spent(&self) -> Vec<(Stage, Duration)> {
        self.state.borrow().spent.clone()
    }
}

impl State {
    fn turn_to(&mut self, stage: Stage) {
        self.charge();
        self.open.push(stage);
    }

    fn turn_back(&mut self) {
        self.charge();
        self.open.pop();
    }

    /// Counts the time since the last change for the stage that it was spent in.
    fn charge(&mut self) {
        let now = ProcessTime::now();
        let time = now.duration_since(self.since);
        self.since = now;
        let Some(&stage) = self.open.last() else { return };
        match self.spent.iter_mut().find(|(of, _)| *of == stage) {
            Some((_, spent)) => *spent += time,
            None => self.spent.push((stage, time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work_for(time: Duration) {
        let since = ProcessTime::now();
        while since.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn time_counts_for_the_innermost_stage() {
        let meter = Meter::new();
        let [short, long] = [10, 40].map(Duration::from_millis);
        meter.of(Stage::Attack, || {
            work_for(short);
            meter.of(Stage::Embedding, || work_for(long));
        });
        work_for(long);
        let spent = meter.spent();
        let of = |stage| spent.iter().find(|(of, _)| *of == stage).expect("it was measured").1;
        assert_eq!(spent.len(), 2);
        assert!(of(Stage::Embedding) >= long);
        assert!(of(Stage::Attack) >= short);
    }
}
