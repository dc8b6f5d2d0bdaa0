//! Texts from files, in chunks.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::Error;

/// A chunk has at most this many words.
const MOST_WORDS: usize = 100;

/// A paragraph of fewer words, such as a heading, is not a chunk by itself: it goes with what follows.
const FEWEST_WORDS: usize = 8;

/// One file: its name, and its text in chunks.
#[derive(Clone)]
pub struct Document {
    /// The path within the folder that was read.
    pub name: String,
    /// What was read, in chunks.
    pub chunks: Vec<String>,
}

impl Document {
    /// Cuts a text into chunks: its paragraphs, longer ones in parts of at most 100 words.
    pub fn new(name: impl Into<String>, text: &str) -> Self {
        Self { name: name.into(), chunks: chunks(text) }
    }

    /// Reads the file at `path`, or all `.txt` and `.md` files of a folder and its subfolders, in the order of
    /// their names. Links are not followed.
    ///
    /// # Errors
    /// [`Error::File`] if a file cannot be read or is not UTF-8.
    pub fn read(path: &Path) -> Result<Vec<Self>, Error> {
        if !path.is_dir() {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            return Ok(vec![Self::new(name.unwrap_or_default(), &read(path)?)]);
        }
        let (mut folders, mut files) = (vec![path.to_owned()], Vec::new());
        while let Some(folder) = folders.pop() {
            for (path, kind) in entries(&folder)? {
                let is_text =
                    path.extension().is_some_and(|extension| extension == "txt" || extension == "md");
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() && is_text {
                    files.push(path);
                }
            }
        }
        files.sort();
        let named = |file: &PathBuf| {
            let name = file.strip_prefix(path).unwrap_or(file).to_string_lossy().into_owned();
            Ok(Self::new(name, &read(file)?))
        };
        files.iter().map(named).collect()
    }

    /// Returns what changes whenever a chunk does.
    pub(crate) fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for chunk in &self.chunks {
            digest.update((chunk.len() as u64).to_be_bytes());
            digest.update(chunk);
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The text of a file, after its byte order mark.
fn read(path: &Path) -> Result<String, Error> {
    let mut text =
        fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

fn entries(folder: &Path) -> Result<Vec<(PathBuf, fs::FileType)>, Error> {
    let of = |entry: io::Result<fs::DirEntry>| entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)));
    fs::read_dir(folder)
        .and_then(|entries| entries.map(of).collect())
        .map_err(|source| Error::File { path: folder.to_owned(), source })
}

fn chunks(text: &str) -> Vec<String> {
    let (mut chunks, mut words) = (Vec::new(), Vec::new());
    for paragraph in paragraphs(text) {
        words.extend(words_of(&text[paragraph.clone()]).map(|word| shift(&word, paragraph.start)));
        if words.len() >= FEWEST_WORDS {
            cut(text, &mut words, &mut chunks);
        }
    }
    cut(text, &mut words, &mut chunks);
    chunks
}

/// Turns words into as few chunks as they fit in, of nearly equal lengths.
fn cut(text: &str, words: &mut Vec<Range<usize>>, chunks: &mut Vec<String>) {
    if !words.is_empty() {
        let parts = words.len().div_ceil(MOST_WORDS);
        let parts = words.chunks(words.len().div_ceil(parts));
        chunks.extend(parts.map(|part| text[part[0].start..part[part.len() - 1].end].to_owned()));
        words.clear();
    }
}

/// Where the lines stand that no empty line parts.
fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let (mut paragraphs, mut at, mut continues) = (Vec::<Range<usize>>::new(), 0, false);
    for line in text.split_inclusive('\n') {
        let span = at..at + line.len();
        at = span.end;
        let is_empty = line.trim().is_empty();
        match paragraphs.last_mut() {
            _ if is_empty => {}
            Some(last) if continues => last.end = span.end,
            _ => paragraphs.push(span),
        }
        continues = !is_empty;
    }
    paragraphs
}

fn words_of(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.split_whitespace().map(|word| {
        let start = word.as_ptr().addr() - text.as_ptr().addr();
        start..start + word.len()
    })
}

fn shift(range: &Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document").field("chunks", &self.chunks.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_paragraphs() {
        let long = vec!["word"; 250].join(" ");
        let (eight, other) = ("one two three four five six seven eight", "a b c d e f g h\ni");
        for (text, expected) in [
            ("", vec![]),
            (" \n\n", vec![]),
            ("short", vec!["short"]),
            (&format!("{eight}\n \n{other}\n"), vec![eight, other]),
            (&format!("# Title\n\n{eight}\r\n\r\nend"), vec![&format!("# Title\n\n{eight}"), "end"]),
        ] {
            assert_eq!(chunks(text), expected, "{text:?}");
        }
        let lengths: Vec<_> = chunks(&long).iter().map(|chunk| chunk.split(' ').count()).collect();
        assert_eq!(lengths, [84, 84, 82]);
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("marked.txt");
        fs::write(&path, "\u{feff}short").expect("a file");
        assert_eq!(Document::read(&path).expect("a document")[0].chunks, ["short"]);
    }

    #[test]
    fn a_digest_tells_where_chunks_end() {
        let of = |chunks: &[&str]| Document {
            name: String::new(),
            chunks: chunks.iter().map(|&c| c.into()).collect(),
        };
        assert_ne!(of(&["ab", "c"]).digest(), of(&["a", "bc"]).digest());
        assert_eq!(of(&["ab"]).digest(), of(&["ab"]).digest());
    }
}
