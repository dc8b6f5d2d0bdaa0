//! The values of parameters.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use super::error_at;
use crate::{Error, Key};

const ENV: &str = "env:";
const FILE: &str = "file:";
const FINGERPRINT: &str = "fingerprint:";
const FIT: &str = "fit:";

/// What is shown in place of a hidden value.
pub(super) const HIDDEN: &str = "…";

/// A word of only hexadecimal digits is hidden from this length on: it may be part of a key.
const LONGEST_DIGITS: usize = 24;

/// The value of a parameter. It keeps the text that was written, without quotes; [`kind`](Self::kind) says
/// what it is.
#[derive(Clone)]
pub struct Value {
    text: String,
    position: usize,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Kind<'a> {
    /// A number, such as `0.01`.
    Number(f64),
    /// The name of the environment variable that holds a key: `env:NAME`.
    Env(&'a str),
    /// The path of a file that holds a key or a fit: `file:PATH`.
    File(&'a str),
    /// Digits that name a key without holding it: `fingerprint:84375e6e`.
    Fingerprint(&'a str),
    /// Digits that name a fit without holding it: `fit:84375e6e`.
    Fit(&'a str),
    /// Anything else, such as `hadamard`.
    Word(&'a str),
}

impl Value {
    /// Creates the value that names the key with this [fingerprint](Key::fingerprint), which is eight digits.
    pub fn fingerprint(digits: &str) -> Self {
        Self::at(format!("{FINGERPRINT}{}", first_eight(digits)), 0)
    }

    /// Creates the value that names the fit with these digits. Only the first eight count.
    pub fn fit(digits: &str) -> Self {
        Self::at(format!("{FIT}{}", first_eight(digits)), 0)
    }

    /// Creates the value that names the file at `path`.
    pub fn file(path: &str) -> Self {
        Self::at(format!("{FILE}{path}"), 0)
    }

    /// Creates the value that names the environment variable `name`.
    pub fn env(name: &str) -> Self {
        Self::at(format!("{ENV}{name}"), 0)
    }

    pub(super) fn at(text: String, position: usize) -> Self {
        Self { text, position }
    }

    /// Returns what the value is.
    pub fn kind(&self) -> Kind<'_> {
        let text = self.text.as_str();
        if let Some(name) = text.strip_prefix(ENV) {
            Kind::Env(name)
        } else if let Some(path) = text.strip_prefix(FILE) {
            Kind::File(path)
        } else if let Some(digits) = text.strip_prefix(FINGERPRINT) {
            Kind::Fingerprint(digits)
        } else if let Some(digits) = text.strip_prefix(FIT) {
            Kind::Fit(digits)
        } else {
            text.parse().map_or(Kind::Word(text), Kind::Number)
        }
    }

    /// Returns the path if the value names a file. `~/` is the user's home, as in a shell; a variable is the shell's to
    /// put in.
    ///
    /// # Errors
    /// [`Error::Spec`] for an empty path, and for a variable.
    pub fn path(&self) -> Result<Option<Cow<'_, Path>>, Error> {
        let Kind::File(path) = self.kind() else { return Ok(None) };
        self.located(path, std::env::home_dir).map(Some)
    }

    fn located<'a>(
        &self,
        path: &'a str,
        home: impl FnOnce() -> Option<PathBuf>,
    ) -> Result<Cow<'a, Path>, Error> {
        if let Some(rest) = path.strip_prefix("~/")
            && let Some(home) = home().filter(|home| !home.as_os_str().is_empty())
        {
            return Ok(Cow::Owned(home.join(rest)));
        }
        if path.is_empty() {
            return Err(self.error("`file:` is followed by no path"));
        }
        if path.starts_with('$') && !Path::new(path).exists() {
            return Err(self.error(
                "a variable in a path is not looked up here: write the spec in double quotes, so that the shell puts it in, or \
                 name the path",
            ));
        }
        Ok(Cow::Borrowed(Path::new(path)))
    }

    /// Returns the text as it was written, without quotes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns where the value begins: see [`Part::position`](super::Part::position).
    pub fn position(&self) -> usize {
        self.position
    }

    /// Replaces the value and keeps its position, so that an error about the new value points at what was written.
    pub fn replace(&mut self, value: impl Into<Self>) {
        self.text = value.into().text;
    }

    /// Returns an error that points at the value. `message` must not repeat it: it may be a key.
    pub fn error(&self, message: impl Into<String>) -> Error {
        error_at(self.position, message)
    }

    /// Returns what is shown in place of a value that says where a key or a fit is, or nothing if the value may be
    /// shown.
    pub(super) fn redacted(&self) -> Option<&'static str> {
        let may_be_shown = match self.kind() {
            Kind::Number(_) => true,
            Kind::Word(word) => {
                let digits = word.len() >= LONGEST_DIGITS && word.bytes().all(|c| c.is_ascii_hexdigit());
                !digits && !word.contains(':')
            }
            _ => false,
        };
        (!may_be_shown).then_some(HIDDEN)
    }
}

/// Two values are equal if their texts are, wherever they were read.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Value {}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::at(text.to_owned(), 0)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::at(text, 0)
    }
}

/// Names the key by its fingerprint.
impl From<&Key> for Value {
    fn from(key: &Key) -> Self {
        Self::fingerprint(&key.fingerprint())
    }
}

macro_rules! from_printed {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Value {
            fn from(value: $kind) -> Self {
                Self::at(value.to_string(), 0)
            }
        }
    )*};
}

from_printed!(f32, f64, u32, u64, usize, i32, bool);

/// Writes the value as in a spec: in quotes if it would be read as something else without them.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        if text.trim() == text && !text.contains([',', ')', '"']) {
            return f.write_str(text);
        }
        let prefix = [ENV, FILE].into_iter().find(|prefix| text.starts_with(prefix)).unwrap_or_default();
        let escaped = text[prefix.len()..].replace('\\', r"\\").replace('"', "\\\"");
        write!(f, "{prefix}\"{escaped}\"")
    }
}

/// Returns the first eight digits. Digits that name something are eight; a longer text could be a key.
fn first_eight(digits: &str) -> String {
    digits.chars().take(8).collect()
}

/// Hides the text if it says where a key or a fit is kept.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.redacted() {
            Some(shown) => f.write_str(shown),
            None => fmt::Display::fmt(self, f),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_begin_at_home_and_holds_no_variable() {
        for (path, home, expected) in [
            ("key", Some("/home/me"), Some("key")),
            ("/etc/key", Some("/home/me"), Some("/etc/key")),
            ("~/a/key", Some("/home/me"), Some("/home/me/a/key")),
            // without a home, as it stands
            ("~/key", None, Some("~/key")),
            ("~/key", Some(""), Some("~/key")),
            // another user's home is the shell's to find
            ("~you/key", Some("/home/me"), Some("~you/key")),
            ("a~/key", Some("/home/me"), Some("a~/key")),
            ("", Some("/home/me"), None),
            ("$HOME/key", Some("/home/me"), None),
            ("${HOME}/key", Some("/home/me"), None),
            ("a/$HOME", Some("/home/me"), Some("a/$HOME")),
        ] {
            let found = Value::file(path).located(path, || home.map(PathBuf::from));
            assert_eq!(found.as_deref().ok(), expected.map(Path::new), "{path} {home:?}");
        }
    }

    #[test]
    fn a_variable_is_named_without_its_path() {
        let message = Value::file("$SECRET/key").located("$SECRET/key", || None).unwrap_err().to_string();
        assert!(message.contains("double quotes") && !message.contains("SECRET"), "{message}");
    }
}
