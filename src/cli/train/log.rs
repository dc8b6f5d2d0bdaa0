//! What a training reports: `log.csv`, its picture `log.svg`, and the progress bar.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use super::held_out::HeldOut;
use super::picture::{self, LogColumns};
use crate::attacks::vec2text::train::Event;
use crate::cli::error::CliError;
use crate::cli::files::{self, Readers};
use crate::cli::paced::Paced;
use crate::cli::terminal::{Terminal, warn};
use crate::partial;

/// `log.csv` in the output folder, and the progress bar.
pub(super) struct Log {
    path: PathBuf,
    terminal: Terminal,
    pub(super) bar: ProgressBar,
    /// Used if no bar can be seen.
    lines: Option<Paced>,
    pub(super) held_out: HeldOut,
    /// The two scores of the model that is kept: the last, or with patience the one with the lowest loss.
    pub(super) scores: Option<(f64, f64)>,
    /// With patience, the lowest loss on the held-out texts.
    lowest: Option<f64>,
    /// The loss of the last step; NaN before the first.
    pub(super) loss: f32,
    pub(super) began: Instant,
}

impl Log {
    pub(super) fn open(
        dir: &Path,
        resume: bool,
        patient: bool,
        held_out: HeldOut,
        terminal: Terminal,
    ) -> Result<Self, CliError> {
        let path = dir.join("log.csv");
        let (mut lowest, mut scores) = (patient.then_some(f64::INFINITY), None);
        let log = if resume && patient { partial::read_ours(&path).ok() } else { None };
        if let Some((loss, of_it)) = log.as_deref().and_then(|log| best(log, held_out.columns())) {
            (lowest, scores) = (Some(loss), Some(of_it));
        }
        if !resume || !path.exists() {
            let [first, second] = held_out.columns();
            let head = format!("step,loss,samples_per_second,{first},{second},held_out_loss,learning_rate\n");
            files::write_ours(Readers::Usual, &path, &head)?;
        }
        let bar = terminal.shown(ProgressBar::new(1000));
        if let Ok(style) =
            ProgressStyle::with_template("training {wide_bar} {percent}% · {msg} · {elapsed} · {eta} left")
        {
            bar.set_style(style);
        }
        let lines = terminal.says_in_lines().then(Paced::new);
        Ok(Self {
            path,
            terminal,
            bar,
            lines,
            held_out,
            scores,
            lowest,
            loss: f32::NAN,
            began: Instant::now(),
        })
    }

    pub(super) fn record(&mut self, event: &Event<'_>) {
        match event {
            Event::Step { step, loss, progress, samples_per_second, learning_rate } => {
                if self.loss.is_nan() {
                    self.forget_from(*step);
                }
                self.loss = *loss;
                self.bar.set_position((1000.0 * progress) as u64);
                let told = |scores| format!(" · {}", self.held_out.told(scores));
                let held_out = self.scores.map_or_else(String::new, told);
                let message = format!("step {step}, loss {loss:.3}, {samples_per_second:.0}/s{held_out}");
                let line = format!("training: {:.0} %, {message}", 100.0 * progress);
                if let Some(line) = self.lines.as_mut().and_then(|lines| lines.say(&line)) {
                    warn(&line);
                }
                self.bar.set_message(message);
                self.line(&format!("{step},{loss},{samples_per_second:.1},,,,{learning_rate:.6e}"));
            }
            Event::HeldOut { step, loss, outputs } => {
                let Some(scores) = self.held_out.scores(outputs) else { return };
                let loss_now = f64::from(*loss);
                if self.lowest.is_none_or(|lowest| loss_now < lowest) {
                    self.scores = Some(scores);
                    self.lowest = self.lowest.map(|_| loss_now);
                }
                self.line(&format!("{step},,,{},{loss},", self.held_out.fields(scores)));
                self.picture();
            }
            Event::Refreshed { step, examples, own } => {
                let told = format!(
                    "from step {step}: {examples} wrong hypotheses, {own} of them the corrector's own"
                );
                if self.terminal.is_verbose() {
                    self.bar.suspend(|| warn(&told));
                }
            }
            _ => {}
        }
    }

    /// Drops what a killed run logged after its last checkpoint.
    fn forget_from(&self, first: usize) {
        let Ok(text) = partial::read_ours(&self.path) else { return };
        let kept = text.lines().filter(|line| {
            let step = line.split(',').next().and_then(|step| step.parse::<usize>().ok());
            step.is_none_or(|step| step < first)
        });
        let kept: Vec<&str> = kept.collect();
        let _ = files::write_ours(Readers::Usual, &self.path, &(kept.join("\n") + "\n"));
    }

    fn picture(&self) {
        if let Ok(log) = partial::read_ours(&self.path) {
            let _ = files::write_ours(Readers::Usual, &self.path.with_extension("svg"), &picture::draw(&log));
        }
    }

    /// Writes a line. The log is a convenience: training continues if it cannot be written.
    fn line(&self, line: &str) {
        let _ = append(&self.path, line);
    }
}

fn append(path: &Path, line: &str) -> io::Result<()> {
    writeln!(partial::open_ours(OpenOptions::new().append(true), path)?, "{line}")
}

/// The lowest loss on held-out texts in a log, and the scores with these names at that step.
fn best(log: &str, [first, second]: [&str; 2]) -> Option<(f64, (f64, f64))> {
    let columns = LogColumns::read(log);
    let of = |name: &str, step: f64| {
        let (_, value) = columns.of(name).into_iter().rfind(|(at, _)| at.total_cmp(&step).is_eq())?;
        Some(value)
    };
    let (step, loss) = columns.of("held_out_loss").into_iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
    Some((loss, (of(first, step)?, of(second, step)?)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn no_line_is_appended_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let [document, log] = ["document", "log.csv"].map(|name| folder.path().join(name));
        std::fs::write(&document, "someone's").unwrap();
        std::os::unix::fs::symlink(&document, &log).unwrap();
        assert!(append(&log, "1,3.0").is_err());
        assert_eq!(std::fs::read_to_string(&document).unwrap(), "someone's");
        std::fs::remove_file(&log).unwrap();
        std::fs::write(&log, "step\n").unwrap();
        append(&log, "1,3.0").unwrap();
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "step\n1,3.0\n");
    }

    #[test]
    fn the_scores_of_the_lowest_loss_are_found() {
        let log = "step,loss,samples_per_second,held_out_exact_match,held_out_bleu,held_out_loss,learning_rate\n\
                   1,3.0,10,,,,0.1\n200,,,0.1,30.5,0.9,\n400,,,0.2,41.0,0.7,\n600,,,0.3,40.0,0.8,\n601,2.0,";
        let columns = ["held_out_exact_match", "held_out_bleu"];
        assert_eq!(best(log, columns), Some((0.7, (0.2, 41.0))));
        assert_eq!(best("step,loss\n1,2.0\n", columns), None);
    }
}
