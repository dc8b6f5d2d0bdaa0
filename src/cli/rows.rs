//! Finished rows, one file each, so that an interrupted run continues where it stopped.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::CliError;
use super::files::{self, Readers};
use crate::Error;
use crate::digest::Digest;
use crate::evaluate::{Row, Undefended};
use crate::partial;

/// The name under which the undefended attack is kept.
const UNDEFENDED: &str = "undefended";

/// Nobody resumes a run after this long, so its rows are removed from the cache folder.
const FORGOTTEN: Duration = Duration::from_hours(30 * 24);

/// A folder of finished rows. A file's name is the hash of everything that its scores depend on, so that runs with
/// different settings do not mix: each finds its own rows and leaves the others alone. The program counts as a
/// setting too, by the hash of its file, because its code may have changed, and perhaps the scores with it.
#[derive(Clone)]
pub(crate) struct RowStore {
    folder: PathBuf,
    examples: usize,
    readers: Readers,
    program: String,
    run: Arc<Mutex<Run>>,
}

/// The current run.
#[derive(Default)]
struct Run {
    settings: Map<String, Value>,
    /// The files that it wrote or read.
    files: BTreeSet<PathBuf>,
}

/// A file's content. It includes the settings, for readers and as a check.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    settings: Map<String, Value>,
    defense: String,
    adversary: String,
    scores: T,
}

/// What earlier runs left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    /// This many rows of a run with the same settings; the undefended attack counts as one.
    Rows(usize),
    /// Only rows of runs with other settings; these settings of the latest one differ.
    Others(Vec<String>),
}

/// Who may read files that show this many of the attacked texts.
pub(crate) fn readers(examples: usize) -> Readers {
    if examples > 0 { Readers::Owner } else { Readers::Usual }
}

impl RowStore {
    /// Opens `points` in the output folder of a curve. Rows that were measured with fewer `examples` than are shown
    /// count as unknown.
    pub(crate) fn of_curve(output: &Path, examples: usize, code: Option<&Path>) -> Result<Self, CliError> {
        Self::open(output.join("points"), examples, readers(examples), code)
    }

    /// Opens a folder in the cache. Only its owner can read the rows.
    pub(crate) fn in_cache(folder: PathBuf, code: Option<&Path>) -> Result<Self, CliError> {
        let store = Self::open(folder, 0, Readers::Owner, code)?;
        store.forget();
        Ok(store)
    }

    fn open(
        folder: PathBuf,
        examples: usize,
        readers: Readers,
        code: Option<&Path>,
    ) -> Result<Self, CliError> {
        let program = program(code).map_err(|error| {
            CliError::new(format!("the program cannot read itself, by which it knows its rows: {error}"))
        })?;
        fs::create_dir_all(&folder).map_err(|error| files::bad(&folder, error))?;
        partial::remove_stale(&folder);
        Ok(Self { folder, examples, readers, program, run: Arc::default() })
    }

    pub(crate) fn begin(&self, settings: &Map<String, Value>) {
        let mut settings = settings.clone();
        settings.insert("program_sha256".into(), self.program.clone().into());
        self.run().settings = settings;
    }

    /// The run is consistent between any two changes, so a thread that panicked leaves nothing broken.
    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn known(&self, defense: &str, adversary: &str) -> Option<Row> {
        let mut row: Row = self.read(defense, adversary)?;
        let is_of = row.defense == defense && row.adversary == adversary;
        if !is_of || row.examples.len() < self.examples.min(row.n) {
            return None;
        }
        row.examples.truncate(self.examples);
        Some(row)
    }

    /// Keeps a row with the scores of each text, on which a budget is checked.
    pub(crate) fn keep(&self, row: &Row) -> Result<(), Error> {
        self.write(&row.defense, &row.adversary, row.full())
    }

    pub(crate) fn undefended(&self) -> Option<Undefended> {
        self.read("none", UNDEFENDED)
    }

    pub(crate) fn keep_undefended(&self, undefended: &Undefended) -> Result<(), Error> {
        self.write("none", UNDEFENDED, undefended)
    }

    /// What earlier runs left, once the settings are known.
    pub(crate) fn left(&self) -> Left {
        let ours = self.run().settings.clone();
        let mut runs: Vec<(SystemTime, Map<String, Value>)> =
            self.files().filter_map(|(path, at)| Some((at, settings_of(&path)?))).collect();
        let rows = runs.iter().filter(|(_, settings)| *settings == ours).count();
        runs.sort_by_key(|(at, _)| *at);
        match (rows, runs.pop()) {
            (0, None) => Left::Nothing,
            (0, Some((_, latest))) => Left::Others(differing(&ours, &latest)),
            (rows, _) => Left::Rows(rows),
        }
    }

    /// How many rows of this run are kept.
    pub(crate) fn len(&self) -> usize {
        self.run().files.len()
    }

    /// Removes the rows of this run.
    pub(crate) fn remove(&self) {
        for path in std::mem::take(&mut self.run().files) {
            let _ = fs::remove_file(path);
        }
    }

    /// Removes rows that no run will ask for any longer.
    fn forget(&self) {
        let is_old = |at: SystemTime| SystemTime::now().duration_since(at).is_ok_and(|age| age > FORGOTTEN);
        for (path, _) in self.files().filter(|(path, at)| is_old(*at) && settings_of(path).is_some()) {
            let _ = fs::remove_file(path);
        }
    }

