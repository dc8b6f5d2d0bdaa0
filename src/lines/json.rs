//! Files with one JSON object per line, and what is wrong with lines that cannot be read.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::lenient::{HALF, NOT_A_NUMBER, without_halves, without_nan};

/// What a line of JSON is read as: an object with these fields. Other fields may hold anything.
pub trait Record: DeserializeOwned {
    /// The fields that are read.
    const FIELDS: &'static [Field];
}

/// A field of a [`Record`], for messages that say what it must be.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    name: &'static str,
    kind: Kind,
    is_optional: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Count,
    /// What its elements are.
    List(&'static str),
}

impl Field {
    /// A field that holds a string.
    pub const fn text(name: &'static str) -> Self {
        Self { name, kind: Kind::Text, is_optional: false }
    }

    /// A field that holds a whole number, 0 or more.
    pub const fn count(name: &'static str) -> Self {
        Self { name, kind: Kind::Count, is_optional: false }
    }

    /// A field that holds a list; `elements` says of what: `spans, each [start, end]`.
    pub const fn list(name: &'static str, elements: &'static str) -> Self {
        Self { name, kind: Kind::List(elements), is_optional: false }
    }

    /// The same field, which may also be missing or null.
    pub const fn optional(self) -> Self {
        Self { is_optional: true, ..self }
    }

    /// What it must be.
    fn wanted(&self) -> String {
        match self.kind {
            Kind::Text => "a string".into(),
            Kind::Count => "a whole number, 0 or more".into(),
            Kind::List(elements) => format!("a list of {elements}"),
        }
    }

    /// What is wrong with its value, if this can be told.
    fn fault(&self, value: Option<&Value>) -> Option<String> {
        let name = self.name;
        let wanted = || self.wanted();
        match value {
            None | Some(Value::Null) if self.is_optional => None,
            None => Some(format!("the field \"{name}\" is missing; it must be {}", wanted())),
            Some(Value::String(text)) if text.contains(HALF) => Some(format!(
                "the field \"{name}\" holds half a surrogate pair (\\ud800 to \\udfff), which is no character: its \
                 text was cut within one; write \\ufffd instead"
            )),
            Some(Value::String(_)) if self.kind == Kind::Text => None,
            Some(Value::Array(_)) if matches!(self.kind, Kind::List(_)) => None,
            Some(Value::Number(number)) if self.kind == Kind::Count && number.is_u64() => None,
            Some(Value::Number(_)) if self.kind == Kind::Count => {
                Some(format!("the field \"{name}\" must be {}", wanted()))
            }
            Some(value) => Some(format!("the field \"{name}\" is {}; it must be {}", kind(value), wanted())),
        }
    }
}

/// What a value is, in words that repeat nothing of it.
fn kind(value: &Value) -> &str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(object) => match object.get(NOT_A_NUMBER) {
            Some(Value::String(number)) => number,
            _ => "an object",
        },
    }
}

/// Reads the record of a line, or says why there is none.
///
/// serde's own message is not passed on, because it may quote the text.
pub(super) fn parse<T: Record>(line: &str, number: usize) -> Result<T, String> {
    if !line.trim_start().starts_with('{') {
        // serde would take the fields' values in an array as well, and then what is whose depends on their order
        return Err(no_object(T::FIELDS, shape(line, number)));
    }
    serde_json::from_str(line)
        .or_else(|_| serde_json::from_str(&without_nan(line)))
        .map_err(|_| fault(line, T::FIELDS))
}

fn no_object(fields: &[Field], reason: &str) -> String {
    let required: Vec<&Field> = fields.iter().filter(|field| !field.is_optional).collect();
    let names: Vec<String> = required.iter().map(|field| format!("\"{}\"", field.name)).collect();
    let fields = if names.len() == 1 { "the field" } else { "the fields" };
    format!("it is not a JSON object with {fields} {}: {reason}", names.join(" and "))
}

/// What a line is that does not begin like an object.
fn shape(line: &str, number: usize) -> &'static str {
    let text = line.trim();
    match text.chars().next() {
        None => "it is empty; remove it",
        Some('\u{feff}') => {
            "it begins with a byte order mark, as where files with one are joined; remove the mark"
        }
        Some('[') if number == 1 => "it begins a JSON array; write one object a line, as `jq -c '.[]'` does",
        Some('[') => "it is a JSON array",
        Some('<') => "it is HTML, XML or a TREC document; a download may have failed",
        Some('}' | ']') => {
            "it goes on with what another line began; write each object on one line, as `jq -c .` does"
        }
        Some('"') => "it is a JSON string",
        _ if text.contains('\t') => {
            "it looks like a line of a TSV or TREC file; convert the file to JSON lines"
        }
        _ if number == 1 && text.contains(',') => {
            "it looks like the header of a CSV file; convert the file to JSON lines"
        }
        _ => "it is something else; is it the right file?",
    }
}

/// What is wrong with an object that cannot be read.
fn fault(line: &str, fields: &[Field]) -> String {
    let rewritten = without_halves(line);
    let object: Map<String, Value> = match serde_json::from_str(&rewritten) {
        Ok(object) => object,
        Err(error) => return no_object(fields, &syntax(line, &error, rewritten == line)),
    };
    let fault = fields.iter().find_map(|field| field.fault(object.get(field.name)));
    let is_list = |field: &&Field| matches!(field.kind, Kind::List(_));
    let lists = fields.iter().filter(is_list).filter(|field| object.contains_key(field.name));
    // serde alone knows which of the lists holds something else
    let lists: Vec<String> =
        lists.map(|field| format!("the field \"{}\" is not {}", field.name, field.wanted())).collect();
    fault.unwrap_or_else(|| {
        if lists.is_empty() {
            "a field is there twice; remove one of the two".into()
        } else {
            lists.join(", or ")
        }
    })
}

/// What is wrong with the syntax, and where, if `has_column`. serde's messages about syntax quote nothing.
fn syntax(line: &str, error: &serde_json::Error, has_column: bool) -> String {
    if line.trim_start().starts_with("{'") {
        return "it has the single quotes of a Python dictionary; write it with json.dumps".into();
    }
    if error.is_eof() {
        return "it ends within the object: the file is cut off, or an object has several lines (`jq -c .` writes \
                it on one)"
            .into();
    }
    if error.is_syntax() {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        let column = if has_column { format!(" at column {}", error.column()) } else { String::new() };
        return format!("{message}{column}");
    }
    "its syntax is wrong".into()
}
