//! A file of ids, one per line.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use super::super::error::CliError;
use super::super::files;

/// The ids of a file: one per line, none of them empty.
pub(super) struct Ids<'a> {
    path: &'a Path,
    text: String,
    /// Where each id is in the text.
    starts: Vec<(usize, usize)>,
}

impl<'a> Ids<'a> {
    pub(super) fn read(path: &'a Path) -> Result<Self, CliError> {
        let bytes = fs::read(path).map_err(|error| files::unreadable(path, &error))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let mut lines = error.as_bytes().split(|byte| *byte == b'\n');
            let at = lines.position(|line| str::from_utf8(line).is_err()).unwrap_or_default();
            files::bad(path, format!("line {} is not UTF-8", at + 1))
        })?;
        if let Some(at) = text.lines().position(str::is_empty) {
            return Err(files::bad(path, format!("line {} is empty; give each vector an id", at + 1)));
        }
        let base = text.as_ptr() as usize;
        let starts = text.lines().map(|line| (line.as_ptr() as usize - base, line.len())).collect();
        Ok(Self { path, text, starts })
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Returns the id of a row, counted from 0.
    pub(super) fn of(&self, row: usize) -> Option<&[u8]> {
        let (start, length) = *self.starts.get(row)?;
        self.text.as_bytes().get(start..start + length)
    }

    /// Returns why the ids do not belong to this many vectors.
    pub(super) fn miscount(&self, vectors: &Path, rows: usize) -> CliError {
        let (count, vectors) = (self.len(), vectors.display());
        files::bad(self.path, format!("it has {count} ids, but {vectors} has {rows} vectors"))
    }

    /// Refuses repeated ids: rows that are sealed for the same id could be swapped.
    pub(super) fn refuse_repeats(&self) -> Result<(), CliError> {
        match self.repeated() {
            None => Ok(()),
            Some(at) => {
                let why =
                    format!("line {} repeats an id; sealed vectors need an id of their own each", at + 1);
                Err(files::bad(self.path, why))
            }
        }
    }

    /// The first line that repeats an id, counted from 0.
    fn repeated(&self) -> Option<usize> {
        let mut seen = HashSet::new();
        self.text.lines().position(|id| !seen.insert(id))
    }

    /// Says where a row's id is, counted from 0.
    pub(super) fn place(&self, row: usize) -> String {
        format!("{}: line {}", self.path.display(), row + 1)
    }
}
