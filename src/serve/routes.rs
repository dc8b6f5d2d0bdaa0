//! The addresses that the server answers at.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

use super::error::Refusal;
use super::handler::{any_role, documents, queries};
use super::response::json_response;
use super::state::Shared;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/embeddings", post(any_role))
        .route("/document/v1/embeddings", post(documents))
        .route("/query/v1/embeddings", post(queries))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .with_state(shared)
        .layer(CatchPanicLayer::custom(panicked))
}

/// The process answers.
async fn health() -> Response {
    json_response(StatusCode::OK, br#"{"status":"ok"}"#.to_vec())
}

/// The server takes requests, and the upstream can be reached.
async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let unready =
        |code, why: &'static str| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, code, why).into_response();
    if shared.is_draining() {
        return unready("shutting_down", "the server is shutting down");
    }
    if !shared.is_reachable().await {
        return unready("upstream_unreachable", "no connection to the upstream could be made");
    }
    json_response(StatusCode::OK, br#"{"status":"ready"}"#.to_vec())
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut response = shared.metrics.text().into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

async fn unknown() -> Refusal {
    let why = "there is nothing at this path; embeddings are at /v1/embeddings, and a client's base URL ends in /v1";
    Refusal::new(StatusCode::NOT_FOUND, "unknown_path", why)
}

async fn not_allowed() -> Refusal {
    let why = "this path takes another method; embeddings are asked for by POST";
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", why)
}

/// What panicked may hold a text, so it is not repeated.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Refusal::internal("the server made a mistake").into_response()
}
