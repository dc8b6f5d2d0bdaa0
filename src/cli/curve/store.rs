//! Finished points, a file each, so that a killed run goes on where it was.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Error;
use crate::cli::error::CliError;
use crate::cli::files::{self, Readers};
use crate::digest::Digest;
use crate::evaluate::{Row, Undefended};
use crate::partial;

/// The name under which the undefended attack is kept.
const UNDEFENDED: &str = "undefended";

/// `DIR/points`. A file's name is the hash of all that its scores depend on, so that runs with other
/// settings do not mix: each finds its own points and leaves the others' alone. The program is a setting
/// too, by the hash of its file: code may change between two versions, and nobody can tell from outside
/// whether the scores do.
#[derive(Clone)]
pub(super) struct Store {
    folder: PathBuf,
    examples: usize,
    program: String,
    settings: Arc<Mutex<Map<String, Value>>>,
}

/// A file's content. The settings stand in it for whoever looks, and to be sure.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    settings: Map<String, Value>,
    defense: String,
    adversary: String,
    scores: T,
}

/// Who may read files that show so many of the attacked texts.
pub(super) fn readers(examples: usize) -> Readers {
    if examples > 0 { Readers::Owner } else { Readers::Usual }
}

impl Store {
    /// Points that were measured with fewer `examples` than are shown count as unknown.
    pub(super) fn open(output: &Path, examples: usize) -> Result<Self, CliError> {
        let folder = output.join("points");
        let program = program().map_err(|error| {
            CliError::new(format!("the program cannot read itself, by which it knows its points: {error}"))
        })?;
        fs::create_dir_all(&folder).map_err(|error| files::bad(&folder, error))?;
        partial::remove_stale(&folder);
        Ok(Self { folder, examples, program, settings: Arc::default() })
    }

    pub(super) fn begin(&self, settings: &Map<String, Value>) {
        let mut settings = settings.clone();
        settings.insert("program_sha256".into(), self.program.clone().into());
        *self.settings() = settings;
    }

    /// They are replaced as a whole, so a thread that panicked leaves nothing broken.
    fn settings(&self) -> MutexGuard<'_, Map<String, Value>> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known(&self, defense: &str, adversary: &str) -> Option<Row> {
        let mut row: Row = self.read(defense, adversary)?;
        let is_of = row.defense == defense && row.adversary == adversary;
        if !is_of || row.examples.len() < self.examples.min(row.n) {
            return None;
        }
        row.examples.truncate(self.examples);
        Some(row)
    }

    pub(super) fn keep(&self, row: &Row) -> Result<(), Error> {
        self.write(&row.defense, &row.adversary, row)
    }

    pub(super) fn undefended(&self) -> Option<Undefended> {
        self.read("none", UNDEFENDED)
    }

    pub(super) fn keep_undefended(&self, undefended: &Undefended) -> Result<(), Error> {
        self.write("none", UNDEFENDED, undefended)
    }

    /// A damaged file counts as missing.
    fn read<T: DeserializeOwned>(&self, defense: &str, adversary: &str) -> Option<T> {
        let bytes = fs::read(self.path(defense, adversary)).ok()?;
        let kept: Kept<T> = serde_json::from_slice(&bytes).ok()?;
        (kept.settings == *self.settings()).then_some(kept.scores)
    }

    fn write<T: Serialize>(&self, defense: &str, adversary: &str, scores: T) -> Result<(), Error> {
        let path = self.path(defense, adversary);
        let settings = self.settings().clone();
        let kept = Kept { settings, defense: defense.into(), adversary: adversary.into(), scores };
        let refuse = |message: String| Error::File { path: path.clone(), line: None, message };
        let text = serde_json::to_string_pretty(&kept).map_err(|error| refuse(error.to_string()))? + "\n";
        files::write_text_for(readers(self.examples), &path, &text).map_err(|error| refuse(error.to_string()))
    }

    fn path(&self, defense: &str, adversary: &str) -> PathBuf {
        let settings = Value::Object(self.settings().clone()).to_string();
        self.folder.join(format!("{}.json", Digest::of([settings.as_str(), defense, adversary]).short()))
    }
}

/// Of the program's file.
fn program() -> io::Result<String> {
    Ok(Digest::default().raw(fs::read(std::env::current_exe()?)?).short())
}
