//! The answer, as OpenAI gives it.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ndarray::{Array2, ArrayView1};
use serde_json::json;

use super::error::Refusal;

/// A JSON text as an answer.
pub(super) fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Writes protected vectors, one for each input.
pub(super) fn body(
    vectors: &Array2<f32>,
    is_base64: bool,
    model: &str,
    tokens: u64,
) -> Result<Vec<u8>, Refusal> {
    if vectors.iter().any(|value| !value.is_finite()) {
        return Err(Refusal::internal("a protected vector holds a value that is not finite"));
    }
    let bytes = if is_base64 { 6 } else { 14 };
    let mut text = Vec::with_capacity(256 + vectors.nrows() * 64 + vectors.len() * bytes);
    text.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
    for (index, row) in vectors.rows().into_iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.extend_from_slice(
            format!("{{\"object\":\"embedding\",\"index\":{index},\"embedding\":").as_bytes(),
        );
        if is_base64 {
            write_base64(&mut text, row);
        } else {
            write_floats(&mut text, row)?;
        }
        text.push(b'}');
    }
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    text.extend_from_slice(format!("],\"model\":{},\"usage\":{usage}}}", json!(model)).as_bytes());
    Ok(text)
}

fn write_floats(text: &mut Vec<u8>, row: ArrayView1<'_, f32>) -> Result<(), Refusal> {
    let row = row.as_slice().map_or_else(|| Cow::Owned(row.to_vec()), Cow::Borrowed);
    serde_json::to_writer(text, &*row).map_err(|_| Refusal::internal("a vector could not be written"))
}

fn write_base64(text: &mut Vec<u8>, row: ArrayView1<'_, f32>) {
    let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
    text.push(b'"');
    text.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    text.push(b'"');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ndarray::array;
    use serde_json::Value;

    use super::*;

    #[test]
    fn floats_and_base64_are_the_same_vectors() {
        let vectors = array![[0.1_f32, -2.5e-8], [1.0, 3.0]];
        let read = |is_base64| {
            let text = body(&vectors, is_base64, "a \"model\"", 7).unwrap();
            let value: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(
                (&value["model"], &value["usage"]["total_tokens"]),
                (&json!("a \"model\""), &json!(7))
            );
            assert_eq!(value["data"][1]["index"], 1);
            crate::embedder::wire::read_counted(&text, 2).unwrap().0
        };
        assert_eq!((read(false), read(true)), (vectors.clone(), vectors.clone()));
        assert!(body(&array![[f32::NAN]], false, "m", 0).is_err());
    }
}
