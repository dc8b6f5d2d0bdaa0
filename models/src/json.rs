//! JSON as Python's `json` reads and writes it.

use serde::de::DeserializeOwned;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What Python writes although JSON does not have it.
const NUMBERS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

/// Reads JSON that may begin with a byte order mark. NaN and infinities count as null.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    // an error is about the file as it is
    serde_json::from_slice(bytes)
        .or_else(|error| serde_json::from_slice(&without_nan(bytes)).map_err(|_| error))
}

/// Replaces what is no number of JSON by null, except in strings.
fn without_nan(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut rest, mut is_quoted) = (Vec::with_capacity(bytes.len()), bytes, false);
    while let Some(&next) = rest.first() {
        let number = NUMBERS.into_iter().find(|number| !is_quoted && rest.starts_with(number));
        let length = match number {
            Some(number) => number.len(),
            // what is escaped ends no string
            None if is_quoted && next == b'\\' => rest.len().min(2),
            None => 1,
        };
        out.extend_from_slice(if number.is_some() { b"null" } else { &rest[..length] });
        is_quoted ^= next == b'"';
        rest = &rest[length..];
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_python_writes_is_read() {
        for (text, expected) in [
            ("{\"a\": 1}", json!({"a": 1})),
            ("\u{feff}{\"a\": [NaN, -Infinity, {\"b\": Infinity}]}", json!({"a": [null, null, {"b": null}]})),
            ("[\"NaN\", \"\\\"NaN\", NaN, \"\\\\\", NaN]", json!(["NaN", "\"NaN", null, "\\", null])),
        ] {
            assert_eq!(read::<Value>(text.as_bytes()).unwrap(), expected, "{text}");
        }
        for (text, column) in [("[nan]", 3), ("[NaN, x]", 2), ("[\"\\", 3)] {
            assert_eq!(read::<Value>(text.as_bytes()).unwrap_err().column(), column, "{text}");
        }
    }
}
