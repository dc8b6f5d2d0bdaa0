//! What a defense is built from.

use std::borrow::Cow;
use std::path::Path;
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
        if let Some(path) = value.path()? {
            return Key::from_file(path);
        }
        match value.kind() {
            Kind::Env("") => Err(value.error("`env:` is followed by no name of a variable")),
            Kind::Env(variable) => match self.keys.iter().find(|(name, _)| name == variable) {
                Some((_, key)) => Ok(key.clone()),
                None => Key::from_env(variable),
            },
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
            Kind::Fit(_) => {
                Err(value.error("this names a fit but does not hold it: give its file as `file:PATH`"))
            }
            _ => value.path(),
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

/// "a, b or c".
fn listed(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}
