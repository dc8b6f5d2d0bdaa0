//! The fields of a settings file: each is honored, known to be irrelevant, or refused by name.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::files::read_json;
use crate::Error;
use crate::location::Location;

/// What is left of a settings file after some of its fields were taken.
pub(super) struct Fields {
    path: PathBuf,
    left: Map<String, Value>,
}

impl Fields {
    /// Reads a file, which holds one object.
    pub(super) fn read(file: &Location) -> Result<Self, Error> {
        Ok(Self { path: file.path().to_owned(), left: read_json(file)? })
    }

    /// Reads a file; a missing one counts as one without fields.
    pub(super) fn read_if_there(file: &Location) -> Result<Self, Error> {
        if file.exists() {
            Self::read(file)
        } else {
            Ok(Self { path: file.path().to_owned(), left: Map::new() })
        }
    }

    /// Takes a field. `null` counts as missing, as in Python.
    pub(super) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Error> {
        match self.left.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match serde_json::from_value(value) {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(self.refuse(name, error)),
            },
        }
    }

    /// Drops fields that do not change a vector.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        self.left.retain(|name, _| !names.contains(&name.as_str()));
    }

    /// Takes a field of which only these values can be run: any of `runs`, `null`, or something empty.
    pub(super) fn only(&mut self, name: &str, runs: &[Value]) -> Result<(), Error> {
        let Some(value) = self.left.remove(name) else { return Ok(()) };
        let is_empty = match &value {
            Value::Null => true,
            Value::Object(fields) => fields.is_empty(),
            Value::Array(values) => values.is_empty(),
            _ => false,
        };
        if is_empty || runs.contains(&value) {
            return Ok(());
        }
        let can = runs.iter().map(Value::to_string).collect::<Vec<_>>().join(" or ");
        let can = if can.is_empty() {
            String::from("only a model without it can be run")
        } else {
            format!("only {can} can be run")
        };
        Err(self.refuse(name, can))
    }

    /// Refuses whatever was not taken.
    pub(super) fn finish(self) -> Result<(), Error> {
        match self.left.keys().next() {
            Some(name) => Err(self.refuse(
                name,
                "this field is not known, so it may change the vectors; remove it if it does not",
            )),
            None => Ok(()),
        }
    }

    /// Reports what is wrong with a field.
    pub(super) fn refuse(&self, name: &str, message: impl std::fmt::Display) -> Error {
        Error::file(&self.path, format!("{name}: {message}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_is_taken_ignored_or_refused_by_name() {
        let fields =
            |value: Value| Fields { path: "a/config.json".into(), left: value.as_object().unwrap().clone() };
        let mut all = fields(json!({ "size": 3, "none": null, "seen": 1, "task": "embed", "more": {} }));
        assert_eq!(all.take::<usize>("size").unwrap(), Some(3));
        assert_eq!(all.take::<usize>("none").unwrap(), None);
        all.ignore(&["seen"]);
        all.only("task", &[json!("embed")]).unwrap();
        all.only("more", &[]).unwrap();
        all.finish().unwrap();
        let message = fields(json!({ "size": "3" })).take::<usize>("size").unwrap_err().to_string();
        assert!(message.starts_with("a/config.json: size: "), "{message}");
        let message =
            fields(json!({ "task": "rank" })).only("task", &[json!("embed")]).unwrap_err().to_string();
        assert_eq!(message, "a/config.json: task: only \"embed\" can be run");
        let message = fields(json!({ "odd": 1 })).finish().unwrap_err().to_string();
        assert!(message.starts_with("a/config.json: odd: this field is not known"), "{message}");
    }
}
