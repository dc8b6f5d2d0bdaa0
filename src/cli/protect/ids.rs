//! The ids of rows: a file of them, one per line, or a column of the table.

use std::path::Path;

use super::super::error::CliError;
use super::super::files;
use super::super::tables::bad;
use crate::lines;

/// Where the ids of rows are from, if they have some.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) input: &'a Path,
    pub(super) file: Option<&'a Ids<'a>>,
    pub(super) column: Option<&'a str>,
}

impl Source<'_> {
    /// Returns the ids of these rows: those of the file, or what was read of the column.
    pub(super) fn ids<'b>(
        &'b self,
        rows: &[usize],
        column: Option<&'b [Vec<u8>]>,
    ) -> Result<Option<Vec<&'b [u8]>>, CliError> {
        let Some(file) = self.file else {
            return Ok(column.map(|ids| ids.iter().map(Vec::as_slice).collect()));
        };
        let ids: Option<Vec<_>> = rows.iter().map(|row| file.of(*row)).collect();
        let last = rows.last().map_or(0, |last| last + 1);
        ids.map(Some).ok_or_else(|| file.miscount(self.input, last))
    }

    /// Says where the id of a row is, counted from 0.
    pub(super) fn place(&self, row: usize) -> String {
        if let Some(file) = self.file {
            return file.place(row);
        }
        let name = self.column.unwrap_or_default();
        bad(self.input, format!("row {row} (counted from 0), column \"{name}\"")).to_string()
    }
}

/// The ids of a file: one per line, none of them empty.
pub(super) struct Ids<'a> {
    path: &'a Path,
    /// All ids, without anything between them.
    text: String,
    /// Where each id ends in the text.
    ends: Vec<usize>,
}

impl<'a> Ids<'a> {
    pub(super) fn read(path: &'a Path) -> Result<Self, CliError> {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for id in lines::lines(path)? {
            let id = id?;
            if id.is_empty() {
                return Err(files::bad(
                    path,
                    format!("line {} is empty; give each vector an id", ends.len() + 1),
                ));
            }
            text.push_str(&id);
            ends.push(text.len());
        }
        Ok(Self { path, text, ends })
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the id of a row, counted from 0.
    pub(super) fn of(&self, row: usize) -> Option<&[u8]> {
        let end = *self.ends.get(row)?;
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        self.text.as_bytes().get(start..end)
    }

    /// Returns why the ids do not belong to this many vectors.
    pub(super) fn miscount(&self, vectors: &Path, rows: usize) -> CliError {
        let (count, vectors) = (self.len(), vectors.display());
        files::bad(self.path, format!("it has {count} ids, but {vectors} has {rows} vectors"))
    }

    /// Says where a row's id is, counted from 0.
    pub(super) fn place(&self, row: usize) -> String {
        format!("{}: line {}", self.path.display(), row + 1)
    }
}
