//! Files of vectors, changed batch by batch: NumPy arrays, and tables with a column of vectors.
//!
//! A table keeps everything but the vectors: other columns, the order of rows, the schema and its metadata. It is never
//! in memory as a whole. [`change`] reads a file, hands batches of vectors to a [`Change`], and writes the file that
//! comes out, whole or not at all.

mod arrow;
mod codes;
mod column;
mod damage;
mod format;
mod ids;
mod json;
mod json_lines;
mod npy;
mod output;
mod packed;
mod parquet;
mod progress;
mod texts;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use ndarray::Array2;

pub(super) use self::codes::{CodesKind, paths_beside};
pub(super) use self::damage::keep_silent;
use self::format::Format;
pub(super) use self::format::is_standard;
use self::progress::Progress;
use super::error::CliError;
use super::files;
use super::session::Session;

use crate::defenses::{Codes, Packing};

/// The column that holds the vectors, unless another is named.
const COLUMN: &str = "embedding";

/// Which file is read and written, and where its vectors are.
#[derive(Debug, clap::Args)]
pub(super) struct Table {
    /// The column or field that holds the vectors: lists of float16, float32 or float64, or arrays of numbers
    /// [default: embedding].
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// What the file is, if its name does not say it or it comes from stdin.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The vectors: a .npy matrix of float32 with one vector per row, or a table: .parquet, .arrow, .feather or .jsonl
    /// (also .jsonl.gz and .jsonl.zst); `-` for stdin.
    #[arg(value_name = "IN")]
    pub(super) input: PathBuf,
    /// Where the file with the changed vectors goes, of the same kind; not the input file; `-` for stdout.
    #[arg(value_name = "OUT")]
    pub(super) output: PathBuf,
}

/// A batch of vectors of a file.
pub(super) struct Batch {
    /// The vectors, `[rows, dim]`. Rows without a vector are left out.
    pub(super) vectors: Array2<f32>,
    /// Which rows of the file these are, counted from 0.
    pub(super) rows: Vec<usize>,
    /// What the column of ids holds in these rows, if one was named.
    pub(super) ids: Option<Vec<Vec<u8>>>,
}

/// What vectors become.
pub(super) enum Changed {
    Vectors(Array2<f32>),
    Codes(Codes),
}

/// What is done with the vectors of a file.
pub(super) trait Change {
    /// Changes the vectors of a batch.
    fn change(&mut self, batch: Batch) -> Result<Changed, CliError>;

    /// Is told the number of rows when the file has been read to its end.
    fn finish(&mut self, rows: usize) -> Result<(), CliError>;

    /// Returns the dimension of the vectors that come out.
    fn dimension(&self, input: usize) -> Result<usize, String>;

    /// Returns what packs the vectors, if codes come out.
    fn packing(&self) -> Option<Packing<'_>>;

    /// Returns what seals the vectors beside those that come out, if that is to be done.
    fn sealing(&mut self) -> Option<&mut dyn Seals>;

    /// Returns what the vectors that come out can be compared with.
    fn fingerprint(&self) -> String;
}

/// Seals vectors and texts for the ids of their rows.
pub(super) trait Seals {
    /// Returns how many bytes a sealed vector of `dim` dimensions takes.
    fn vector_bytes(&self, dim: usize) -> usize;

    /// Seals the vectors of a batch before they are changed, and returns `[rows, bytes]`.
    fn vectors(&mut self, batch: &Batch) -> Result<Array2<u8>, CliError>;

    /// Names the columns whose texts are sealed in their place.
    fn columns(&self) -> &[String];

    /// Seals a text of a column in a row of the file. `id` is what the column of ids holds there, if one was named.
    fn text(
        &mut self,
        column: &str,
        row: usize,
        id: Option<Vec<u8>>,
        text: &str,
    ) -> Result<Vec<u8>, CliError>;
}

/// What a file is read with.
struct Settings<'a> {
    input: &'a Path,
    column: &'a str,
    id_column: Option<&'a str>,
    /// Where the sealed vectors of a matrix go.
    sealed: Option<&'a Path>,
    progress: &'a Progress,
}

impl Settings<'_> {
    /// An error about the input.
    fn bad(&self, message: impl Display) -> CliError {
        bad(self.input, message)
    }
}

/// An error about a file, or about stdin.
pub(super) fn bad(input: &Path, message: impl Display) -> CliError {
    if is_standard(input) {
        return CliError::new(format!("stdin: {message}"));
    }
    files::bad(input, message)
}

impl Table {
    /// Refuses settings that do not fit the files, before anything is read.
    pub(super) fn check(&self, id_column: Option<&str>, codes: bool) -> Result<(), CliError> {
        let format = self.format()?;
        format::check_output(&self.output, (format, self.format.is_some()), codes)?;
        if format == Format::Npy {
            for (setting, is_given) in
                [("--column", self.column.is_some()), ("--id-column", id_column.is_some())]
            {
                if is_given {
                    let why = format!("a .npy file has no columns, so {setting} says nothing; leave it out");
                    return Err(files::bad(&self.input, why));
                }
            }
        }
        if codes && format == Format::Jsonl {
            let why =
                "codes are bytes, and JSON lines hold numbers; convert the file to .parquet, .arrow or .npy";
            return Err(files::bad(&self.input, why));
        }
        if !format::is_standard(&self.output) {
            files::check_output(&self.output)?;
        }
        Ok(())
    }

    /// Whether the file is a matrix and nothing else.
    pub(super) fn is_npy(&self) -> Result<bool, CliError> {
        Ok(self.format()? == Format::Npy)
    }

    fn format(&self) -> Result<Format, CliError> {
        Format::of(&self.input, self.format)
    }

    /// Reads the input, changes its vectors, and writes the output, whole or not at all. Sealed vectors of a matrix go to
    /// `sealed`.
    pub(super) fn change(
        &self,
        id_column: Option<&str>,
        sealed: Option<&Path>,
        change: &mut dyn Change,
        session: &Session,
    ) -> Result<(), CliError> {
        let progress = Progress::new(session.terminal);
        let column = self.column.as_deref().unwrap_or(COLUMN);
        let settings = Settings { input: &self.input, column, id_column, sealed, progress: &progress };
        let done = match self.format()? {
            Format::Npy => npy::change(&settings, &self.output, change),
            Format::Parquet => parquet::change(&settings, &self.output, change),
            Format::Arrow => arrow::change(&settings, &self.output, change),
            Format::Jsonl => json_lines::change(&settings, &self.output, change),
        };
        progress.finish();
        done
    }
}

#[cfg(test)]
mod tests;
