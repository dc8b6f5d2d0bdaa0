//! The row ids that decide keyed noise: from a header, or from what is embedded.

use std::collections::HashMap;

use axum::http::HeaderMap;

use super::error::Refusal;
use super::request::{Asked, Input};
use crate::digest::Digest;

/// The header with the ids, a JSON array of texts.
pub(super) const HEADER: &str = "x-embosk-ids";

/// Begins each derived id. Other ids would give other noise, so they need another version.
const PURPOSE: &str = "embosk serve id v1";

/// The ids of a header, one for each input.
pub(super) fn of_headers(headers: &HeaderMap, input: &Input) -> Result<Option<Vec<String>>, Refusal> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let refuse = |message: String| Err(Refusal::bad("invalid_ids", message).param(HEADER));
    let ids: Option<Vec<String>> = serde_json::from_slice(value.as_bytes()).ok();
    let Some(ids) = ids.filter(|_| values.next().is_none()) else {
        return refuse("the header x-embosk-ids must be one JSON array of texts".into());
    };
    if ids.len() != input.len() {
        return refuse(format!("{} ids were given for {} inputs; give each one id", ids.len(), input.len()));
    }
    if ids.iter().any(String::is_empty) {
        return refuse("an id is empty; give each input an id".into());
    }
    // two texts with one id would get the same noise, and their difference would be that of the clean vectors
    let mut seen = HashMap::new();
    let repeats = ids.iter().zip(input.bytes()).any(|(id, bytes)| match seen.insert(id, bytes.clone()) {
        Some(earlier) => earlier != bytes,
        None => false,
    });
    if repeats {
        return refuse("two inputs that differ have the same id; give each text an id of its own".into());
    }
    Ok(Some(ids))
}

/// The ids that stand for everything that decides a vector: the model, the other fields, and the input.
pub(super) fn derived(model: &str, asked: &Asked) -> Vec<String> {
    let dimensions = asked.dimensions.unwrap_or_default().to_string();
    // the user changes no vector
    let mut fields: Vec<_> = asked.forwarded.iter().filter(|(name, _)| *name != "user").collect();
    fields.sort_by_key(|(name, _)| *name);
    let fields: String = fields.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    let common = Digest::of([PURPOSE, model, &dimensions, &fields]);
    asked.input.bytes().into_iter().map(|input| common.clone().part(input).hex()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::request::read;
    use super::*;

    #[test]
    fn ids_are_one_for_each_input() {
        let input = read(br#"{"input":["a","b","a"]}"#, 9).unwrap().input;
        let ids = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, text.parse().unwrap());
            of_headers(&headers, &input)
        };
        assert_eq!(ids(r#"["1","2","1"]"#).unwrap().unwrap(), ["1", "2", "1"]);
        assert!(of_headers(&HeaderMap::new(), &input).unwrap().is_none());
        for bad in ["planted", r#"["1","2"]"#, r#"["1","1","1"]"#, r#"["1","","1"]"#, "[1,2,3]"] {
            let refusal = ids(bad).unwrap_err();
            assert_eq!(refusal.code, "invalid_ids");
            assert!(!format!("{refusal:?}").contains("planted"));
        }
    }

    #[test]
    fn derived_ids_differ_where_vectors_may() {
        let of = |model: &str, body: &str| derived(model, &read(body.as_bytes(), 9).unwrap());
        let one = of("m", r#"{"input":["a","b"]}"#);
        assert_ne!(one[0], one[1]);
        // computed with Python's hashlib
        assert_eq!(one[0], "18e6e4a0055b547e0489d7d768934fc54f12272c2f92a143ce16d9b69f28737e");
        let two = of("m", r#"{"input":[97],"input_type":"query","dimensions":2,"user":"u"}"#);
        assert_eq!(two, ["3a90c96c35d465dbadb000012c88e6cdf16d88474e0729d719e0822a8762a03a"]);
        assert_eq!(of("m", r#"{"input":"a","user":"u"}"#), [one[0].clone()]);
        for (model, body) in [
            ("n", r#"{"input":"a"}"#),
            ("m", r#"{"input":"a","dimensions":2}"#),
            ("m", r#"{"input":"a","input_type":"query"}"#),
            ("m", r#"{"input":[97]}"#),
        ] {
            assert_ne!(of(model, body), [one[0].clone()], "{body}");
        }
    }
}