    /// The rows of all runs, and when they were written.
    fn files(&self) -> impl Iterator<Item = (PathBuf, SystemTime)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| {
            let is_ours = is_name(&entry.file_name().to_string_lossy());
            is_ours.then_some((entry.path(), entry.metadata().ok()?.modified().ok()?))
        })
    }

    /// Reads a row. A damaged file counts as missing.
    fn read<T: DeserializeOwned>(&self, defense: &str, adversary: &str) -> Option<T> {
        let path = self.path(defense, adversary);
        let kept: Kept<T> = serde_json::from_str(&partial::read_ours(&path).ok()?).ok()?;
        let mut run = self.run();
        if kept.settings != run.settings {
            return None;
        }
        run.files.insert(path);
        Some(kept.scores)
    }

    fn write<T: Serialize>(&self, defense: &str, adversary: &str, scores: T) -> Result<(), Error> {
        let path = self.path(defense, adversary);
        let settings = self.run().settings.clone();
        let kept = Kept { settings, defense: defense.into(), adversary: adversary.into(), scores };
        let refuse = |message: String| Error::File { path: path.clone(), line: None, message };
        let text = serde_json::to_string_pretty(&kept).map_err(|error| refuse(error.to_string()))? + "\n";
        files::write_ours(self.readers, &path, &text).map_err(|error| refuse(error.to_string()))?;
        self.run().files.insert(path);
        Ok(())
    }

    fn path(&self, defense: &str, adversary: &str) -> PathBuf {
        let settings = Value::Object(self.run().settings.clone()).to_string();
        self.folder.join(format!("{}.json", Digest::of([settings.as_str(), defense, adversary]).short()))
    }
}

/// The hash of the file that holds the program's code; by default, that of the executable.
fn program(code: Option<&Path>) -> io::Result<String> {
    let code = code.map_or_else(std::env::current_exe, |code| Ok(code.to_owned()))?;
    Ok(Digest::default().raw(fs::read(code)?).short())
}

/// Whether a file is one of ours, by its name.
fn is_name(name: &str) -> bool {
    name.strip_suffix(".json").is_some_and(Digest::is_short)
}

fn settings_of(path: &Path) -> Option<Map<String, Value>> {
    let kept: Kept<IgnoredAny> = serde_json::from_str(&partial::read_ours(path).ok()?).ok()?;
    Some(kept.settings)
}

/// The names of the settings that differ, or that only one of the two runs has.
fn differing(ours: &Map<String, Value>, theirs: &Map<String, Value>) -> Vec<String> {
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    names.into_iter().filter(|name| ours.get(*name) != theirs.get(*name)).cloned().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn settings(samples: usize) -> Map<String, Value> {
        Map::from_iter([("samples".to_owned(), samples.into()), ("seed".to_owned(), 0.into())])
    }

    fn opened(folder: &Path, samples: usize) -> RowStore {
        let store = RowStore::in_cache(folder.to_owned(), None).unwrap();
        store.begin(&settings(samples));
        store
    }

    #[test]
    fn rows_are_of_one_run_and_go_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = opened(folder.path(), 50);
        assert_eq!(first.left(), Left::Nothing);
        first.keep_undefended(&Undefended::default()).unwrap();
        let again = opened(folder.path(), 50);
        assert_eq!((again.left(), again.len()), (Left::Rows(1), 0));
        assert_eq!(again.undefended(), Some(Undefended::default()));
        let other = opened(folder.path(), 60);
        assert_eq!(other.left(), Left::Others(vec!["samples".into()]));
        assert_eq!(other.undefended(), None);
        fs::write(folder.path().join("other.json"), "{}").unwrap();
        again.remove();
        assert_eq!(
            (opened(folder.path(), 50).left(), fs::read_dir(folder.path()).unwrap().count()),
            (Left::Nothing, 1)
        );
    }

    #[test]
    fn rows_that_nobody_asks_for_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        opened(folder.path(), 50).keep_undefended(&Undefended::default()).unwrap();
        let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let others =
            ["notes.json", "0123456789abcdef0123456789abcdef.json"].map(|name| folder.path().join(name));
        for path in others.iter().chain([&path]) {
            let file = fs::File::options().create(true).append(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - 2 * FORGOTTEN).unwrap();
        }
        opened(folder.path(), 50);
        assert!(!path.exists() && others.iter().all(|path| path.exists()));
    }

    #[cfg(unix)]
    #[test]
    fn no_row_is_written_or_read_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let store = opened(folder.path(), 50);
        let [document, row] = [folder.path().join("document"), store.path("none", UNDEFENDED)];
        store.keep_undefended(&Undefended::default()).unwrap();
        fs::rename(&row, &document).unwrap();
        std::os::unix::fs::symlink(&document, &row).unwrap();
        assert_eq!(store.undefended(), None);
        fs::write(&document, "someone's").unwrap();
        store.keep_undefended(&Undefended::default()).unwrap();
        assert_eq!(fs::read_to_string(&document).unwrap(), "someone's");
        assert_eq!(store.undefended(), Some(Undefended::default()));
    }

    #[cfg(unix)]
    #[test]
    fn rows_in_the_cache_are_for_their_owner() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        opened(folder.path(), 50).keep_undefended(&Undefended::default()).unwrap();
        let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
