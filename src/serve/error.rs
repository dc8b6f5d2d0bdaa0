//! Why a request gets no vectors, in OpenAI's format.
//!
//! Messages are made here, from fixed words and numbers. Nothing that a client or an upstream sent is repeated, because
//! it may be a text, a vector, a key or a token.

use std::borrow::Cow;

use axum::http::header::{CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::response::json_response;

/// What a refused client is told.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// The machine-readable reason, which is also what logs and metrics say.
    pub(super) code: &'static str,
    param: Option<&'static str>,
    message: Cow<'static, str>,
    /// Seconds.
    retry_after: Option<u64>,
    /// Whether the rest of the request is not read, so that the connection cannot be used again.
    closes: bool,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, param: None, message: message.into(), retry_after: None, closes: false }
    }

    /// The client's mistake.
    pub(super) fn bad(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The upstream's failure.
    pub(super) fn upstream(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, code, message)
    }

    /// Our own failure.
    pub(super) fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }

    /// More than is taken at a time.
    pub(super) fn busy(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, message).retry_after(1)
    }

    /// Says which field, header or route is meant.
    pub(super) fn param(self, param: &'static str) -> Self {
        Self { param: Some(param), ..self }
    }

    /// Says when another attempt makes sense, in seconds.
    pub(super) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// Closes the connection after the answer.
    pub(super) fn closes(self) -> Self {
        Self { closes: true, ..self }
    }

    fn kind(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = json!({"error": {
            "message": self.message, "type": self.kind(), "param": self.param, "code": self.code,
        }});
        let mut response = json_response(self.status, body.to_string().into_bytes());
        let headers = response.headers_mut();
        if self.status == StatusCode::CONFLICT {
            // OpenAI's clients take this status for a lock that will be free soon
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
