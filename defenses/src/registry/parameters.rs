//! What a defense is built from.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::spec::{Kind, Part, Value};
use crate::{Error, Key};

/// The parameters of one part of a spec, for the function that builds its defense.
///
/// Errors point at the value that is wrong, in characters of the spec, and never repeat it: it may be a key.
#[derive(Debug)]
pub struct Parameters<'a> {
    part: &'a Part,
    /// The keys that are named as variables, but were given.
    keys: &'a [(String, Key)],
}

impl<'a> Parameters<'a> {
    pub(super) fn of(part: &'a Part, keys: &'a [(String, Key)]) -> Self {
        Self { part, keys }
    }

    /// Returns the part of the spec.
    pub fn part(&self) -> &'a Part {
        self.part
    }

    /// Returns the value of the parameter `name`, if it is given.
    pub fn find(&self, name: &str) -> Option<&'a Value> {
        self.part.find(name)
    }

    /// Returns the value of the parameter `name`.
    ///
    /// # Errors
    /// [`Error::Spec`] if it is not given.
    pub fn require(&self, name: &str) -> Result<&'a Value, Error> {
        let of = self.part.name();
        self.find(name).ok_or_else(|| self.part.error(format!("`{of}` needs `{name}=…`")))
    }

    /// Returns the number that is given for `name`. `expected` says what it should be, such as "a whole
    /// number".
    ///
    /// # Errors
    /// [`Error::Spec`] if it is not given or not such a number.
    pub fn number<N: FromStr>(&self, name: &str, expected: &str) -> Result<N, Error> {
        let value = self.require(name)?;
        value.text().parse().map_err(|_| value.error(format!("`{name}` should be {expected}")))
    }

    /// Returns the number that is given for `name`, or `None` if none is.
    ///
    /// # Errors
    /// [`Error::Spec`] if it is not such a number.
    pub fn number_if_given<N: FromStr>(&self, name: &str, expected: &str) -> Result<Option<N>, Error> {
        self.find(name).map(|_| self.number(name, expected)).transpose()
    }

    /// Returns which of `words` is given for `name`, or `None` if nothing is.
    ///
    /// # Errors
    /// [`Error::Spec`] for another word.
    pub fn word<'w>(&self, name: &str, words: &[&'w str]) -> Result<Option<&'w str>, Error> {
        let Some(value) = self.find(name) else { return Ok(None) };
        match words.iter().find(|word| **word == value.text()) {
            Some(word) => Ok(Some(word)),
            None => Err(value.error(format!("`{name}` should be {}", listed(words)))),
        }
    }

    /// Returns whether `name` is given as `true`; `false` if it is not given.
    ///
    /// # Errors
    /// [`Error::Spec`] if it is neither `true` nor `false`.
    pub fn flag(&self, name: &str) -> Result<bool, Error> {
        Ok(self.word(name, &["true", "false"])? == Some("true"))
    }

    /// Reads the key that the parameter `name` names as `env:NAME` or `file:PATH`. A key that was
    /// [given](super::Registry::key) under the name of a variable is used in its place.
    ///
    /// # Errors
    /// [`Error::Spec`] if it is not given or does not name a key, and those of [`Key::from_env`] and
    /// [`Key::from_file`].
    pub fn key(&self, name: &str) -> Result<Key, Error> {
        let value = self.require(name)?;
        match value.kind() {
            Kind::Env("") => Err(value.error("`env:` is followed by no name of a variable")),
            Kind::Env(variable) => match self.keys.iter().find(|(name, _)| name == variable) {
                Some((_, key)) => Ok(key.clone()),
                None => Key::from_env(variable),
            },
            Kind::File(path) => Key::from_file(located(value, path, std::env::home_dir)?),
            Kind::Fingerprint(_) => Err(value.error(
                "a fingerprint names a key but does not hold it: give the key as `env:NAME` or `file:PATH`",
            )),
            _ => Err(value.error("a key is named as `env:NAME` or `file:PATH`")),
        }
    }

    /// Returns the path of the fit that the parameter `name` names as `file:PATH`, or `None` if it is not given or
    /// does not name a file.
    ///
    /// # Errors
    /// [`Error::Spec`] for `fit:` and digits, which is what a fit prints as.
    pub fn fit_file(&self, name: &str) -> Result<Option<Cow<'a, Path>>, Error> {
        let Some(value) = self.find(name) else { return Ok(None) };
        match value.kind() {
            Kind::File(path) => located(value, path, std::env::home_dir).map(Some),
            Kind::Fit(_) => {
                Err(value.error("this names a fit but does not hold it: give its file as `file:PATH`"))
            }
            _ => Ok(None),
        }
    }

    /// Returns an error that points at the value of `name`, or at the part if it is not given.
    pub fn error(&self, name: &str, message: impl Into<String>) -> Error {
        match self.find(name) {
            Some(value) => value.error(message),
            None => self.part.error(message),
        }
    }
}

/// The path that a value names. `~/` is the user's `home`, as in a shell; a variable is the shell's to put in.
fn located<'a>(
    value: &Value,
    path: &'a str,
    home: impl FnOnce() -> Option<PathBuf>,
) -> Result<Cow<'a, Path>, Error> {
    if let Some(rest) = path.strip_prefix("~/")
        && let Some(home) = home().filter(|home| !home.as_os_str().is_empty())
    {
        return Ok(Cow::Owned(home.join(rest)));
    }
    if path.is_empty() {
        return Err(value.error("`file:` is followed by no path"));
    }
    if path.starts_with('$') && !Path::new(path).exists() {
        return Err(value.error(
            "a variable in a path is not looked up here: write the spec in double quotes, so that the shell puts it in, or \
             name the path",
        ));
    }
    Ok(Cow::Borrowed(Path::new(path)))
}

/// "a, b or c".
fn listed(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
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
            let found = located(&Value::file(path), path, || home.map(PathBuf::from));
            assert_eq!(found.as_deref().ok(), expected.map(Path::new), "{path} {home:?}");
        }
    }

    #[test]
    fn a_variable_is_named_without_its_path() {
        let message = located(&Value::file("$SECRET/key"), "$SECRET/key", || None).unwrap_err().to_string();
        assert!(message.contains("double quotes") && !message.contains("SECRET"), "{message}");
    }
}
