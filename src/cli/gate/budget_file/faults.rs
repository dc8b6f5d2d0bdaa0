//! What is wrong with a budget file, and where.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeTable;

use super::OF_THE_REST;
use super::source::Source;
use crate::cli::error::CliError;

impl Source<'_> {
    /// An error in the settings. If it is about an unknown name at the top of the file, it also lists the tables of
    /// limits.
    pub(super) fn unknown(&self, places: &Places, error: &toml::de::Error) -> CliError {
        match error.span() {
            Some(at) if places.names.contains(&at) => {
                let limits = OF_THE_REST.map(|name| format!(", `{name}`")).concat();
                self.error(at, without_values(error.message()) + &limits)
            }
            _ => self.toml_error(error),
        }
    }

    pub(super) fn toml_error(&self, error: &toml::de::Error) -> CliError {
        let at = error.span().unwrap_or_default();
        let message = without_values(error.message());
        let name = self.set_at(at.start).map_or_else(String::new, |name| format!("`{name}`: "));
        let hint = if message.ends_with("string …, expected a number") {
            "; write it without quotation marks"
        } else {
            ""
        };
        self.error(at, format!("{name}{message}{hint}"))
    }

    /// The name of the setting whose value begins at this place.
    fn set_at(&self, start: usize) -> Option<&str> {
        let before = self.text.get(..start)?.trim_end().strip_suffix('=')?.trim_end();
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        before.rsplit(|c| !is_of_name(c)).next().filter(|name| !name.is_empty())
    }

    pub(super) fn error(&self, at: Range<usize>, message: impl std::fmt::Display) -> CliError {
        self.error_in(self.line(at), message)
    }

    pub(super) fn error_in(&self, line: usize, message: impl std::fmt::Display) -> CliError {
        CliError::new(format!("{}, line {line}: {message}", self.path.display()))
    }

    pub(super) fn line(&self, at: Range<usize>) -> usize {
        self.text.bytes().take(at.start).filter(|&byte| byte == b'\n').count() + 1
    }
}

/// The places of settings in the file, for which their type has no room.
pub(super) struct Places {
    names: Vec<Range<usize>>,
    pub(super) corpus: Range<usize>,
    pub(super) adversaries: Vec<Range<usize>>,
}

impl Places {
    pub(super) fn of(settings: &DeTable<'_>) -> Self {
        let adversaries = settings.get("adversaries").and_then(|value| value.get_ref().as_array());
        Self {
            names: settings.keys().map(Spanned::span).collect(),
            corpus: settings.get("corpus").map(Spanned::span).unwrap_or_default(),
            adversaries: adversaries.into_iter().flat_map(|names| names.iter().map(Spanned::span)).collect(),
        }
    }
}

/// What serde calls the types of Rust, in the words of TOML.
const WORDS: [(&str, &str); 6] = [
    (" as i128", ""),
    ("expected usize", "expected a whole number, 0 or more"),
    ("expected u64", "expected a whole number, 0 or more"),
    ("expected f64", "expected a number"),
    (
        "invalid type: map, expected a sequence",
        "it is one table, and a list is expected: write [[…]] for each",
    ),
    ("expected a sequence", "expected a list"),
];

/// Removes quoted values: serde repeats a value of the wrong type in quotation marks.
fn without_values(message: &str) -> String {
    let message = &WORDS.iter().fold(message.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours));
    let mut pieces = message.split('"');
    let before = pieces.next().unwrap_or_default();
    match pieces.next_back() {
        Some(after) => format!("{before}…{after}"),
        None => message.to_owned(),
    }
}
