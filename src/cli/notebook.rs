//! Follows an evaluation: keeps its rows, continues with those of an interrupted run, and shows the course.

use std::time::Duration;

use serde_json::{Map, Value};

use super::course::Course;
use super::error::CliError;
use super::models::{Cache, Stages};
use super::rows::{Left, RowStore};
use super::session::Session;
use super::settings::Prepared;
use crate::evaluate::{Advice, AttackStrength, Journal, Report, Row, Stage, Undefended};
use crate::{Error, Stack};

/// How an evaluation deals with the rows of an interrupted one.
#[derive(Debug, clap::Args)]
pub(crate) struct Resuming {
    /// Continue with the rows of an interrupted run. Finished rows are kept in the cache folder until a run with the
    /// same settings succeeds.
    #[arg(long)]
    resume: bool,
    /// Keep finished rows in the cache folder even after success.
    #[arg(long)]
    keep_rows: bool,
}

/// A journal on disk.
#[derive(Clone)]
pub(crate) struct Notebook {
    store: RowStore,
    course: Course,
    /// Whether known rows are read, or only written.
    resumes: bool,
    /// Whether rows stay after success.
    keeps: bool,
    /// Whether the user must ask for the rows: those of a curve are in its folder, and always used.
    is_in_cache: bool,
}

impl Notebook {
    /// Opens the journal of an evaluation, in the cache folder.
    pub(crate) fn in_cache(
        (cache, resuming): (&Cache, &Resuming),
        session: &Session,
        course: Course,
    ) -> Result<Self, CliError> {
        let store = RowStore::in_cache(cache.rows()?, session.code.as_deref())?;
        Ok(Self { store, course, resumes: resuming.resume, keeps: resuming.keep_rows, is_in_cache: true })
    }

    /// Opens the journal of a curve, which always resumes, and keeps its points.
    pub(crate) fn of_curve(store: RowStore, course: Course) -> Self {
        Self { store, course, resumes: true, keeps: true, is_in_cache: false }
    }

    /// The journal that checks the settings before anything is attacked.
    pub(crate) fn checking(
        &self,
        check: impl FnMut(&Map<String, Value>) -> Result<(), Error> + Send + 'static,
    ) -> Hooked {
        Hooked { notebook: self.clone(), check: Box::new(check), ask: Box::new(|_| Ok(None)) }
    }

    /// The journal that asks for more stacks, in view of the rows so far.
    pub(crate) fn asking(
        &self,
        ask: impl FnMut(&[Row]) -> Result<Option<Stack>, Error> + Send + 'static,
    ) -> Hooked {
        Hooked { notebook: self.clone(), check: Box::new(|_| Ok(())), ask: Box::new(ask) }
    }

    /// Runs an evaluation that has this journal, perhaps within another one, with an attack of these stages.
    pub(crate) fn follow(&self, evaluation: Prepared, stages: Stages) -> Result<Report, Error> {
        self.course.follow(evaluation, stages).inspect_err(|_| {
            let rows = self.store.len();
            if rows > 0 {
                self.course.tell(&format!(
                    "{} kept; the same command{} goes on with {}",
                    counted(rows),
                    if self.is_in_cache { " with --resume" } else { "" },
                    if rows == 1 { "it" } else { "them" }
                ));
            }
        })
    }

    /// Removes the rows, once the report has been written.
    pub(crate) fn close(&self) {
        if !self.keeps {
            self.store.remove();
        }
    }

    /// Says what an interrupted run has left.
    fn tell(&self) {
        if !(self.is_in_cache && self.resumes) {
            return;
        }
        self.course.tell(&match self.store.left() {
            Left::Rows(rows) => format!("resuming: up to {} used", counted(rows)),
            Left::Nothing => "nothing to resume: no rows are kept, so all are measured".into(),
            Left::Others(names) => format!(
                "nothing to resume: the kept rows are from a run with other settings ({}), so all are measured again",
                names.join(", ")
            ),
        });
    }
}

fn counted(rows: usize) -> String {
    if rows == 1 { "1 finished row is".into() } else { format!("{rows} finished rows are") }
}

impl Journal for Notebook {
    fn begin(&mut self, settings: &Map<String, Value>, rows: usize) -> Result<(), Error> {
        self.store.begin(settings);
        self.tell();
        self.course.promise(if self.is_in_cache {
            "finished rows are kept; if this run is interrupted, repeat the command with --resume to continue it"
        } else {
            "finished rows are kept; if this run is interrupted, repeat the command to continue it"
        });
        self.course.begin(settings, rows)
    }

    fn undefended(&mut self) -> Option<Undefended> {
        let undefended = self.resumes.then(|| self.store.undefended())??;
        self.course.known_undefended(&undefended);
        Some(undefended)
    }

    fn finished_undefended(&mut self, undefended: &Undefended) -> Result<(), Error> {
        self.store.keep_undefended(undefended)?;
        self.course.finished_undefended(undefended)
    }

    fn judged(&mut self, strengths: &[AttackStrength], advice: &[Advice]) -> Result<(), Error> {
        self.course.judged(strengths, advice)
    }

    fn known(&mut self, defense: &str, adversary: &str) -> Option<Row> {
        let row = self.resumes.then(|| self.store.known(defense, adversary))??;
        self.course.known();
        Some(row)
    }

    fn finished(&mut self, row: &Row) -> Result<(), Error> {
        self.store.keep(row)?;
        self.course.finished(row)
    }

    fn spent(&mut self, stages: &[(Stage, Duration)]) {
        self.course.spent(stages);
    }
}

/// A notebook that does more at the beginning and at the end.
pub(crate) struct Hooked {
    notebook: Notebook,
    check: Box<Check>,
    ask: Box<Ask>,
}

type Check = dyn FnMut(&Map<String, Value>) -> Result<(), Error> + Send;
type Ask = dyn FnMut(&[Row]) -> Result<Option<Stack>, Error> + Send;

impl Journal for Hooked {
    fn begin(&mut self, settings: &Map<String, Value>, rows: usize) -> Result<(), Error> {
        (self.check)(settings)?;
        self.notebook.begin(settings, rows)
    }

    fn undefended(&mut self) -> Option<Undefended> {
        self.notebook.undefended()
    }

    fn finished_undefended(&mut self, undefended: &Undefended) -> Result<(), Error> {
        self.notebook.finished_undefended(undefended)
    }

    fn judged(&mut self, strengths: &[AttackStrength], advice: &[Advice]) -> Result<(), Error> {
        self.notebook.judged(strengths, advice)
    }

    fn known(&mut self, defense: &str, adversary: &str) -> Option<Row> {
        self.notebook.known(defense, adversary)
    }

    fn finished(&mut self, row: &Row) -> Result<(), Error> {
        self.notebook.finished(row)
    }

    fn spent(&mut self, stages: &[(Stage, Duration)]) {
        self.notebook.spent(stages);
    }

    fn next(&mut self, rows: &[Row]) -> Result<Option<Stack>, Error> {
        let next = (self.ask)(rows)?;
        if next.is_some() {
            let first = rows.first().map(|row| &row.defense);
            let adversaries = rows.iter().filter(|row| Some(&row.defense) == first).count();
            self.notebook.course.plan_more(adversaries.max(1));
        }
        Ok(next)
    }
}
