//! Where the values of a JSON object are in its text, so that all but one stay as they are.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::IgnoredAny;

/// A field of an object: its name, and where its value is.
#[derive(Debug, PartialEq)]
pub(super) struct Field<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) value: Range<usize>,
}

/// Returns the fields of the object that a line holds, in their order.
///
/// A field's value may be NaN or an infinity, which Python writes and JSON does not have.
pub(super) fn fields(line: &str) -> Result<Vec<Field<'_>>, String> {
    if !line.trim_start().starts_with('{') {
        return Err(match line.trim_start().chars().next() {
            None => "it is empty; remove it",
            Some('[') => "it is a JSON array; write one object per line, as `jq -c '.[]'` does",
            Some(_) => "it is not a JSON object; is it the right file?",
        }
        .into());
    }
    check(line)?;
    // what follows relies on the syntax, which was checked
    let mut text = Text { line, at: 0 };
    let mut fields = Vec::new();
    text.skip_to(b"{");
    text.at += 1;
    loop {
        text.skip_to(b"\"}");
        if text.byte() != Some(b'"') {
            return Ok(fields);
        }
        let name = text.string();
        text.skip_to(b":");
        text.at += 1;
        text.skip_space();
        let value = text.value();
        fields.push(Field { name: decoded(&line[name]), value });
    }
}

/// Returns the text of a string between its quotation marks, without escapes.
pub(super) fn decoded(literal: &str) -> Cow<'_, str> {
    if literal.contains('\\') {
        return Cow::Owned(serde_json::from_str(literal).unwrap_or_default());
    }
    Cow::Borrowed(literal.trim_matches('"'))
}

/// Refuses what is not an object. serde's messages about syntax quote nothing.
fn check(line: &str) -> Result<(), String> {
    let parsed = |line: &str| serde_json::from_str::<IgnoredAny>(line).map(drop);
    let Err(error) = parsed(line) else { return Ok(()) };
    if parsed(&crate::lines::without_nan(line)).is_ok() {
        return Ok(());
    }
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    Err(format!("it is not a JSON object: {message} at column {}", error.column()))
}

/// A text that is read from the left.
struct Text<'a> {
    line: &'a str,
    at: usize,
}

impl Text<'_> {
    fn byte(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    fn skip_to(&mut self, ends: &[u8]) {
        while self.byte().is_some_and(|byte| !ends.contains(&byte)) {
            self.at += 1;
        }
    }

    fn skip_space(&mut self) {
        while self.byte().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Reads a string, and returns where it is, quotation marks included.
    fn string(&mut self) -> Range<usize> {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.byte() {
            self.at += match byte {
                b'\\' => 2,
                b'"' => break,
                _ => 1,
            };
        }
        self.at += 1;
        start..self.at.min(self.line.len())
    }

    /// Reads a value, and returns where it is.
    fn value(&mut self) -> Range<usize> {
        let start = self.at;
        let mut depth = 0_usize;
        while let Some(byte) = self.byte() {
            match byte {
                b'"' => {
                    self.string();
                    continue;
                }
                b'[' | b'{' => depth += 1,
                b',' | b'}' if depth == 0 => break,
                b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
        }
        start..start + self.line[start..self.at].trim_end().len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    #[test]
    fn fields_are_found_where_they_are() {
        let line = r#" {"a" : [1, {"b": "}]\""}] ,"é\"\u0041": NaN, "": "x" , "n":null} "#;
        let found: Vec<_> = fields(line)
            .unwrap()
            .into_iter()
            .map(|field| (field.name.into_owned(), &line[field.value]))
            .collect();
        let expected = [("a", r#"[1, {"b": "}]\""}]"#), ("é\"A", "NaN"), ("", r#""x""#), ("n", "null")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value)));
        assert!(fields("{}").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_object_is_refused_without_quoting_it() {
        for (line, message) in [
            ("", "it is empty"),
            ("[1]", "it is a JSON array"),
            ("secret", "it is not a JSON object"),
            ("{\"secret\": }", "it is not a JSON object: expected value at column 12"),
            ("{\"secret\": 1", "EOF while parsing"),
            ("{\"secret\": 1} {}", "trailing characters"),
        ] {
            let error = fields(line).unwrap_err();
            assert!(error.contains(message) && !error.contains("secret"), "{line}: {error}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_field_of_every_object_is_found(object in prop::collection::btree_map(any::<String>(), values(), 0..5)) {
            let line = serde_json::to_string(&object).unwrap();
            let found: Vec<(String, Value)> = fields(&line).unwrap().into_iter()
                .map(|field| (field.name.into_owned(), serde_json::from_str(&line[field.value]).unwrap()))
                .collect();
            prop_assert_eq!(found, object.into_iter().collect::<Vec<_>>());
        }
    }
}
