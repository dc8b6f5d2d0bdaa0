//! Files of text, with one text, one JSON object or one judgement per line.
//!
//! Every file of lines is read here, so that all of them are treated the same:
//!
//! - A byte order mark at the beginning is skipped.
//! - gzip and zstd are decompressed, whatever the file is called. Other kinds of file are refused by their
//!   first bytes, with the command that converts them.
//! - A line has at most [`LONGEST`] bytes. A file is never in memory as a whole, except in [`read_whole`].
//! - An error has the file and the line, says what is wrong and what to do, and repeats nothing of the text.

mod json;
mod lenient;
mod open;
mod zstd;

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

pub use json::{Field, Record};
#[cfg(feature = "cli")]
pub(crate) use lenient::without_nan;

use crate::Error;

/// The most bytes that a line may have: 16 MiB.
pub const LONGEST: usize = 16 << 20;

/// Reads the texts of a file that holds one text per line. An empty line is an empty text.
///
/// # Errors
/// When the file cannot be read or is of another kind, or a line is not UTF-8 or too long.
pub fn read_texts(path: impl AsRef<Path>) -> Result<Vec<String>, Error> {
    lines(path.as_ref())?.collect()
}

/// Reads one [`Record`] per line.
///
/// ```
/// use embosk::lines::{Field, Record, records};
///
/// #[derive(serde::Deserialize)]
/// struct Pair {
///     input: String,
///     output: String,
/// }
///
/// impl Record for Pair {
///     const FIELDS: &'static [Field] = &[Field::text("input"), Field::text("output")];
/// }
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("pairs.jsonl");
/// std::fs::write(&path, r#"{"input": "a", "output": "b", "cosine": NaN}"#)?;
/// let pairs: Vec<Pair> = records(&path)?.collect::<Result<_, _>>()?;
/// assert_eq!((pairs[0].input.as_str(), pairs[0].output.as_str()), ("a", "b"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`read_texts`]; each item, when its line is not a JSON object with the fields of the record.
pub fn records<T: Record>(path: &Path) -> Result<impl Iterator<Item = Result<T, Error>> + use<T>, Error> {
    let (path, lines) = (path.to_owned(), lines(path)?);
    Ok((1..).zip(lines).map(move |(number, line)| {
        json::parse(&line?, number).map_err(|message| bad_line(&path, number, message))
    }))
}

/// Reads a whole text file of at most `limit` bytes, such as a budget.
///
/// # Errors
/// When the file cannot be read or is of another kind, is longer, or is not UTF-8.
pub fn read_whole(path: impl AsRef<Path>, limit: usize) -> Result<String, Error> {
    let path = path.as_ref();
    let mut bytes = Vec::new();
    let count = open::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes);
    match count {
        Err(error) => Err(unreadable(path, &error)),
        Ok(count) if count > limit => {
            Err(Error::file(path, format!("it has more than {}; is it the right file?", size(limit))))
        }
        Ok(_) => String::from_utf8(bytes).map_err(|_| Error::file(path, NOT_UTF_8)),
    }
}

/// The lines of a file one after the other, without their ends.
pub(crate) fn lines(path: &Path) -> Result<Lines, Error> {
    Ok(Lines { reader: open::open(path)?, path: path.to_owned(), number: 0, is_over: false })
}

/// The lines that a reader gives, such as stdin; errors name it as `path`.
#[cfg(feature = "cli")]
pub(crate) fn lines_of(reader: impl Read + 'static, path: &Path) -> Result<Lines, Error> {
    Ok(Lines { reader: open::unpack(reader, path)?, path: path.to_owned(), number: 0, is_over: false })
}

/// The lines of a file. Nothing follows an error.
pub(crate) struct Lines {
    reader: Box<dyn BufRead>,
    path: PathBuf,
    number: usize,
    is_over: bool,
}

impl Iterator for Lines {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        self.number += 1;
        let line = self.line().transpose();
        self.is_over = !matches!(line, Some(Ok(_)));
        line
    }
}

impl Lines {
    fn line(&mut self) -> Result<Option<String>, Error> {
        let mut line = Vec::new();
        // room for a line of the most bytes and its end
        let mut reader = self.reader.as_mut().take(LONGEST as u64 + 2);
        match reader.read_until(b'\n', &mut line) {
            Err(error) => return Err(unreadable(&self.path, &error)),
            Ok(0) => return Ok(None),
            Ok(_) => {}
        }
        if line.pop_if(|byte| *byte == b'\n').is_some() {
            line.pop_if(|byte| *byte == b'\r');
        } else if self.number == 1 && line.contains(&b'\r') {
            let message =
                "its lines end with carriage returns alone, as on old Macs; convert it with `tr '\\r' '\\n'`";
            return Err(bad_line(&self.path, self.number, message));
        }
        if line.len() > LONGEST {
            let message = format!("it has more than {}; a line holds one text", size(LONGEST));
            return Err(bad_line(&self.path, self.number, message));
        }
        String::from_utf8(line).map(Some).map_err(|_| bad_line(&self.path, self.number, NOT_UTF_8))
    }
}

const NOT_UTF_8: &str = "it is not UTF-8; if it is Latin-1, convert it with `iconv -f WINDOWS-1252 -t UTF-8`";

/// An error about a line of a file.
pub(crate) fn bad_line(path: &Path, line: usize, message: impl Into<String>) -> Error {
    Error::File { path: path.to_owned(), line: Some(line), message: message.into() }
}

/// An error about a file that could not be opened, or could not be read to its end.
fn unreadable(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::IsADirectory => Error::file(path, "it is a folder; name a file"),
        _ => Error::unreadable(path, error, ""),
    }
}

fn size(bytes: usize) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{} KiB", bytes >> 10) }
}

#[cfg(test)]
mod tests;
